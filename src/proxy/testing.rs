//! Proxy, scripted servers and raw clients for the tests of this module, all in one process.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Edge, EntryPoint, Observed, Route, RouteService, Routes, Snapshot, http_proxy};
use crate::config::dynamic::{LoadBalancer, Server, ServersTransport};
use crate::config::middleware as config;
use crate::middleware::{Chain, Middleware};
use crate::net::internal::InternalService;
use crate::net::{ConnControl, ConnInfo, TlsInfo, forwarded};
use crate::observe::{AccessLog, Metrics};
use crate::router::{RouteSpec, Router, Rule};
use crate::service::dns::Names;
use crate::service::{Registries, Service, Transport};

/// Longest that anything in a test may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A server that runs `script` for each connection, with the number of the connection from 0.
pub(super) struct Origin {
    pub(super) addr: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
}

impl Origin {
    pub(super) async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(Conn, usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(Conn::new(stream), number));
            }
        });
        Self { addr, connections }
    }

    /// Answers every request with the same bytes.
    pub(super) async fn answering(answer: &'static str) -> Self {
        Self::start(move |mut conn, _| async move {
            while conn.read_head().await.is_some() {
                conn.write(answer).await;
            }
        })
        .await
    }

    /// Answers every request with the head that it received, as the body.
    pub(super) async fn echoing() -> Self {
        Self::start(move |mut conn, _| async move {
            while let Some(head) = conn.read_head().await {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
                conn.write(&answer).await;
            }
        })
        .await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A raw connection with what was read too far.
pub(super) struct Conn {
    pub(super) stream: TcpStream,
    pub(super) buffer: Vec<u8>,
}

impl Conn {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(super) async fn open(addr: SocketAddr) -> Self {
        Self::new(TcpStream::connect(addr).await.unwrap())
    }

    pub(super) async fn write(&mut self, text: &str) {
        // The other side may be gone already, which is what some tests want.
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// Reads more; false at the end.
    async fn fill(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.buffer);
        matches!(tokio::time::timeout(PATIENCE, read).await.expect("the other side says nothing"), Ok(n) if n > 0)
    }

    /// Everything up to and with `end`.
    pub(super) async fn read_until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let taken: Vec<u8> = self.buffer.drain(..at + end.len()).collect();
                return Some(String::from_utf8_lossy(&taken).into_owned());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// A head with its empty line; none when the connection ends first.
    pub(super) async fn read_head(&mut self) -> Option<String> {
        self.read_until(b"\r\n\r\n").await
    }

    /// Exactly so many bytes, or fewer at the end.
    pub(super) async fn read_exact(&mut self, length: usize) -> String {
        while self.buffer.len() < length && self.fill().await {}
        let length = length.min(self.buffer.len());
        String::from_utf8_lossy(&self.buffer.drain(..length).collect::<Vec<_>>()).into_owned()
    }

    /// Everything until the connection ends.
    pub(super) async fn read_rest(&mut self) -> String {
        while self.fill().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
    }

    /// Sends a request and reads the head and the body that `Content-Length` announces.
    pub(super) async fn exchange(&mut self, request: &str) -> Answer {
        self.write(request).await;
        self.read_answer().await
    }

    pub(super) async fn read_answer(&mut self) -> Answer {
        let head = self.read_head().await.expect("an answer");
        let mut answer = Answer { head, body: String::new() };
        if let Some(length) = answer.header("content-length") {
            answer.body = self.read_exact(length.parse().unwrap()).await;
        }
        answer
    }
}

pub(super) struct Answer {
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// A header of the head, or of a head that came back as body.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(super) fn seen(&self, name: &str) -> Option<&str> {
        header(&self.body, name)
    }
}

pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v)
}

/// A proxy in front of one service.
pub(super) struct Setup {
    pub(super) entry: EntryPoint,
    transport: ServersTransport,
    servers: Vec<String>,
    preserve_path: bool,
    pass_host: bool,
    names: Vec<(String, Vec<IpAddr>)>,
    internal: Option<InternalService>,
    broken: bool,
    chain: Chain,
    tls: Option<&'static str>,
    tls_route: bool,
    route_options: Option<&'static str>,
}

impl Setup {
    pub(super) fn to(url: impl Into<String>) -> Self {
        Self {
            entry: EntryPoint::new("web"),
            transport: ServersTransport::default(),
            servers: vec![url.into()],
            preserve_path: false,
            pass_host: true,
            names: Vec::new(),
            internal: None,
            broken: false,
            chain: Chain::default(),
            tls: None,
            tls_route: false,
            route_options: None,
        }
    }

    pub(super) fn without_servers() -> Self {
        Self { servers: Vec::new(), ..Self::to("") }
    }

    pub(super) fn internal(service: InternalService) -> Self {
        Self { internal: Some(service), ..Self::without_servers() }
    }

    pub(super) fn broken(mut self) -> Self {
        self.broken = true;
        self
    }

    pub(super) fn middlewares(mut self, configs: &[config::Middleware]) -> Self {
        self.chain = Chain::new(configs.iter().map(|config| Arc::new(Middleware::new(config).unwrap())));
        self
    }

    /// Connections claim to be TLS, made under these TLS options; the route is for TLS then.
    pub(super) fn tls(mut self, options: &'static str) -> Self {
        self.tls = Some(options);
        self
    }

    /// The router asks for these TLS options.
    pub(super) fn route_options(mut self, options: &'static str) -> Self {
        self.route_options = Some(options);
        self
    }

    /// The route is for TLS, connections are plain.
    pub(super) fn tls_route_on_plain(mut self) -> Self {
        self.tls_route = true;
        self
    }

