//! Certificates and keys from files or inline PEM, checked before Pingora sees them.
//!
//! Pingora's own parsers panic on certificates that they cannot read, so nothing unchecked may
//! reach them.

use std::borrow::Cow;
use std::sync::Arc;

use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::zeroize::Zeroizing;
use thiserror::Error;

/// Why PEM material cannot be used.
#[derive(Debug, Error)]
pub enum PemError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Neither certificates nor a key in it.
    #[error("{0} holds no {1} in PEM form")]
    Empty(String, &'static str),
    /// A certificate that is none.
    #[error("{0} holds a certificate that cannot be read")]
    BadCertificate(String),
    /// The key does not belong to the certificate.
    #[error("the key {key} does not belong to the certificate {certificate}: {reason}")]
    Mismatch {
        /// Certificate, as written.
        certificate: String,
        /// Key, as written.
        key: String,
        /// What rustls says.
        reason: rustls::Error,
    },
}

/// Bytes of `source`, which is inline PEM or a path, and a name for messages.
///
/// # Errors
/// [`PemError::Unreadable`].
pub(super) fn load(source: &str) -> Result<(Zeroizing<Vec<u8>>, Cow<'_, str>), PemError> {
    if is_inline(source) {
        return Ok((Zeroizing::new(source.as_bytes().to_vec()), Cow::Borrowed("the inline PEM")));
    }
    let bytes = std::fs::read(source)
        .map_err(|error| PemError::Unreadable { path: source.to_owned(), source: error })?;
    Ok((Zeroizing::new(bytes), Cow::Borrowed(source)))
}

/// Whether `source` is PEM itself, and no path.
pub(super) fn is_inline(source: &str) -> bool {
    source.contains("-----BEGIN")
}

/// Every certificate of `source`, checked. `name` is for messages.
fn certificates(pem: &[u8], name: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let bad = || PemError::BadCertificate(name.to_owned());
    let found: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| bad())?;
    if found.is_empty() {
        return Err(PemError::Empty(name.to_owned(), "certificate"));
    }
    for certificate in &found {
        x509_parser::parse_x509_certificate(certificate).map_err(|_| bad())?;
    }
    Ok(found)
}

/// The CA certificates of `source`.
///
/// # Errors
/// Any [`PemError`] but `Mismatch`.
pub(super) fn authorities(source: &str) -> Result<Arc<[CertificateDer<'static>]>, PemError> {
    let (pem, name) = load(source)?;
    let found = certificates(&pem, &name)?;
    for certificate in &found {
        // What webpki cannot use as a trust anchor would fail every connection later.
        rustls::RootCertStore::empty()
            .add(certificate.clone())
            .map_err(|_| PemError::BadCertificate(name.to_string()))?;
    }
    Ok(found.into())
}

/// Checked certificates for [`pingora::upstreams::peer::PeerOptions`].
pub(super) fn wrapped(certificate: &CertificateDer<'_>) -> WrappedX509 {
    WrappedX509::new(certificate.to_vec(), parse_x509)
}

/// A client certificate with its chain and key.
///
/// # Errors
/// Any [`PemError`].
pub(super) fn client_certificate(cert: &str, key: &str) -> Result<Arc<CertKey>, PemError> {
    let (cert_pem, cert_name) = load(cert)?;
    let (key_pem, key_name) = load(key)?;
    let chain = certificates(&cert_pem, &cert_name)?;
    let private = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|_| PemError::Empty(key_name.to_string(), "private key"))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let bytes = private.secret_der().to_vec();
    rustls::sign::CertifiedKey::from_der(chain.clone(), private, &provider).map_err(|reason| {
        PemError::Mismatch { certificate: cert_name.to_string(), key: key_name.to_string(), reason }
    })?;
    Ok(Arc::new(CertKey::new(chain.iter().map(|c| c.to_vec()).collect(), bytes)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn inline_pem_and_files_are_the_same() {
        let (cert, key) = pair();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, &cert).unwrap();
        for source in [cert.as_str(), path.to_str().unwrap()] {
            assert_eq!(authorities(source).unwrap().len(), 1);
        }
        assert!(client_certificate(&cert, &key).is_ok());
    }

    #[test]
    fn unusable_material_is_named() {
        let (cert, _) = pair();
        let (_, other_key) = pair();
        let missing = authorities("/nonexistent/ca.pem").unwrap_err();
        assert!(missing.to_string().starts_with("/nonexistent/ca.pem: "), "{missing}");
        assert!(matches!(client_certificate(&cert, &other_key), Err(PemError::Mismatch { .. })));
        let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
        assert!(matches!(authorities(&rubbish), Err(PemError::BadCertificate(_))));
        assert!(matches!(authorities(&other_key), Err(PemError::Empty(..))));
    }
}
