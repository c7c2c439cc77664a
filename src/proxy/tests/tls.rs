//! TLS on either side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pingora::tls::TlsAcceptor;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::testing::{Origin, Setup};

#[tokio::test]
async fn routers_with_tls_do_not_answer_on_plain_connections_and_the_reverse() {
    let origin = Origin::echoing().await;
    let proxy = Setup::to(origin.url()).tls("default").start().await;
    let answer = proxy.get("/").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.seen("X-Forwarded-Proto"), Some("https"));
    assert_eq!(answer.seen("X-Forwarded-Port"), Some("443"));
    // The same router, on a connection that is not TLS.
    let plain = Setup::to(origin.url()).tls_route_on_plain();
    assert_eq!(plain.start().await.get("/").await.status(), 404);
}

#[tokio::test]
async fn a_host_with_other_tls_options_than_the_connections_is_421() {
    let origin = Origin::echoing().await;
    let strict = |options| {
        Setup::to(origin.url())
            .entry(|entry| {
                entry.tls_options = [("a.test".to_owned(), Arc::from("strict@file"))].into_iter().collect();
            })
            .tls(options)
    };
    assert_eq!(strict("default").start().await.get("/").await.status(), 421);
    assert_eq!(strict("strict@file").start().await.get("/").await.status(), 200);
    // A connection that was made under strict options may not reach a host that has none: Traefik
    // refuses both ways.
    let other = "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
    assert_eq!(strict("strict@file").start().await.connect().await.exchange(other).await.status(), 421);
}

#[tokio::test]
async fn a_router_with_tls_options_answers_no_host_that_chose_others() {
    // Its rule matches every host; the handshake for those that it does not name is the default one.
    let origin = Origin::echoing().await;
    let routed = |options| Setup::to(origin.url()).route_options("mutual@file").tls(options);
    assert_eq!(routed("default").start().await.get("/").await.status(), 421);
    let named = [("a.test".to_owned(), Arc::from("mutual@file"))];
    let same = routed("mutual@file").entry(|entry| entry.tls_options = named.into_iter().collect());
    assert_eq!(same.start().await.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_broken_router_is_404_whatever_options_it_asks_for() {
    let origin = Origin::echoing().await;
    let broken = Setup::to(origin.url()).route_options("mutual@file").broken();
    assert_eq!(broken.tls("default").start().await.get("/").await.status(), 404);
}

#[tokio::test]
async fn tls_options_of_a_wildcard_host_hold_for_its_hosts() {
    let origin = Origin::echoing().await;
    let wildcard = |options| {
        let named = [("*.test".to_owned(), Arc::from("strict@file"))];
        Setup::to(origin.url()).entry(|entry| entry.tls_options = named.into_iter().collect()).tls(options)
    };
    assert_eq!(wildcard("default").start().await.get("/").await.status(), 421);
    assert_eq!(wildcard("strict@file").start().await.get("/").await.status(), 200);
}

/// A TLS server for `app.test` that answers `ok`, and its certificate.
async fn tls_origin() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let (addr, _) = tls_origin_of(&pem, &made.signing_key).await;
    (addr, pem)
}

/// A TLS server with this certificate, and how many requests it has read.
async fn tls_origin_of(pem: &str, key: &KeyPair) -> (SocketAddr, Arc<AtomicUsize>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let reads = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&reads);
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, reads) = (acceptor.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = [0; 4096];
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    reads.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
            });
        }
    });
    (addr, reads)
}

