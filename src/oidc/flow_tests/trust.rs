//! Providers behind TLS: whom a policy trusts, and what they get to see before that.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;

/// A provider behind TLS that only knows discovery and keys; its certificate is signed by the
/// authority that is returned. With `clients` it wants a certificate of that authority.
fn tls_provider(clients: Option<rustls_pki_types::CertificateDer<'static>>) -> (String, String) {
    let provider = TlsProvider::start(clients, |_| {});
    (provider.url, provider.authority)
}

/// A provider behind TLS, and what it read of requests.
struct TlsProvider {
    url: String,
    /// As PEM.
    authority: String,
    requests: Arc<AtomicUsize>,
    handshakes: Arc<AtomicUsize>,
}

impl TlsProvider {
    /// `change` spoils the certificate before it is signed.
    fn start(
        clients: Option<rustls_pki_types::CertificateDer<'static>>,
        change: impl FnOnce(&mut rcgen::CertificateParams),
    ) -> Self {
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        change(&mut certificate);
        let certificate = certificate.signed_by(&key, &issuer).unwrap();
        Self { authority: pem, ..Self::of(clients, vec![certificate.der().clone()], key) }
    }

    /// One that shows `chain`.
    fn of(
        clients: Option<rustls_pki_types::CertificateDer<'static>>,
        chain: Vec<rustls_pki_types::CertificateDer<'static>>,
        key: rcgen::KeyPair,
    ) -> Self {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let document = json!({"issuer": url, "authorization_endpoint": format!("{url}/auth"), "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/jwks"), "keys": [super::super::fake_provider::SigningKey::new("k").jwk]})
    .to_string();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(authority).unwrap();
                let verifier =
                    rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let config = builder
            .with_single_cert(chain, rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let config = Arc::new(config);
        let (requests, handshakes) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (read, met) = (Arc::clone(&requests), Arc::clone(&handshakes));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
                let mut request = [0; 4096];
                met.fetch_add(1, Ordering::SeqCst);
                // A client that does not trust us breaks off here.
                if stream.read(&mut request).is_ok_and(|read| read > 0) {
                    read.fetch_add(1, Ordering::SeqCst);
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
                    let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{document}", document.len());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        Self { url, authority: String::new(), requests, handshakes }
    }
}

#[tokio::test]
async fn a_certificate_proves_the_client() {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let trusted = authority.self_signed(&authority_key).unwrap().der().clone();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let ours =
        rcgen::CertificateParams::new(vec!["client".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let (url, pem) = tls_provider(Some(trusted));
    let world = World::new().await;
    let status = async |more: &[(&str, &str)]| {
        let mut lines =
            vec![("caCertPEM", pem.as_str()), ("clientAuthMethod", "tls_client_auth"), ("clientSecret", "")];
        lines.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
        lines.extend(more);
        let policy = Policy::new("auth", settings(&url, &lines), &world.deps).unwrap();
        Browser::default().get(&world, &policy, "/").await.status()
    };
    let (cert, key) = (ours.pem(), key.serialize_pem());
    assert_eq!(status(&[("clientConfig.tls.cert", &cert), ("clientConfig.tls.key", &key)]).await, 302);
    assert_eq!(status(&[("clientAuthMethod", "none")]).await, 503, "no certificate, no answer");
}

#[tokio::test]
async fn trust_belongs_to_one_policy() {
    let (url, pem) = tls_provider(None);
    let world = World::new().await;
    let status = async |more: &[(&str, &str)]| {
        let policy = Policy::new("auth", settings(&url, more), &world.deps).unwrap();
        Browser::default().get(&world, &policy, "/").await.status()
    };
    assert_eq!(status(&[]).await, 503, "the system does not know the authority");
    assert_eq!(status(&[("caCertPEM", &pem)]).await, 302);
    assert_eq!(status(&[("insecureSkipVerify", "true")]).await, 302);
    let (_, other) = tls_provider(None);
    assert_eq!(status(&[("caCertPEM", &other)]).await, 503, "another authority");
    assert_eq!(status(&[]).await, 503, "still");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, &other).unwrap();
    let path = path.to_str().unwrap().to_owned();
    assert_eq!(status(&[("caCertPath", &path)]).await, 503);
    std::fs::write(&path, &pem).unwrap();
    assert_eq!(status(&[("caCertPath", &path)]).await, 302, "a reload reads the file again");
}

/// What `openssl req -x509` makes: a certificate that is its own authority.
struct OwnAuthority {
    pem: String,
    key: rcgen::KeyPair,
    certificate: rustls_pki_types::CertificateDer<'static>,
}

impl OwnAuthority {
    fn new(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        change(&mut params);
        let made = params.self_signed(&key).unwrap();
        Self { pem: made.pem(), certificate: made.der().clone(), key }
    }
}

#[tokio::test]
async fn a_provider_may_be_its_own_authority() {
    let world = World::new().await;
    let (_, other) = tls_provider(None);
    let status = async |provider: &TlsProvider, authorities: &str| {
        let settings = settings(&provider.url, &[("caCertPEM", authorities)]);
        let policy = Policy::new("auth", settings, &world.deps).unwrap();
        Browser::default().get(&world, &policy, "/").await.status()
    };
    let good = OwnAuthority::new(|_| {});
    let provider = TlsProvider::of(None, vec![good.certificate], good.key);
    assert_eq!(status(&provider, &good.pem).await, 302);
    assert_eq!(status(&provider, &format!("{other}{}", good.pem)).await, 302, "one of several");
    assert_eq!(status(&provider, &OwnAuthority::new(|_| {}).pem).await, 503, "another one alike");
    for (what, bad) in [("name", OwnAuthority::new(misnamed)), ("time", OwnAuthority::new(expired))] {
        let provider = TlsProvider::of(None, vec![bad.certificate], bad.key);
        assert_eq!(status(&provider, &bad.pem).await, 503, "{what}");
        assert_eq!(provider.requests.load(Ordering::SeqCst), 0, "{what}: a request was sent");
    }
}

fn expired(certificate: &mut rcgen::CertificateParams) {
    certificate.not_before = rcgen::date_time_ymd(2020, 1, 1);
    certificate.not_after = rcgen::date_time_ymd(2021, 1, 1);
}

fn misnamed(certificate: &mut rcgen::CertificateParams) {
    let name = "id.example.test".try_into().unwrap();
    certificate.subject_alt_names = vec![rcgen::SanType::DnsName(name)];
}

/// A provider whose certificate is of another authority, of another name or expired learns nothing, neither at discovery
/// nor with a code in hand.
#[tokio::test]
async fn n82_nothing_is_said_to_a_provider_that_cannot_prove_itself() {
    let world = World::new().await;
    let (_, foreign) = tls_provider(None);
    type Spoil = fn(&mut rcgen::CertificateParams);
    for (what, spoil, authority) in [
        ("another authority", (|_| {}) as Spoil, Some(&foreign)),
        ("another name", misnamed, None),
        ("expired", expired, None),
    ] {
        let bad = TlsProvider::start(None, spoil);
        let trust = authority.unwrap_or(&bad.authority);
        let policy = Policy::new("auth", settings(&bad.url, &[("caCertPEM", trust)]), &world.deps).unwrap();
        let mut browser = Browser::default();
        assert_eq!(browser.get(&world, &policy, "/").await.status(), 503, "{what}");
        assert!(bad.handshakes.load(Ordering::SeqCst) > 0, "{what}: nobody asked it");
        assert_eq!(bad.requests.load(Ordering::SeqCst), 0, "{what}: a request was sent");

        // Where discovery is honest, and names that endpoint.
        let honest = World::new().await;
        let endpoint = json!(format!("{}/token", bad.url));
        honest.provider.script().metadata.insert("token_endpoint".into(), endpoint);
        let policy = honest.policy(&[("caCertPEM", trust)]);
        let before = bad.handshakes.load(Ordering::SeqCst);
        let outcome = browser.login(&honest, &policy, "/").await;
        assert_eq!(outcome.status(), 502, "{what}: {}", outcome.body());
        assert!(bad.handshakes.load(Ordering::SeqCst) > before, "{what}: nobody asked it");
        assert_eq!(bad.requests.load(Ordering::SeqCst), 0, "{what}: the code and the secret were sent");
    }
    // The same without a fault, so that the refusals mean something.
    let good = TlsProvider::start(None, |_| {});
    let policy =
        Policy::new("auth", settings(&good.url, &[("caCertPEM", &good.authority)]), &world.deps).unwrap();
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 302);
    assert!(good.requests.load(Ordering::SeqCst) > 0);
}
