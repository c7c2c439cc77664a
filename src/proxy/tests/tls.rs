//! TLS on either side.

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::tls::TlsAcceptor;
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
            .entry(|entry| entry.tls_options = [("a.test".to_owned(), Arc::from("strict@file"))].into())
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
    let same = routed("mutual@file").entry(|entry| entry.tls_options = named.into());
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
        Setup::to(origin.url()).entry(|entry| entry.tls_options = named.into()).tls(options)
    };
    assert_eq!(wildcard("default").start().await.get("/").await.status(), 421);
    assert_eq!(wildcard("strict@file").start().await.get("/").await.status(), 200);
}

/// A TLS server for `app.test` that answers `ok`, and its certificate.
async fn tls_origin() -> (SocketAddr, String) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = [0; 4096];
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
            });
        }
    });
    (addr, pem)
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
