//! Handshakes are tested with the accept loop.
