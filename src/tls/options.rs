//! `tls.options`: one `rustls::ServerConfig` for each set of options.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
    StoresServerSessions,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use thiserror::Error;
use tracing::warn;

use super::certificate::CertificateError;
use super::client_auth::{Demand, Verification};
use super::names::{self, Named};
use super::pairs::Pairs;
use crate::config::tls::TlsOptions;

/// Resumable TLS 1.2 sessions kept for each set of options.
const SESSION_CACHE: usize = 4096;

/// Why a set of options cannot be applied.
#[derive(Debug, Error)]
pub enum OptionsError {
    /// Neither `VersionTLS12` nor `VersionTLS13`.
    #[error("`{found}` is not served: use VersionTLS12 or VersionTLS13")]
    Version {
        /// `minVersion` or `maxVersion`.
        key: &'static str,
        /// What is written there.
        found: String,
    },
    /// `minVersion` is above `maxVersion`, or no cipher suite is left for what lies between.
    #[error("no TLS version is left between minVersion, maxVersion and cipherSuites")]
    NoVersion,
    /// No such cipher suite.
    #[error("unknown cipher suite `{0}`")]
    Cipher(String),
    /// No such key exchange group.
    #[error("unknown curve `{0}`")]
    Curve(String),
    /// Only curves that are not served.
    #[error("none of the curvePreferences is served")]
    NoCurve,
    /// A protocol that we do not speak.
    #[error("the ALPN protocol `{0}` is not served: use h2 or http/1.1")]
    Alpn(String),
    /// No such kind of client authentication.
    #[error("unknown clientAuthType `{0}`")]
    ClientAuthType(String),
    /// A kind of client authentication that needs CAs has none.
    #[error("this clientAuthType needs caFiles")]
    NoCa,
    /// A CA that cannot be a trust anchor.
    #[error("{0}")]
    Ca(String),
    /// A file that cannot be read.
    #[error("{0}")]
    File(#[from] CertificateError),
    /// rustls refuses the combination.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

impl OptionsError {
    /// The key that is at fault, below the set of options; empty where it is not one alone.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Version { key, .. } => key,
            Self::Cipher(_) => "cipherSuites",
            Self::Curve(_) | Self::NoCurve => "curvePreferences",
            Self::Alpn(_) => "alpnProtocols",
            Self::ClientAuthType(_) | Self::NoCa => "clientAuth.clientAuthType",
            Self::Ca(_) | Self::File(_) => "clientAuth.caFiles",
            Self::NoVersion | Self::Rustls(_) => "",
        }
    }
}

/// What outlives a reload: ticket keys and resumable sessions, so that clients can resume, and the
/// self-signed certificate; and the last usable certificates, until their files hold others.
///
/// Sessions are kept apart by options name and client authentication: a session that was made
/// without a client certificate, or under other CAs, must not be resumed where one is required.
#[derive(Debug, Default)]
pub struct Keep {
    sessions: Mutex<HashMap<SessionScope, Sessions>>,
    self_signed: Mutex<Option<Arc<CertifiedKey>>>,
    pub(super) pairs: Pairs,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct SessionScope {
    options: String,
    demand: Demand,
    authorities: Vec<CertificateDer<'static>>,
}

#[derive(Debug, Clone)]
struct Sessions {
    storage: Arc<dyn StoresServerSessions>,
    ticketer: Arc<dyn ProducesTickets>,
}

/// The self-signed certificate could not be made.
#[derive(Debug, Error)]
#[error("cannot make the self-signed default certificate: {0}")]
pub struct SelfSignedError(String);

impl Keep {
    fn sessions(&self, scope: SessionScope) -> Result<Sessions, rustls::Error> {
        let mut all = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = all.get(&scope) {
            return Ok(kept.clone());
        }
        let made = Sessions {
            storage: ServerSessionMemoryCache::new(SESSION_CACHE),
            ticketer: aws_lc_rs::Ticketer::new()?,
        };
        // Sessions made under other CAs are of no use any more.
        all.retain(|other, _| other.options != scope.options);
        all.insert(scope, made.clone());
        Ok(made)
    }

    /// Forgets the sessions of options that no longer exist.
    pub(super) fn retain(&self, exists: impl Fn(&str) -> bool) {
        let mut all = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|scope, _| exists(&scope.options));
    }

    /// The certificate that is served when there is no other; made once for each process.
    pub(super) fn self_signed(&self) -> Result<Arc<CertifiedKey>, SelfSignedError> {
        let mut kept = self.self_signed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificate) = kept.as_ref() {
            return Ok(certificate.clone());
        }
        let made = make_self_signed().map_err(|e| SelfSignedError(e.to_string()))?;
        *kept = Some(made.clone());
        Ok(made)
    }
}

