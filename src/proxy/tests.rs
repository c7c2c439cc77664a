//! The proxy against scripted servers and raw clients.

mod basics;
mod bodies;
mod chain;
mod failures;
mod http10;
mod http2;
mod own;
mod tls;
mod upgrades;
