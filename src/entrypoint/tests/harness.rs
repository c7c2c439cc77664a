//! An edge with a small application, and clients that speak bytes.

use std::any::Any;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use pingora::Error;
use pingora::http::ResponseHeader;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{FailToProxy, HttpProxy, ProxyHttp, Session};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::entrypoint::{
    ConnectionEvents, ListenerSource, ListenerSpec, RejectReason, Settings, Supervisor, Timeouts,
};
use crate::net::ConnInfo;
use crate::tls::{Inputs, Keep, TlsSnapshot};

/// Longer than anything should take, even on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// Answers by path:
/// `/` facts of the connection · `/body` the request body · `/wait` when the gate lets it ·
/// `/up` from the upstream named by `x-upstream` · `/panic`.
pub(super) struct App {
    gate: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

#[derive(Default)]
pub(super) struct Ctx(Option<Arc<ConnInfo>>);

#[async_trait]
impl ProxyHttp for App {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::default()
    }

    fn on_connection_reuse(&self, _: &mut Session, ctx: &mut Ctx, facts: Box<dyn Any + Send + Sync>) {
        ctx.0 = facts.downcast::<Arc<ConnInfo>>().ok().map(|conn| *conn);
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> pingora::Result<bool> {
        if ctx.0.is_none() {
            ctx.0 = session.req_header().extensions.get::<Arc<ConnInfo>>().cloned();
        }
        let conn = ctx.0.clone().expect("every request has its connection's facts");
        let path = session.req_header().uri.path().to_owned();
        let body = match path.as_str() {
            "/body" => {
                let mut body = Vec::new();
                while let Some(chunk) = session.read_request_body().await? {
                    body.extend_from_slice(&chunk);
                }
                body
            }
            "/wait" => {
                self.waiting.add_permits(1);
                self.gate.acquire().await.unwrap().forget();
                b"waited".to_vec()
            }
            "/up" => return Ok(false),
            "/panic" => panic!("asked for"),
            _ => facts(&conn).into_bytes(),
        };
        let mut head = ResponseHeader::build(200, None)?;
        head.insert_header("content-length", body.len())?;
        session.write_response_header(Box::new(head), false).await?;
        session.write_response_body(Some(Bytes::from(body)), true).await?;
        Ok(true)
    }

    /// A body that does not come shows as `io::ErrorKind::TimedOut` at the root.
    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, _: &mut Ctx) -> FailToProxy {
        let cause = error.root_cause().downcast_ref::<std::io::Error>();
        if cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut) {
            session.respond_error(408).await.unwrap();
        }
        FailToProxy { error_code: 0, can_reuse_downstream: false }
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> pingora::Result<()> {
        if response.status == 101 {
            ctx.0.iter().for_each(|conn| conn.control.begin_tunnel());
        }
        Ok(())
    }

    async fn upstream_peer(&self, session: &mut Session, _: &mut Ctx) -> pingora::Result<Box<HttpPeer>> {
        let address = session.get_header("x-upstream").unwrap().to_str().unwrap();
        let address: SocketAddr = address.parse().unwrap();
        Ok(Box::new(HttpPeer::new(address, false, String::new())))
    }
}

fn facts(conn: &ConnInfo) -> String {
    let tls = conn.tls.as_ref().map(|tls| {
        format!(
            " sni={} alpn={} version={} cert={} verified={} options={}",
            tls.sni.as_deref().unwrap_or("-"),
            tls.alpn.as_deref().unwrap_or("-"),
            tls.version,
            tls.client_cert.is_some(),
            tls.client_cert.as_ref().is_some_and(|cert| cert.verified),
            tls.options_name,
        )
    });
    format!(
        "entry={} peer={} local={} h2={} request={}{}",
        conn.entry_point,
        conn.peer,
        conn.local,
        conn.h2,
        conn.control.requests(),
        tls.unwrap_or_default()
    )
}

/// Remembers what happened.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) open: Mutex<HashMap<String, i64>>,
    pub(super) rejected: Mutex<Vec<RejectReason>>,
}

impl ConnectionEvents for Events {
    fn opened(&self, entry_point: &str) {
        *self.open.lock().unwrap().entry(entry_point.to_owned()).or_default() += 1;
    }

