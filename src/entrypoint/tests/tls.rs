//! Certificates and options by server name.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::harness::{Client, Edge, connect};
use super::tls_client::{Tls, der, pair};
use crate::config::tls::{Certificate, CertificatePair, ClientAuth, TlsOptions};
use crate::entrypoint::{RejectReason, Settings};
use crate::tls::{HostOptions, Inputs, Keep};

fn host(host: &str, options: &str) -> HostOptions {
    HostOptions { entry_point: "web".into(), host: host.into(), options: options.into() }
}

async fn edge() -> (Edge, SocketAddr) {
    Edge::start(Settings::default()).await
}

#[tokio::test]
async fn exact_before_wildcard_before_default() {
    let (edge, address) = edge().await;
    let exact = pair(&["app.test"]);
    let wildcard = pair(&["*.test"]);
    let default = pair(&["default.example"]);
    let default_pair =
        CertificatePair { cert_file: default.cert_file.clone(), key_file: default.key_file.clone() };
    let inputs = Inputs {
        certificates: vec![&wildcard, &exact],
        default_certificate: Some(&default_pair),
        ..Inputs::default()
    };
    assert!(edge.use_tls(&inputs).is_empty());
    let tls = Tls::trusting(&[]);
    let served = |name: &'static str| tls.any_certificate(address, name);
    assert_eq!(served("app.test").await, der(&exact));
    assert_eq!(served("APP.test").await, der(&exact));
    assert_eq!(served("other.test").await, der(&wildcard));
    assert_eq!(served("a.b.test").await, der(&default));
    assert_eq!(served("test").await, der(&default));
    let mut expiries: Vec<_> = edge.tls.load().expiries().iter().map(|e| e.sans.clone()).collect();
    expiries.sort();
    assert_eq!(expiries, ["*.test", "app.test", "default.example"]);
}

#[tokio::test]
async fn without_any_certificate_a_self_signed_one_is_served() {
    let (_edge, address) = edge().await;
    let served = Tls::trusting(&[]).any_certificate(address, "app.test").await;
    let (_, parsed) = x509_parser::parse_x509_certificate(&served).unwrap();
    assert!(parsed.subject().to_string().contains("PORTCULLIS DEFAULT CERT"));
}

#[tokio::test]
async fn an_address_without_server_name_gets_its_certificate() {
    let (edge, address) = edge().await;
    let named = pair(&["app.test"]);
    let numbered = pair(&["127.0.0.1"]);
    assert!(edge.use_tls(&Inputs { certificates: vec![&named, &numbered], ..Inputs::default() }).is_empty());
    assert_eq!(Tls::trusting(&[]).any_certificate(address, "127.0.0.1").await, der(&numbered));
}

#[tokio::test]
async fn sni_strict_refuses_unknown_names() {
    let (edge, address) = edge().await;
    let certificate = pair(&["app.test"]);
    let strict = TlsOptions { sni_strict: true, ..TlsOptions::default() };
    let inputs = Inputs {
        certificates: vec![&certificate],
        options: [("default".to_owned(), &strict)].into(),
        ..Inputs::default()
    };
    assert!(edge.use_tls(&inputs).is_empty());
    let tls = Tls::trusting(&[&certificate]);
    assert!(tls.facts(address, "app.test").await.unwrap().contains("options=default"));
    for unknown in ["other.test", "127.0.0.1"] {
        let error = tls.facts(address, unknown).await.unwrap_err();
        assert!(error.contains("UnrecognisedName"), "{error}");
    }
    assert_eq!(edge.rejected(), [RejectReason::ServerName; 2]);
}

#[tokio::test]
async fn options_belong_to_hosts() {
    let (edge, address) = edge().await;
    let certificate = pair(&["old.test", "new.test"]);
    let modern = TlsOptions { min_version: Some("VersionTLS13".into()), ..TlsOptions::default() };
    let old = TlsOptions {
        max_version: Some("VersionTLS12".into()),
        cipher_suites: vec![
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".into(),
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA".into(),
        ],
        curve_preferences: vec!["CurveP384".into()],
        ..TlsOptions::default()
    };
    let inputs = Inputs {
        certificates: vec![&certificate],
        options: [("modern@file".to_owned(), &modern), ("old@file".to_owned(), &old)].into(),
        hosts: vec![host("new.test", "modern@file"), host("old.test", "old@file")],
        ..Inputs::default()
    };
    assert_eq!(edge.use_tls(&inputs), Vec::<String>::new());
    let tls = Tls::trusting(&[&certificate]);
    let facts = tls.facts(address, "new.test").await.unwrap();
    assert!(facts.contains("sni=new.test") && facts.contains("version=1.3"), "{facts}");
    let facts = tls.facts(address, "old.test").await.unwrap();
    assert!(facts.contains("version=1.2") && facts.contains("options=old@file"), "{facts}");
    assert!(tls.version(&rustls::version::TLS12).facts(address, "new.test").await.is_err());
}

