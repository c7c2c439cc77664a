//! TLS towards clients: which certificate, which options, which protocol.

use std::path::Path;

use http::Request;

use crate::harness::certificates::{Authority, Knock, Pair, common_name};
use crate::harness::client::{Http2, get};
use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::proxy::{Proxy, Setup};

/// An entry point `secure` with certificates `NAME.pem` for the given names, and `options` below `tls.options`.
struct Secure {
    proxy: Proxy,
    authority: Authority,
    origin: Origin,
}

fn dynamic(folder: &Path, origin: &Origin, routers: &str, names: &[&str], tls: &str) -> String {
    let folder = folder.display();
    let mut certificates = String::new();
    for name in names {
        certificates +=
            &format!("    - {{certFile: \"{folder}/{name}.pem\", keyFile: \"{folder}/{name}.key\"}}\n");
    }
    format!(
        "http:\n  routers:\n{routers}  services:\n    s: {{loadBalancer: {{servers: [{{url: \"{}\"}}]}}}}\ntls:\n  \
         certificates:\n{certificates}{tls}",
        origin.url()
    )
}

const ANY: &str = "    any: {rule: PathPrefix(`/`), service: s, tls: {}}\n";

impl Secure {
    async fn start(routers: &str, tls: &str) -> Self {
        let (authority, origin) = (Authority::new(), Origin::start().await);
        let setup = Setup::new().entry_point("secure", "").fixed("accessLog: {format: json}");
        let names = ["exact.example.test", "wild.example.test", "default.example.test", "inner"];
        for (file, name) in names.iter().zip([
            "exact.sub.example.test",
            "*.sub.example.test",
            "default.example.test",
            "inner.example.test",
        ]) {
            authority.issue(&[name]).write(setup.folder(), file);
        }
        std::fs::write(setup.folder().join("ca.pem"), authority.pem()).unwrap();
        let tls = tls.replace("FOLDER", &setup.folder().display().to_string());
        let used = ["wild.example.test", "exact.example.test", "inner"];
        let text = dynamic(setup.folder(), &origin, routers, &used, &tls);
        let proxy = setup.dynamic(&text).start().await;
        Self { proxy, authority, origin }
    }

    async fn shown(&self, knock: &Knock<'_>) -> String {
        common_name(&knock.connect(self.proxy.address("secure")).await.unwrap())
    }

    async fn status(&self, knock: &Knock<'_>) -> Option<u16> {
        let answer = knock.get(self.proxy.address("secure"), knock.name, "/").await;
        answer.ok().map(|answer| answer.status())
    }
}

const DEFAULT: &str = "  stores:\n    default:\n      defaultCertificate: {certFile: FOLDER/default.example.test.pem, \
                       keyFile: FOLDER/default.example.test.key}\n";

#[tokio::test]
async fn the_certificate_follows_the_server_name() {
    let secure = Secure::start(ANY, DEFAULT).await;
    for (name, expected) in [
        ("exact.sub.example.test", "exact.sub.example.test"),
        ("EXACT.sub.example.test", "exact.sub.example.test"),
        ("other.sub.example.test", "*.sub.example.test"),
        ("deep.other.sub.example.test", "default.example.test"),
        ("unknown.test", "default.example.test"),
        ("127.0.0.1", "default.example.test"),
    ] {
        assert_eq!(secure.shown(&Knock::on(name)).await, expected, "{name}");
        assert_eq!(secure.status(&Knock::on(name)).await, Some(200), "{name}");
    }
    let seen = secure.origin.last();
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.get("x-forwarded-port"), Some("443"));
}

#[tokio::test]
async fn without_a_default_a_self_signed_one_is_shown() {
    let secure = Secure::start(ANY, "").await;
    assert_eq!(secure.status(&Knock::on("unknown.test")).await, Some(200));
    assert!(!secure.shown(&Knock::on("unknown.test")).await.contains("example.test"));
}

#[tokio::test]
async fn https_routers_and_plain_ones_do_not_mix() {
    let routers = "    safe: {rule: PathPrefix(`/`), service: s, tls: {}, entryPoints: [web, secure]}\n    \
                   plain: {rule: Path(`/plain`), service: s, entryPoints: [web, secure]}\n";
    let secure = Secure::start(routers, DEFAULT).await;
    assert_eq!(get(secure.proxy.web(), "h", "/x", &[]).await.status(), 404);
    assert_eq!(get(secure.proxy.web(), "h", "/plain", &[]).await.status(), 200);
    assert_eq!(secure.status(&Knock::on("h.test")).await, Some(200));
}

