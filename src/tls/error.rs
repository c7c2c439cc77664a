//! What cannot be applied of the TLS configuration.

use thiserror::Error;

use super::certificate::CertificateError;
use super::options::{OptionsError, SelfSignedError};

/// An item that cannot be applied. Only what depends on it is refused.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A set of options; every host that uses it is refused.
    #[error("TLS options `{name}`: {reason}")]
    Options {
        /// Their name.
        name: String,
        /// What is wrong.
        reason: OptionsError,
    },
    /// A router names options that do not exist; the host is refused.
    #[error("host `{host}` on entry point `{entry_point}`: no TLS options are called `{name}`")]
    MissingOptions {
        /// The entry point.
        entry_point: String,
        /// The host.
        host: String,
        /// The name.
        name: String,
    },
    /// Routers of one host disagree; the host is refused.
    #[error(
        "host `{host}` on entry point `{entry_point}`: routers name different TLS options, \
         `{one}` and `{other}`"
    )]
    Conflict {
        /// The entry point.
        entry_point: String,
        /// The host.
        host: String,
        /// One name.
        one: String,
        /// Another.
        other: String,
    },
    /// A certificate; the names that it holds, if it can be read at all, are refused.
    #[error("certificate {certificate}: {reason}")]
    Certificate {
        /// Its number in the list; none for the default certificate.
        index: Option<usize>,
        /// Its file, or `the inline PEM`.
        certificate: String,
        /// What is wrong.
        reason: CertificateError,
    },
    /// The files of a certificate do not hold a usable pair any more; the last one stays in service.
    #[error("certificate {certificate}: {reason}; the last one that worked stays in service")]
    Outdated {
        /// As above.
        index: Option<usize>,
        /// Its file.
        certificate: String,
        /// What is wrong.
        reason: CertificateError,
    },
    /// No default certificate.
    #[error(transparent)]
    SelfSigned(#[from] SelfSignedError),
}

impl TlsError {
    /// Whether everything is served all the same, for now.
    pub fn is_bridged(&self) -> bool {
        matches!(self, Self::Outdated { .. })
    }
}