/// What `openssl req -x509` makes, for `app.test`: a certificate that is its own authority.
fn own_authority(change: impl FnOnce(&mut CertificateParams)) -> (CertificateParams, KeyPair, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["app.test".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let pem = params.self_signed(&key).unwrap().pem();
    (params, key, pem)
}

fn to_app(addr: SocketAddr, root_cas: &[&String]) -> Setup {
    let root_cas: Vec<String> = root_cas.iter().map(|pem| (*pem).clone()).collect();
    let to = Setup::to(format!("https://app.test:{}", addr.port())).name("app.test", &["127.0.0.1"]);
    to.transport(|transport| transport.root_cas = root_cas)
}

#[tokio::test]
async fn a_server_may_be_its_own_authority() {
    let (_, key, pem) = own_authority(|_| {});
    let (addr, reads) = tls_origin_of(&pem, &key).await;
    let (_, _, other) = own_authority(|_| {});
    let proxy = to_app(addr, &[&other, &pem]).start().await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.status(), 200);
    }
    assert_eq!(reads.swap(0, Ordering::SeqCst), 3);
    assert_eq!(to_app(addr, &[&other]).start().await.get("/").await.status(), 502, "another one alike");
    assert_eq!(
        Setup::to(format!("https://{addr}"))
            .transport(|t| t.root_cas = vec![pem.clone()])
            .start()
            .await
            .get("/")
            .await
            .status(),
        502,
        "by address"
    );
    assert_eq!(reads.load(Ordering::SeqCst), 0, "a request was sent");
}

#[tokio::test]
async fn a_server_that_is_its_own_authority_must_be_named_and_valid() {
    type Change = fn(&mut CertificateParams);
    let wrong: [(&str, Change); 3] = [
        ("another name", |params| {
            params.subject_alt_names = vec![rcgen::SanType::DnsName("other.test".try_into().unwrap())];
        }),
        ("expired", |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }),
        ("for clients", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
    ];
    for (what, change) in wrong {
        let (_, key, pem) = own_authority(change);
        let (addr, reads) = tls_origin_of(&pem, &key).await;
        let proxy = to_app(addr, &[&pem]).start().await;
        for _ in 0..2 {
            assert_eq!(proxy.get("/").await.status(), 502, "{what}");
        }
        assert_eq!(reads.load(Ordering::SeqCst), 0, "{what}: a request was sent");
    }
}

/// The authority names the server too, but the server shows what the authority has signed.
#[tokio::test]
async fn what_a_listed_authority_has_signed_is_trusted_beside_itself() {
    let (params, key, root) = own_authority(|_| {});
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["app.test".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap().pem();
    let (addr, _) = tls_origin_of(&leaf, &key).await;
    let proxy = to_app(addr, &[&root]).start().await;
    let post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(proxy.connect().await.exchange(post).await.status(), 200);
    assert_eq!(proxy.get("/").await.status(), 200);
}

#[tokio::test]
async fn an_untrusted_certificate_is_502_and_a_trusted_one_is_not() {
    let (addr, pem) = tls_origin().await;
    let url = format!("https://app.test:{}", addr.port());
    let to = || Setup::to(&url).name("app.test", &["127.0.0.1"]);
    assert_eq!(to().start().await.get("/").await.status(), 502);
    let trusting = to().transport(|t| t.root_cas = vec![pem.clone()]);
    assert_eq!(trusting.start().await.get("/").await.status(), 200);
    let careless = to().transport(|t| t.insecure_skip_verify = true);
    assert_eq!(careless.start().await.get("/").await.status(), 200);
}

#[tokio::test]
async fn the_server_name_is_what_is_verified() {
    let (addr, pem) = tls_origin().await;
    // By address: the certificate is for a name.
    let to = || Setup::to(format!("https://{addr}")).transport(|t| t.root_cas = vec![pem.clone()]);
    assert_eq!(to().start().await.get("/").await.status(), 502);
    let named = to().transport(|t| t.server_name = Some("app.test".into()));
    assert_eq!(named.start().await.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_response_header_timeout_works_over_tls() {
    let (addr, pem) = tls_origin().await;
    let url = format!("https://app.test:{}", addr.port());
    let timed = Setup::to(&url).name("app.test", &["127.0.0.1"]).transport(|t| {
        t.root_cas = vec![pem.clone()];
        t.forwarding_timeouts.response_header_timeout = std::time::Duration::from_secs(5);
    });
    assert_eq!(timed.start().await.get("/").await.status(), 200);
}