#[tokio::test]
async fn http2_is_negotiated_by_alpn() {
    let secure = Secure::start(ANY, DEFAULT).await;
    let knock = Knock { alpn: &["h2", "http/1.1"], ..Knock::on("exact.sub.example.test") };
    let stream = knock.connect(secure.proxy.address("secure")).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let client = Http2::over(stream).await;
    let request = Request::get("https://exact.sub.example.test/two").body(()).unwrap();
    let answer = client.send(request, &[], false).await;
    assert_eq!(String::from_utf8_lossy(&answer.body), "GET /two\n");
    assert_eq!(secure.origin.last().get("x-forwarded-proto"), Some("https"));
}

const OLD: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[tokio::test]
async fn options_of_a_host_decide_versions_and_protocols() {
    let routers = "    any: {rule: PathPrefix(`/`), service: s, tls: {}}\n    \
                   modern: {rule: Host(`inner.example.test`), service: s, tls: {options: modern}}\n";
    let tls =
        format!("{DEFAULT}  options:\n    modern: {{minVersion: VersionTLS13, alpnProtocols: [http/1.1]}}\n");
    let secure = Secure::start(routers, &tls).await;
    let old = |name| Knock { versions: OLD, ..Knock::on(name) };
    assert_eq!(secure.status(&old("exact.sub.example.test")).await, Some(200));
    assert_eq!(secure.status(&old("inner.example.test")).await, None);
    assert_eq!(secure.status(&Knock::on("inner.example.test")).await, Some(200));
    let knock = Knock { alpn: &["h2", "http/1.1"], ..Knock::on("inner.example.test") };
    let stream = knock.connect(secure.proxy.address("secure")).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn sni_strict_refuses_unknown_names() {
    let tls = format!("{DEFAULT}  options:\n    default: {{sniStrict: true}}\n");
    let secure = Secure::start(ANY, &tls).await;
    assert_eq!(secure.status(&Knock::on("exact.sub.example.test")).await, Some(200));
    assert_eq!(secure.status(&Knock::on("unknown.test")).await, None);
    assert_eq!(secure.status(&Knock::on("127.0.0.1")).await, None);
}

const MUTUAL: &str = "  options:\n    mutual:\n      clientAuth: {caFiles: [FOLDER/ca.pem], clientAuthType: \
                      RequireAndVerifyClientCert}\n";

fn mutual_routers() -> String {
    format!("{ANY}    mutual: {{rule: Host(`inner.example.test`), service: s, tls: {{options: mutual}}}}\n")
}

#[tokio::test]
async fn a_client_certificate_can_be_demanded() {
    let secure = Secure::start(&mutual_routers(), &format!("{DEFAULT}{MUTUAL}")).await;
    assert_eq!(secure.status(&Knock::on("inner.example.test")).await, None);
    let foreign = Authority::new().issue(&["client"]);
    let knock = Knock { certificate: Some(&foreign), ..Knock::on("inner.example.test") };
    assert_eq!(secure.status(&knock).await, None);
    let known = secure.authority.issue(&["client"]);
    let knock = Knock { certificate: Some(&known), ..Knock::on("inner.example.test") };
    assert_eq!(secure.status(&knock).await, Some(200));
    assert_eq!(secure.status(&Knock::on("exact.sub.example.test")).await, Some(200));
    let subject = "\"TLSClientSubject\":\"CN=client\"";
    eventually("the log names the client", || async { secure.proxy.log().contains(subject) }).await;
}

/// A certificate that is listed itself, as home-made ones are.
#[tokio::test]
async fn a_client_may_be_its_own_authority() {
    let listed = MUTUAL.replace("ca.pem", "client.pem");
    let secure = Secure::start(&mutual_routers(), &format!("{DEFAULT}{listed}")).await;
    let (known, stranger) = (Pair::own_authority("client"), Pair::own_authority("client"));
    let status = async |pair: &Pair| {
        secure.status(&Knock { certificate: Some(pair), ..Knock::on("inner.example.test") }).await
    };
    assert_eq!(status(&known).await, None, "its file is not there");
    known.write(secure.proxy.folder(), "client");
    eventually("it is let in", || async { status(&known).await == Some(200) }).await;
    assert_eq!(status(&stranger).await, None);
    assert_eq!(status(&secure.authority.issue(&["client"])).await, None);
    assert_eq!(secure.status(&Knock::on("inner.example.test")).await, None);
}

/// Shaking hands under one name and asking for another must not walk around the other's options.
#[tokio::test]
async fn the_host_cannot_differ_from_the_server_name_where_options_differ() {
    let secure = Secure::start(&mutual_routers(), &format!("{DEFAULT}{MUTUAL}")).await;
    let knock = Knock::on("exact.sub.example.test");
    let answer = knock.get(secure.proxy.address("secure"), "inner.example.test", "/").await.unwrap();
    assert_eq!(answer.status(), 421);
    assert!(secure.origin.requests().is_empty());
}

#[tokio::test]
async fn an_unusable_option_closes_its_host_and_no_other() {
    let routers = format!(
        "{ANY}    broken: {{rule: Host(`inner.example.test`), service: s, tls: {{options: broken}}}}\n"
    );
    let tls = format!(
        "{DEFAULT}  options:\n    broken:\n      clientAuth: {{caFiles: [FOLDER/no-such-file.pem], clientAuthType: \
         RequireAndVerifyClientCert}}\n"
    );
    let secure = Secure::start(&routers, &tls).await;
    assert_ne!(secure.status(&Knock::on("inner.example.test")).await, Some(200));
    assert_eq!(secure.status(&Knock::on("exact.sub.example.test")).await, Some(200));
    assert!(secure.origin.requests().len() == 1);
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let secure = Secure::start(ANY, DEFAULT).await;
    let stream = Knock::on("inner.example.test").connect(secure.proxy.address("secure")).await.unwrap();
    let serial = |stream: &tokio_rustls::client::TlsStream<tokio::net::TcpStream>| {
        stream.get_ref().1.peer_certificates().unwrap().first().unwrap().to_vec()
    };
    let old = serial(&stream);
    secure.authority.issue(&["inner.example.test"]).write(secure.proxy.folder(), "inner");
    eventually("the new certificate is shown", || async {
        let stream = Knock::on("inner.example.test").connect(secure.proxy.address("secure")).await.unwrap();
        serial(&stream) != old
    })
    .await;
    // The connection from before is not disturbed.
    let mut connection = crate::harness::http1::Connection::new(stream);
    connection.send("GET / HTTP/1.1\r\nHost: inner.example.test\r\n\r\n").await;
    assert_eq!(connection.response().await.status(), 200);
}

/// Whoever renews a certificate writes two files, one after the other, or takes the old ones away first.
#[tokio::test]
async fn a_certificate_stays_until_there_is_another_that_works() {
    let secure = Secure::start(ANY, DEFAULT).await;
    let shown = async |name: &'static str| {
        let stream = Knock::on(name).connect(secure.proxy.address("secure")).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap().first().unwrap().to_vec()
    };
    let said = async |text: &str, times: usize| {
        eventually("a warning", || async {
            let log = secure.proxy.log();
            log.lines().filter(|line| line.contains("WRN") && line.contains(text)).count() >= times
        })
        .await;
    };
    for (file, name) in [("inner", "inner.example.test"), ("default.example.test", "unknown.test")] {
        let at = |ending: &str| secure.proxy.folder().join(format!("{file}.{ending}"));
        let old = shown(name).await;
        let new = secure.authority.issue(&["inner.example.test"]);
        let stays = format!("{file}.pem: ");
        std::fs::write(at("pem"), &new.certificate).unwrap();
        said(&format!("{stays}the key in"), 1).await;
        assert_eq!(shown(name).await, old, "{name}: the key is missing yet");
        std::fs::remove_file(at("pem")).unwrap();
        said(&format!("{stays}cannot read"), 1).await;
        assert_eq!(shown(name).await, old, "{name}: the certificate is gone");
        std::fs::write(at("key"), &new.key).unwrap();
        std::fs::write(at("pem"), &new.certificate).unwrap();
        eventually("the new certificate is shown", || async { shown(name).await != old }).await;
    }
    assert_eq!(secure.status(&Knock::on("exact.sub.example.test")).await, Some(200));
}

#[tokio::test]
async fn noise_on_a_tls_port_ends_that_connection_only() {
    let secure = Secure::start(ANY, DEFAULT).await;
    for noise in
        ["GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "\x16\x03\x01\x00\x05hello", "\0\0\0\0"]
    {
        let address = secure.proxy.address("secure");
        let mut connection = crate::harness::http1::Connection::open(address).await;
        connection.send(noise).await;
        // Go answers plain HTTP on a TLS port with a 400; an alert or a plain close is fine as well.
        let _ = crate::harness::soon(&format!("the end after {noise:?}"), connection.rest()).await;
    }
    assert_eq!(secure.status(&Knock::on("exact.sub.example.test")).await, Some(200));
}