#[tokio::test]
async fn contradicting_or_missing_options_close_the_host_only() {
    let (edge, address) = edge().await;
    let certificate = pair(&["torn.test", "lost.test", "bad.test", "fine.test"]);
    let one = TlsOptions::default();
    let bad = TlsOptions { cipher_suites: vec!["TLS_NONSENSE".into()], ..TlsOptions::default() };
    let inputs = Inputs {
        certificates: vec![&certificate],
        options: [("one@file".to_owned(), &one), ("bad@file".to_owned(), &bad)].into(),
        hosts: vec![
            host("torn.test", "one@file"),
            host("torn.test", "default"),
            host("torn.test", "one@file"),
            host("lost.test", "gone@file"),
            host("bad.test", "bad@file"),
            host("fine.test", "one@file"),
        ],
        ..Inputs::default()
    };
    let errors = edge.use_tls(&inputs);
    assert_eq!(errors.len(), 3, "{errors:#?}");
    assert!(errors[0].contains("unknown cipher suite `TLS_NONSENSE`"), "{}", errors[0]);
    assert!(errors[1].contains("`one@file` and `default`"), "{}", errors[1]);
    assert!(errors[2].contains("no TLS options are called `gone@file`"), "{}", errors[2]);
    let tls = Tls::trusting(&[&certificate]);
    for closed in ["torn.test", "lost.test", "bad.test"] {
        assert!(tls.facts(address, closed).await.unwrap_err().contains("AccessDenied"), "{closed}");
    }
    assert!(tls.facts(address, "fine.test").await.is_ok());
}

#[tokio::test]
async fn a_certificate_without_its_key_closes_its_names() {
    let (edge, address) = edge().await;
    let mut broken = pair(&["broken.test"]);
    broken.key_file = pair(&["x"]).key_file;
    let missing = Certificate { cert_file: "/nonexistent.pem".into(), ..broken.clone() };
    let fine = pair(&["fine.test"]);
    let inputs = Inputs { certificates: vec![&broken, &missing, &fine], ..Inputs::default() };
    let errors = edge.use_tls(&inputs);
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].contains("does not belong"), "{}", errors[0]);
    assert!(errors[1].contains("cannot read /nonexistent.pem"), "{}", errors[1]);
    assert!(errors.iter().all(|error| !error.contains("BEGIN")));
    let tls = Tls::trusting(&[&broken, &fine]);
    assert!(tls.facts(address, "broken.test").await.unwrap_err().contains("AccessDenied"));
    assert!(tls.facts(address, "fine.test").await.is_ok());
}

#[test]
fn options_that_cannot_be_applied_are_refused() {
    let refused = |change: fn(&mut TlsOptions)| {
        let mut options = TlsOptions::default();
        change(&mut options);
        let inputs = Inputs { options: [("default".to_owned(), &options)].into(), ..Inputs::default() };
        let (_, errors) = crate::tls::build(&inputs, &Keep::default());
        errors.first().map(ToString::to_string).unwrap_or_default()
    };
    assert_eq!(refused(|_| {}), "");
    assert!(
        refused(|o| o.min_version = Some("VersionTLS10".into())).contains("`VersionTLS10` is not served")
    );
    assert!(refused(|o| o.max_version = Some("1.2".into())).contains("`1.2` is not served"));
    let crossed = refused(|o| {
        o.min_version = Some("VersionTLS13".into());
        o.max_version = Some("VersionTLS12".into());
    });
    assert!(crossed.contains("no TLS version is left"), "{crossed}");
    let weak_only = refused(|o| {
        o.max_version = Some("VersionTLS12".into());
        o.cipher_suites = vec!["TLS_RSA_WITH_AES_128_CBC_SHA".into()];
    });
    assert!(weak_only.contains("no TLS version is left"), "{weak_only}");
    assert!(refused(|o| o.curve_preferences = vec!["Curve9".into()]).contains("unknown curve"));
    assert!(refused(|o| o.curve_preferences = vec!["CurveP521".into()]).contains("none of the curve"));
    assert!(refused(|o| o.alpn_protocols = vec!["spdy/3".into()]).contains("`spdy/3`"));
    assert!(refused(|o| o.client_auth.client_auth_type = Some("Maybe".into())).contains("`Maybe`"));
    let no_ca = refused(|o| o.client_auth.client_auth_type = Some("RequireAndVerifyClientCert".into()));
    assert!(no_ca.contains("needs caFiles"), "{no_ca}");
}

