//! Certificates that are their own authority.
//!
//! What `openssl req -x509` makes by default may sign others (`CA:TRUE`). Where such a certificate is listed among the
//! trusted ones, Go and OpenSSL take it from the server or client itself. webpki refuses every certificate of an end
//! entity that may sign others. The verifiers here ask webpki first; for exactly that refusal, and for a certificate that
//! the operator has listed byte for byte, they check validity, purpose and name themselves. The system's roots are never
//! listed.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, SignatureScheme,
};

/// A verifier of servers that trusts `authorities` and what they have signed.
///
/// # Errors
/// There is no usable authority.
pub fn server_verifier(
    authorities: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().cloned());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()?;
    Ok(Arc::new(Listed { inner, authorities }))
}

/// `inner`, which trusts what `authorities` have signed, trusting them themselves too.
pub(super) fn client_verifier(
    inner: Arc<dyn ClientCertVerifier>,
    authorities: Vec<CertificateDer<'static>>,
) -> Arc<dyn ClientCertVerifier> {
    Arc::new(Listed { inner, authorities })
}

/// Whether `certificate` may sign others, so that webpki takes it from nobody.
pub fn may_sign(certificate: &CertificateDer<'_>) -> bool {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    parsed.is_ok_and(|(_, parsed)| parsed.is_ca())
}

/// When a server may prove with `certificate`, which is trusted, that it is `name`.
///
/// # Errors
/// Never: the name or the purpose is another.
pub fn fits_server(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
) -> Result<Validity, rustls::Error> {
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    fits(certificate, Purpose::Server)
}

/// From when to when a certificate is valid, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    not_before: i64,
    not_after: i64,
}

impl Validity {
    /// Whether it is valid at `now`.
    ///
    /// # Errors
    /// It is not yet, or not any more.
    pub fn check(self, now: UnixTime) -> Result<(), rustls::Error> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < self.not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > self.not_after { Err(CertificateError::Expired.into()) } else { Ok(()) }
    }
}

/// What a certificate is presented for (RFC 5280, section 4.2.1.12).
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Server,
    Client,
}

/// A verifier, and the authorities that are trusted themselves.
#[derive(Debug)]
struct Listed<V> {
    inner: V,
    authorities: Vec<CertificateDer<'static>>,
}

impl<V> Listed<V> {
    /// Whether webpki's refusal has no other reason than that a listed certificate may sign others.
    fn is_only_for_being_authority(&self, refusal: &rustls::Error, certificate: &CertificateDer<'_>) -> bool {
        let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) = refusal else {
            return false;
        };
        reason.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
            && self.authorities.iter().any(|listed| listed == certificate)
    }
}

fn fits(certificate: &CertificateDer<'_>, purpose: Purpose) -> Result<Validity, rustls::Error> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    let fits = usage.is_none_or(|usage| match purpose {
        _ if usage.value.any => true,
        Purpose::Server => usage.value.server_auth,
        Purpose::Client => usage.value.client_auth,
    });
    if !fits {
        return Err(CertificateError::InvalidPurpose.into());
    }
    let validity = parsed.validity();
    Ok(Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
}