fn make_self_signed() -> Result<Arc<CertifiedKey>, Box<dyn std::error::Error>> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(vec!["portcullis.default".to_owned()])?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "PORTCULLIS DEFAULT CERT");
    let certificate = params.self_signed(&key)?;
    let private = PrivatePkcs8KeyDer::from(key.serialize_der());
    let signer = aws_lc_rs::sign::any_supported_type(&private.into())?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signer)))
}

/// A set of options, ready for handshakes.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) config: Arc<ServerConfig>,
    pub(super) sni_strict: bool,
    pub(super) verifies_clients: bool,
}

/// Makes the server configuration of the options called `name`.
///
/// # Errors
/// Everything that cannot be applied exactly; the caller then refuses the hosts of these options.
pub(super) fn build(
    name: &str,
    options: &TlsOptions,
    resolver: Arc<dyn ResolvesServerCert>,
    keep: &Keep,
) -> Result<Built, Vec<OptionsError>> {
    let mut faults = Vec::new();
    let provider = Arc::new(provider(name, options, &mut faults));
    let versions = versions(options, &provider, &mut faults);
    let alpn_protocols = alpn(options, &mut faults);
    let clients = Verification::build(&options.client_auth, &provider, &mut faults);
    let Some(clients) = clients.filter(|_| faults.is_empty()) else { return Err(faults) };
    let refused = |error: rustls::Error| vec![OptionsError::from(error)];
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
    let builder = builder.map_err(refused)?;
    let mut config = match clients.verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    }
    .with_cert_resolver(resolver);
    config.alpn_protocols = alpn_protocols;
    if options.disable_session_tickets {
        // Go has no other way to resume, so nothing is resumed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        let authorities = clients.authorities;
        let scope = SessionScope { options: name.to_owned(), demand: clients.demand, authorities };
        let sessions = keep.sessions(scope).map_err(refused)?;
        config.session_storage = sessions.storage;
        config.ticketer = sessions.ticketer;
        config.send_tls13_tickets = 1;
    }
    Ok(Built {
        config: Arc::new(config),
        sni_strict: options.sni_strict,
        verifies_clients: clients.demand.verifies(),
    })
}

/// aws-lc-rs with the cipher suites and groups that the options allow.
fn provider(name: &str, options: &TlsOptions, faults: &mut Vec<OptionsError>) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !options.cipher_suites.is_empty() {
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        for suite in &options.cipher_suites {
            match names::cipher_suite(suite) {
                Named::Known(known) => provider.cipher_suites.push(known),
                Named::AlwaysOn => {}
                Named::LeftOut => warn!(options = name, suite, "cipher suite left out: not served"),
                Named::Unknown => faults.push(OptionsError::Cipher(suite.clone())),
            }
        }
    }
    if !options.curve_preferences.is_empty() {
        provider.kx_groups.clear();
        for curve in &options.curve_preferences {
            match names::group(curve) {
                Named::Known(known) => provider.kx_groups.push(known),
                Named::AlwaysOn => {}
                Named::LeftOut => warn!(options = name, curve, "curve left out: not served"),
                Named::Unknown => faults.push(OptionsError::Curve(curve.clone())),
            }
        }
        if provider.kx_groups.is_empty()
            && !faults.iter().any(|fault| matches!(fault, OptionsError::Curve(_)))
        {
            faults.push(OptionsError::NoCurve);
        }
    }
    provider
}

fn versions(
    options: &TlsOptions,
    provider: &CryptoProvider,
    faults: &mut Vec<OptionsError>,
) -> Vec<&'static SupportedProtocolVersion> {
    let mut number = |key, name: &Option<String>, absent| match name.as_deref() {
        None | Some("") => absent,
        Some("VersionTLS12") => 2,
        Some("VersionTLS13") => 3,
        Some(other) => {
            faults.push(OptionsError::Version { key, found: other.to_owned() });
            absent
        }
    };
    let min = number("minVersion", &options.min_version, 2);
    let max = number("maxVersion", &options.max_version, 3);
    let has_12_suites = provider.cipher_suites.iter().any(|suite| suite.tls13().is_none());
    let mut versions = Vec::with_capacity(2);
    if max == 3 {
        versions.push(&TLS13);
    }
    if min == 2 && has_12_suites {
        versions.push(&TLS12);
    }
    // With a name that nobody knows, what is left says nothing.
    if (versions.is_empty() || min > max) && faults.is_empty() {
        faults.push(OptionsError::NoVersion);
    }
    versions
}

fn alpn(options: &TlsOptions, faults: &mut Vec<OptionsError>) -> Vec<Vec<u8>> {
    let mut protocols = Vec::new();
    for protocol in &options.alpn_protocols {
        match protocol.as_str() {
            "h2" | "http/1.1" => protocols.push(protocol.as_bytes().to_vec()),
            // Only offered while a challenge is answered, which we do not do yet.
            "acme-tls/1" => {}
            other => faults.push(OptionsError::Alpn(other.to_owned())),
        }
    }
    protocols
}