#[tokio::test]
async fn client_certificates() {
    let (edge, address) = edge().await;
    let certificate = pair(&["app.test"]);
    let (known, unknown) = (pair(&["client.test"]), pair(&["stranger.test"]));
    let tls = Tls::trusting(&[&certificate]);
    // Kind, whether CAs are given, and for no, an unknown and a known certificate: served, verified.
    let (yes, no) = (Some(false), None);
    for (kind, ca, expected) in [
        (None, false, [yes, yes, yes]),
        (None, true, [no, no, Some(true)]),
        (Some("RequestClientCert"), false, [yes, yes, yes]),
        (Some("RequireAnyClientCert"), false, [no, yes, yes]),
        (Some("VerifyClientCertIfGiven"), true, [yes, no, Some(true)]),
        (Some("RequireAndVerifyClientCert"), true, [no, no, Some(true)]),
    ] {
        let ca_files = if ca { vec![known.cert_file.clone()] } else { Vec::new() };
        let client_auth = ClientAuth { ca_files, client_auth_type: kind.map(str::to_owned) };
        let options = TlsOptions { client_auth, ..TlsOptions::default() };
        let inputs = Inputs {
            certificates: vec![&certificate],
            options: [("default".to_owned(), &options)].into(),
            ..Inputs::default()
        };
        assert_eq!(edge.use_tls(&inputs), Vec::<String>::new());
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let tls = tls.clone().version(version);
            let clients = [tls.clone(), tls.clone().with(&unknown), tls.with(&known)];
            for (client, expected) in clients.iter().zip(expected) {
                let facts = client.facts(address, "app.test").await.ok().filter(|f| !f.is_empty());
                let verified = facts.as_ref().map(|facts| facts.contains("verified=true"));
                assert_eq!(verified, expected, "{kind:?} ca={ca} {facts:?}");
            }
        }
    }
}

#[tokio::test]
async fn sessions_are_resumed_across_reloads_but_not_across_client_authentication() {
    let (edge, address) = edge().await;
    let certificate = pair(&["app.test"]);
    let known = pair(&["client.test"]);
    let keep = Keep::default();
    let open = TlsOptions::default();
    let client_auth = ClientAuth { ca_files: vec![known.cert_file.clone()], client_auth_type: None };
    let closed = TlsOptions { client_auth, ..TlsOptions::default() };
    let load = |options: &TlsOptions| {
        let inputs = Inputs {
            certificates: vec![&certificate],
            options: [("default".to_owned(), options)].into(),
            ..Inputs::default()
        };
        let (snapshot, errors) = crate::tls::build(&inputs, &keep);
        assert!(errors.is_empty());
        edge.tls.store(Arc::new(snapshot));
    };
    let mut tls = Tls::trusting(&[&certificate]);
    tls.session = Some(rustls::client::Resumption::in_memory_sessions(16));
    // One client configuration, as sessions belong to it.
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls.config()));
    let resumed = || async {
        let name = ServerName::try_from("app.test").unwrap();
        let stream = connector.connect(name, connect(address).await.0).await.ok()?;
        let mut client = Client(stream);
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let served = client.rest().await.contains("entry=web");
        let kind = client.0.get_ref().1.handshake_kind();
        served.then_some(kind == Some(rustls::HandshakeKind::Resumed))
    };
    load(&open);
    assert_eq!(resumed().await, Some(false));
    assert_eq!(resumed().await, Some(true));
    load(&open);
    assert_eq!(resumed().await, Some(true));
    load(&closed);
    assert_eq!(resumed().await, None);
    let no_tickets = TlsOptions { disable_session_tickets: true, ..TlsOptions::default() };
    load(&no_tickets);
    assert_eq!(resumed().await, Some(false));
    assert_eq!(resumed().await, Some(false));
}

#[tokio::test]
async fn what_is_no_handshake_is_counted() {
    let (edge, address) = edge().await;
    let mut client = connect(address).await;
    client.send([0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]).await;
    client.rest().await;
    assert_eq!(edge.rejected(), [RejectReason::Handshake]);
}

#[tokio::test]
async fn half_a_handshake_has_a_deadline() {
    let mut settings = Settings::default();
    settings.timeouts.handshake = std::time::Duration::from_millis(200);
    let (edge, address) = Edge::start(settings).await;
    let mut client = connect(address).await;
    client.send([0x16, 3, 1]).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(edge.rejected(), [RejectReason::HandshakeTimeout]);
}