    fn closed(&self, entry_point: &str) {
        *self.open.lock().unwrap().entry(entry_point.to_owned()).or_default() -= 1;
    }

    fn rejected(&self, _: &str, reason: RejectReason) {
        self.rejected.lock().unwrap().push(reason);
    }
}

/// An edge under test.
pub(super) struct Edge {
    pub(super) supervisor: Supervisor<App>,
    pub(super) events: Arc<Events>,
    pub(super) tls: Arc<ArcSwap<TlsSnapshot>>,
    /// One permit lets one `/wait` answer.
    pub(super) gate: Arc<Semaphore>,
    /// One permit for each `/wait` that has arrived.
    pub(super) waiting: Arc<Semaphore>,
}

impl Edge {
    /// Without listeners.
    pub(super) fn new() -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let waiting = Arc::new(Semaphore::new(0));
        let app = App { gate: gate.clone(), waiting: waiting.clone() };
        let mut proxy = HttpProxy::new(app, Arc::new(ServerConf::default()));
        proxy.handle_init_modules();
        let (snapshot, errors) = crate::tls::build(&Inputs::default(), &Keep::default());
        assert!(errors.is_empty());
        let tls = Arc::new(ArcSwap::from_pointee(snapshot));
        let events = Arc::new(Events::default());
        let supervisor = Supervisor::new(Arc::new(proxy), tls.clone(), events.clone());
        Self { supervisor, events, tls, gate, waiting }
    }

    /// With the entry point `web` on a free port.
    pub(super) async fn start(settings: Settings) -> (Self, SocketAddr) {
        let edge = Self::new();
        let address = edge.listen(settings).await;
        (edge, address)
    }

    pub(super) async fn listen(&self, settings: Settings) -> SocketAddr {
        let errors = self.supervisor.reconcile(vec![spec("web", "127.0.0.1:0", settings)]).await;
        assert!(errors.is_empty(), "{errors:?}");
        self.supervisor.local_addr("web").await.unwrap()
    }

    pub(super) fn use_tls(&self, inputs: &Inputs<'_>) -> Vec<String> {
        let (snapshot, errors) = crate::tls::build(inputs, &Keep::default());
        self.tls.store(Arc::new(snapshot));
        errors.iter().map(ToString::to_string).collect()
    }

    pub(super) fn rejected(&self) -> Vec<RejectReason> {
        self.events.rejected.lock().unwrap().clone()
    }
}

pub(super) fn spec(name: &str, address: &str, settings: Settings) -> ListenerSpec {
    ListenerSpec {
        name: name.into(),
        source: ListenerSource::Address(address.to_owned()),
        settings: Arc::new(settings),
        grace: LONG,
    }
}

/// Settings whose deadlines a test can wait for.
pub(super) fn hasty(change: impl FnOnce(&mut Timeouts)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings.timeouts);
    settings
}

/// A client connection, plain or TLS.
pub(super) struct Client<S>(pub(super) S);

pub(super) async fn connect(address: SocketAddr) -> Client<TcpStream> {
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    Client(tcp)
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Reads one answer with a length.
    pub(super) async fn answer(&mut self) -> Answer {
        tokio::time::timeout(LONG, self.read_answer()).await.expect("an answer in time")
    }

    async fn read_answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap_or_else(|e| {
                panic!("{e} after {:?}", String::from_utf8_lossy(&head));
            }));
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head[9..12].parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        self.answer().await
    }

    /// Everything until the connection ends; a reset counts as the end.
    pub(super) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = async {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = self.0.read(&mut chunk).await {
                rest.extend_from_slice(&chunk[..n]);
            }
        };
        tokio::time::timeout(LONG, read).await.expect("the connection ends in time");
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// The status of an answer after which the connection ends.
    pub(super) async fn last_status(&mut self) -> u16 {
        let rest = self.rest().await;
        assert!(rest.starts_with("HTTP/1.1 "), "{rest:?}");
        assert!(rest.to_ascii_lowercase().contains("connection: close"), "{rest:?}");
        rest[9..12].parse().unwrap()
    }
}
