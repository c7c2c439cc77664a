//! `clientAuth`: which certificates are asked of clients, and which are accepted.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use super::certificate::certificates;
use super::{OptionsError, listed};
use crate::config::tls::ClientAuth;

/// What is asked of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Demand {
    Nothing,
    /// Asked for; anything or nothing is accepted.
    Request,
    /// Any certificate, of whatever issuer.
    RequireAny,
    /// None, or one that leads to a CA.
    VerifyIfGiven,
    /// One that leads to a CA.
    RequireAndVerify,
}

impl Demand {
    /// Whether a certificate that was sent has been checked against the CAs.
    pub(super) fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }

    fn of(auth: &ClientAuth) -> Result<Self, OptionsError> {
        let demand = match auth.client_auth_type.as_deref() {
            None | Some("") if auth.ca_files.is_empty() => Self::Nothing,
            None | Some("") => Self::RequireAndVerify,
            Some("NoClientCert") => Self::Nothing,
            Some("RequestClientCert") => Self::Request,
            Some("RequireAnyClientCert") => Self::RequireAny,
            Some("VerifyClientCertIfGiven") => Self::VerifyIfGiven,
            Some("RequireAndVerifyClientCert") => Self::RequireAndVerify,
            Some(other) => return Err(OptionsError::ClientAuthType(other.to_owned())),
        };
        if demand.verifies() && auth.ca_files.is_empty() {
            return Err(OptionsError::NoCa);
        }
        Ok(demand)
    }
}

/// A demand and the verifier that enforces it.
pub(super) struct Verification {
    pub(super) demand: Demand,
    /// `None` when nothing is asked.
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// The CAs, so that sessions made under others can be told apart.
    pub(super) authorities: Vec<CertificateDer<'static>>,
}

impl Verification {
    /// Reads the CA files and makes the verifier. None when something is wrong, which goes to `faults`.
    pub(super) fn build(
        auth: &ClientAuth,
        provider: &Arc<CryptoProvider>,
        faults: &mut Vec<OptionsError>,
    ) -> Option<Self> {
        let before = faults.len();
        let demand = Demand::of(auth).map_err(|fault| faults.push(fault)).ok();
        let mut authorities = Vec::new();
        for source in &auth.ca_files {
            match certificates(source) {
                Ok(found) => authorities.extend(found),
                Err(error) => faults.push(error.into()),
            }
        }
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            if let Err(error) = roots.add(authority.clone()) {
                faults.push(OptionsError::Ca(error.to_string()));
            }
        }
        let demand = demand.filter(|_| faults.len() == before)?;
        let verifier = verifier(demand, roots, provider).map_err(|fault| faults.push(fault)).ok()?;
        let verifier = match demand.verifies() {
            true => verifier.map(|inner| listed::client_verifier(inner, authorities.clone())),
            false => verifier,
        };
        Some(Self { demand, verifier, authorities })
    }
}

fn verifier(
    demand: Demand,
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, OptionsError> {
    let verified = |roots| WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = match demand {
        Demand::Nothing => return Ok(None),
        Demand::Request | Demand::RequireAny => {
            return Ok(Some(Arc::new(AnyCertificate {
                mandatory: demand == Demand::RequireAny,
                hints: roots.subjects(),
                algorithms: provider.signature_verification_algorithms,
            })));
        }
        Demand::VerifyIfGiven => verified(roots).allow_unauthenticated(),
        Demand::RequireAndVerify => verified(roots),
    };
    builder.build().map(Some).map_err(|e| OptionsError::Ca(e.to_string()))
}

/// Takes any certificate; only that the client holds its key is checked.
#[derive(Debug)]
struct AnyCertificate {
    mandatory: bool,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