    pub(super) fn preserve_path(mut self) -> Self {
        self.preserve_path = true;
        self
    }

    pub(super) fn own_host(mut self) -> Self {
        self.pass_host = false;
        self
    }

    pub(super) fn name(mut self, name: &str, addresses: &[&str]) -> Self {
        self.names.push((name.into(), addresses.iter().map(|a| a.parse().unwrap()).collect()));
        self
    }

    pub(super) fn transport(mut self, change: impl FnOnce(&mut ServersTransport)) -> Self {
        change(&mut self.transport);
        self
    }

    pub(super) fn entry(mut self, change: impl FnOnce(&mut EntryPoint)) -> Self {
        change(&mut self.entry);
        self
    }

    pub(super) async fn start(mut self) -> Proxy {
        let metrics = Metrics::new(Some(&Default::default())).unwrap();
        let registries = Registries::new(Names::fixed(std::mem::take(&mut self.names)));
        let service = match self.internal.take() {
            Some(internal) => RouteService::Internal(internal),
            None => RouteService::Balanced(Arc::new(self.service(&registries))),
        };
        registries.names().asked(PATIENCE).await;
        let route = Route {
            name: "all@file".into(),
            chain: self.chain.clone(),
            service,
            service_name: "app@file".into(),
            broken: self.broken.then(|| "a test".to_owned()),
            tls_options: self.route_options.map(Arc::from),
            observed: Observed::default(),
            metrics: None,
            service_metrics: metrics.service("app@file"),
        };
        let spec = RouteSpec {
            name: "all@file".into(),
            rule: Rule::parse("PathPrefix(`/`) && !Path(`/nowhere`)").unwrap(),
            priority: 1,
            provider_rank: 0,
        };
        self.entry.metrics = metrics.entry_point("web");
        let routes = Routes { router: Router::build(vec![spec]), routes: vec![Arc::new(route)] };
        match self.tls.is_some() || self.tls_route {
            true => self.entry.tls = routes,
            false => self.entry.plain = routes,
        }
        let entry = Arc::new(self.entry);
        let snapshot = Snapshot { generation: 1, entry_points: [(Arc::from("web"), entry)].into() };
        Proxy::start(snapshot, metrics, self.tls).await
    }

    fn service(&self, registries: &Registries) -> Service {
        let config = LoadBalancer {
            servers: self
                .servers
                .iter()
                .map(|url| Server { url: url.clone(), weight: 1, preserve_path: self.preserve_path })
                .collect(),
            pass_host_header: self.pass_host,
            ..LoadBalancer::default()
        };
        let transport = Transport::compile(&self.transport, registries.material()).unwrap();
        Service::compile("app@file", &config, &transport, registries).unwrap()
    }
}

pub(super) struct Proxy {
    pub(super) addr: SocketAddr,
    pub(super) metrics: Metrics,
    _shutdown: tokio::sync::watch::Sender<bool>,
}

impl Proxy {
    async fn start(snapshot: Snapshot, metrics: Metrics, tls: Option<&'static str>) -> Self {
        // The first provider installed is the process's; every test may be the first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let edge = Edge::new(Arc::new(ArcSwap::from_pointee(snapshot)), None::<Arc<AccessLog>>, "edge-1");
        let proxy = Arc::new(http_proxy(edge, ServerConf::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (shutdown, watch) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let app = Arc::new(App::new(Arc::clone(&proxy), peer, addr, tls));
                let watch = watch.clone();
                tokio::spawn(async move { app.process_new(Box::new(L4Stream::from(stream)), &watch).await });
            }
        });
        Self { addr, metrics, _shutdown: shutdown }
    }

    pub(super) async fn connect(&self) -> Conn {
        Conn::open(self.addr).await
    }

    /// One request on a connection of its own.
    pub(super) async fn get(&self, target: &str) -> Answer {
        self.connect().await.exchange(&format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await
    }

    /// How often the metrics have seen `code` at the entry point.
    pub(super) fn counted(&self, code: u16) -> u64 {
        let text = self.metrics.encode().unwrap();
        let label = format!("code=\"{code}\"");
        text.lines()
            .filter(|line| line.starts_with("traefik_entrypoint_requests_total") && line.contains(&label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>() as u64
    }

    /// Waits until the metrics have seen `code`.
    pub(super) async fn wait_counted(&self, code: u16) {
        let seen = async {
            while self.counted(code) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("no request counted as {code}"));
    }
}

/// What the entry points do: hand each request its connection.
struct App {
    proxy: Arc<HttpProxy<Edge>>,
    conn: Arc<ConnInfo>,
    options: HttpServerOptions,
}

impl App {
    fn new(
        proxy: Arc<HttpProxy<Edge>>,
        peer: SocketAddr,
        local: SocketAddr,
        tls: Option<&'static str>,
    ) -> Self {
        let tls = tls.map(|options| TlsInfo {
            sni: None,
            alpn: None,
            version: "1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
            client_cert: None,
            options_name: options.into(),
        });
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        let conn = ConnInfo {
            entry_point: "web".into(),
            peer,
            peer_address: forwarded::address(peer.ip()),
            socket_peer: peer,
            local,
            tls,
            h2: false,
            control: ConnControl::default(),
        };
        Self { proxy, conn: Arc::new(conn), options }
    }
}

#[async_trait]
impl HttpServerApp for App {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if session.is_http2() {
            session.req_header_mut().extensions_mut().insert(Arc::clone(&self.conn));
        } else {
            session.set_connection_user_context(Some(Box::new(Arc::clone(&self.conn))));
        }
        self.proxy.process_new_http(session, shutdown).await
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