impl ServerCertVerifier for Listed<Arc<WebPkiServerVerifier>> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            Err(refusal) if self.is_only_for_being_authority(&refusal, end_entity) => {
                fits_server(end_entity, server_name)?.check(now)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Listed<Arc<dyn ClientCertVerifier>> {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.inner.verify_client_cert(end_entity, intermediates, now) {
            Err(refusal) if self.is_only_for_being_authority(&refusal, end_entity) => {
                fits(end_entity, Purpose::Client)?.check(now)?;
                Ok(ClientCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
    };
    use rustls::RootCertStore;
    use rustls::crypto::aws_lc_rs;
    use rustls::server::WebPkiClientVerifier;

    use super::*;

    type Change = fn(&mut CertificateParams);

    fn params(change: Change) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["app.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
        change(&mut params);
        params
    }

    /// What `openssl req -x509` makes, changed.
    fn own(change: Change) -> CertificateDer<'static> {
        params(change).self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    /// The year's first of January.
    fn year(year: u64) -> UnixTime {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs((year - 1970) * 31_557_000 + 86_400))
    }

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(aws_lc_rs::default_provider())
    }

    fn of_server(
        listed: &[&CertificateDer<'static>],
        shown: &CertificateDer<'static>,
        name: &str,
        now: UnixTime,
    ) -> Result<(), String> {
        let listed = listed.iter().map(|certificate| (*certificate).clone()).collect();
        let verifier = server_verifier(listed, &provider()).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier
            .verify_server_cert(shown, &[], &name, &[], now)
            .map(|_| ())
            .map_err(|error| format!("{error:?}"))
    }

    fn of_client(
        listed: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        now: UnixTime,
    ) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(listed.clone()).unwrap();
        let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let verifier = client_verifier(inner, vec![listed.clone()]);
        verifier.verify_client_cert(shown, &[], now).map(|_| ()).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn a_listed_certificate_is_taken_from_its_server() {
        let listed = own(|_| {});
        assert!(may_sign(&listed));
        assert_eq!(of_server(&[&listed], &listed, "app.test", year(2030)), Ok(()));
        assert_eq!(of_server(&[&own(|_| {}), &listed], &listed, "app.test", year(2030)), Ok(()));
    }

    #[test]
    fn another_name_time_or_purpose_is_refused() {
        let listed = own(|_| {});
        let says = |name: &str, at| of_server(&[&listed], &listed, name, year(at)).unwrap_err();
        assert!(says("other.test", 2030).contains("NotValidForName"));
        assert!(says("app.test", 2050).contains("Expired"));
        assert!(says("app.test", 2010).contains("NotValidYet"));
        let for_clients =
            own(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        let refused = of_server(&[&for_clients], &for_clients, "app.test", year(2030)).unwrap_err();
        assert!(refused.contains("InvalidPurpose"), "{refused}");
        let for_servers =
            own(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
        assert_eq!(of_server(&[&for_servers], &for_servers, "app.test", year(2030)), Ok(()));
        assert!(of_client(&for_servers, &for_servers, year(2030)).unwrap_err().contains("InvalidPurpose"));
    }

    #[test]
    fn one_that_is_not_listed_is_refused_whatever_it_calls_itself() {
        let (listed, stranger) = (own(|_| {}), own(|_| {}));
        assert!(of_server(&[&listed], &stranger, "app.test", year(2030)).is_err());
        assert!(of_client(&listed, &stranger, year(2030)).is_err());
    }

    /// A listed authority may sign, but what it signs may not sign in turn and be presented.
    #[test]
    fn an_authority_below_a_listed_one_is_refused() {
        let key = KeyPair::generate().unwrap();
        let root = params(|_| {}).self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params(|_| {}), key);
        let below = KeyPair::generate().unwrap();
        let below = params(|_| {}).signed_by(&below, &issuer).unwrap().der().clone();
        assert!(
            of_server(&[&root], &below, "app.test", year(2030)).unwrap_err().contains("CaUsedAsEndEntity")
        );
        let leaf = KeyPair::generate().unwrap();
        let leaf =
            params(|params| params.is_ca = IsCa::NoCa).signed_by(&leaf, &issuer).unwrap().der().clone();
        assert_eq!(of_server(&[&root], &leaf, "app.test", year(2030)), Ok(()), "chains work as before");
    }

    #[test]
    fn a_listed_certificate_is_taken_from_its_client() {
        let listed = own(|_| {});
        assert_eq!(of_client(&listed, &listed, year(2030)), Ok(()));
        assert!(of_client(&listed, &listed, year(2050)).unwrap_err().contains("Expired"));
    }
}
