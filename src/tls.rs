//! TLS towards clients: certificates chosen by SNI, options chosen by host. And whom we trust where we are the client.
//!
//! [`build`] turns configuration into an immutable [`TlsSnapshot`]; handshakes load the current one.
//! What must survive a reload (ticket keys, resumable sessions, the self-signed certificate) lives
//! in [`Keep`]. A host whose options or certificate cannot be applied is refused, never served with
//! weaker ones.

mod by_host;
mod certificate;
mod client_auth;
mod error;
mod listed;
mod names;
mod options;
mod pairs;
mod snapshot;
mod store;
mod subject;

pub use by_host::ByHost;
pub use certificate::{CertificateError, Expiry};
pub use error::TlsError;
pub use listed::{Validity, fits_server, may_sign, server_verifier};
pub use names::{cipher_name, version_name};
pub use options::{Keep, OptionsError, SelfSignedError};
pub use snapshot::{Decision, HostOptions, Inputs, Refusal, TlsSnapshot, build};
pub use subject::subject;
