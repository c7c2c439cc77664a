//! Reading certificates and keys, from files or inline PEM.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use x509_parser::prelude::{GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::config::pem;

/// Why a certificate or its key cannot be used. Inline PEM is never quoted.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("cannot read {name}: {reason}")]
    Unreadable {
        /// Which file.
        name: String,
        /// Why.
        reason: std::io::Error,
    },
    /// No certificate in it, or one that cannot be parsed.
    #[error("{name} holds no usable certificate: {reason}")]
    Certificate {
        /// Which file.
        name: String,
        /// Why.
        reason: String,
    },
    /// No private key in it, or one of a kind that cannot sign.
    #[error("{name} holds no usable private key: {reason}")]
    Key {
        /// Which file.
        name: String,
        /// Why.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error("the key in {key} does not belong to the certificate")]
    Mismatch {
        /// The key's file.
        key: String,
    },
}

/// How long a certificate is valid, for the metric `traefik_tls_certs_not_after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Common name of the subject; empty when it has none.
    pub common_name: String,
    /// Serial number in decimal, as Go prints it.
    pub serial: String,
    /// Subject alternative names, sorted, joined with commas.
    pub sans: String,
    /// Seconds since the Unix epoch.
    pub not_after: i64,
}

/// What a certificate is good for.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// DNS names in lower case, wildcards included.
    pub(super) names: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) expiry: Expiry,
}

fn read(source: &str) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    pem::read(source).map_err(|reason| CertificateError::Unreadable { name: source.to_owned(), reason })
}

/// Every certificate of a file or inline PEM; at least one, each of them parsed.
pub(super) fn certificates(source: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let bad = |reason: &dyn std::fmt::Display| CertificateError::Certificate {
        name: pem::name(source).to_owned(),
        reason: reason.to_string(),
    };
    let content = read(source)?;
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&content).collect::<Result<_, _>>().map_err(|e| bad(&e))?;
    if chain.is_empty() {
        return Err(bad(&"there is no PEM block CERTIFICATE"));
    }
    for certificate in &chain {
        x509_parser::parse_x509_certificate(certificate).map_err(|e| bad(&e))?;
    }
    Ok(chain)
}

/// A chain and its key, which must belong together.
pub(super) fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: &str,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let name = || pem::name(key).to_owned();
    let bad =
        |reason: &dyn std::fmt::Display| CertificateError::Key { name: name(), reason: reason.to_string() };
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|e| bad(&e))?;
    let signer = provider.key_provider.load_private_key(private).map_err(|e| bad(&e))?;
    let certified = CertifiedKey::new(chain, signer);
    certified.keys_match().map_err(|_| CertificateError::Mismatch { key: name() })?;
    Ok(Arc::new(certified))
}

/// Names and validity of the first certificate of a chain.
///
/// # Errors
/// It cannot be parsed; [`certificates`] gives none like that.
pub(super) fn facts(source: &str, chain: &[CertificateDer<'static>]) -> Result<Facts, CertificateError> {
    let first = chain.first().map(|first| x509_parser::parse_x509_certificate(first));
    let Some(Ok((_, parsed))) = first else {
        let (name, reason) = (pem::name(source).to_owned(), "it cannot be parsed".to_owned());
        return Err(CertificateError::Certificate { name, reason });
    };
    let (mut names, addresses) = alternative_names(&parsed);
    let common_name = parsed
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .unwrap_or_default()
        .to_owned();
    let mut sans: Vec<String> =
        names.iter().cloned().chain(addresses.iter().map(ToString::to_string)).collect();
    sans.sort_unstable();
    // Traefik matches the common name too.
    let lower = common_name.to_ascii_lowercase();
    if lower.contains('.') && !names.contains(&lower) {
        names.push(lower);
    }
    let expiry = Expiry {
        common_name,
        serial: parsed.tbs_certificate.serial.to_string(),
        sans: sans.join(","),
        not_after: parsed.validity().not_after.timestamp(),
    };
    Ok(Facts { names, addresses, expiry })
}

fn alternative_names(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<IpAddr>) {
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return (names, addresses);
    };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => {
                names.push(name.trim_end_matches('.').to_ascii_lowercase());
            }
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    (names, addresses)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
