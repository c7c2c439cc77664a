//! Services behind the proxy: they remember what they received and misbehave when told.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::{AbortHandle, JoinHandle};

use super::http1::{Connection, Head, Message};

/// A request as it came over the wire.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub head: Head,
    pub body: Vec<u8>,
    /// The n-th connection that this origin accepted.
    pub connection: usize,
}

impl Seen {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }
}

type Answer = Pin<Box<dyn Future<Output = Option<Connection>> + Send>>;
type Handler = Arc<dyn Fn(Seen, Connection) -> Answer + Send + Sync>;

/// What an origin does with a request before its handler sees it.
#[derive(Clone, Copy)]
struct Reads {
    body: bool,
    remembers: bool,
}

impl Reads {
    const ALL: Self = Self { body: true, remembers: true };
}

/// An HTTP/1.1 server on a free port. Dropping it closes its port and connections.
pub struct Origin {
    pub address: SocketAddr,
    seen: watch::Sender<Vec<Seen>>,
    task: AbortHandle,
}

impl Origin {
    /// Answers 200 to everything; the body tells method and target.
    pub async fn start() -> Self {
        Self::with(say_what).await
    }

    /// As [`Origin::start`], but it remembers no request: for loads that would fill the memory.
    #[allow(dead_code)] // Only `make storm` has such loads.
    pub async fn forgetful() -> Self {
        let handler: Handler = Arc::new(|seen, connection| Box::pin(say_what(seen, connection)));
        Self::serve(handler, Reads { body: true, remembers: false }).await
    }

    /// As [`Origin::forgetful`], on a thread of its own, which goes before those of the clients where it may: no request
    /// waits here for what the test itself does.
    #[allow(dead_code)] // Only `make storm` measures so.
    pub fn apart() -> Self {
        let listener = listen();
        let address = listener.local_addr().unwrap();
        let seen = watch::Sender::new(Vec::new());
        let log = seen.clone();
        let (handle, given) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            super::probe::go_first();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let handler: Handler = Arc::new(|seen, connection| Box::pin(say_what(seen, connection)));
            let reads = Reads { body: true, remembers: false };
            runtime.block_on(async move {
                let task = tokio::spawn(accept(listener, handler, log, reads));
                let ended = task.abort_handle();
                let _ = handle.send(ended);
                let _ = task.await;
            });
        });
        Self { address, seen, task: given.recv().unwrap() }
    }

    /// Answers 200 with `name` as body.
    pub async fn named(name: &'static str) -> Self {
        Self::with(move |_, mut connection| async move {
            connection.send(ok(name)).await;
            Some(connection)
        })
        .await
    }

    /// Hands every request with its body to `handler`, which answers on the connection and returns it, or drops it
    /// to close it.
    pub async fn with<F, R>(handler: F) -> Self
    where
        F: Fn(Seen, Connection) -> R + Send + Sync + 'static,
        R: Future<Output = Option<Connection>> + Send + 'static,
    {
        Self::serve(Arc::new(move |seen, connection| Box::pin(handler(seen, connection))), Reads::ALL).await
    }

    /// An origin that answers with `text` once there is a permit for it, and where permits are given.
    pub async fn held(text: &'static str) -> (Self, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let theirs = Arc::clone(&gate);
        let origin = Self::with(move |_, mut connection| {
            let gate = Arc::clone(&theirs);
            async move {
                let _ = gate.acquire().await.map(SemaphorePermit::forget);
                connection.send(ok(text)).await;
                Some(connection)
            }
        });
        (origin.await, gate)
    }

    /// As [`Origin::with`], but the body is left on the connection for the handler to read.
    pub async fn before_body<F, R>(handler: F) -> Self
    where
        F: Fn(Seen, Connection) -> R + Send + Sync + 'static,
        R: Future<Output = Option<Connection>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |seen, connection| Box::pin(handler(seen, connection)));
        Self::serve(handler, Reads { body: false, remembers: true }).await
    }

    async fn serve(handler: Handler, reads: Reads) -> Self {
        let listener = listen();
        let address = listener.local_addr().unwrap();
        let seen = watch::Sender::new(Vec::new());
        let task = tokio::spawn(accept(listener, handler, seen.clone(), reads)).abort_handle();
        Self { address, seen, task }
    }

    /// `http://address`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// The newest request.
    pub fn last(&self) -> Seen {
        self.seen.borrow().last().cloned().expect("the origin saw no request")
    }

    /// Returns when `count` requests have arrived.
    pub async fn received(&self, count: usize) {
        let mut changes = self.seen.subscribe();
        super::soon("requests at the origin", changes.wait_for(|seen| seen.len() >= count)).await.unwrap();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Has room for all connections of a storm at once: where there is none, one waits a second for its next try.
fn listen() -> std::net::TcpListener {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

async fn accept(
    listener: std::net::TcpListener,
    handler: Handler,
    log: watch::Sender<Vec<Seen>>,
    reads: Reads,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = tokio::task::JoinSet::new();
    for number in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        let _ = stream.set_nodelay(true);
        let (handler, log) = (Arc::clone(&handler), log.clone());
        connections.spawn(converse(stream, number, handler, log, reads));
    }
}

async fn say_what(seen: Seen, mut connection: Connection) -> Option<Connection> {
    connection.send(ok(&format!("{} {}\n", seen.method, seen.target))).await;
    Some(connection)
}

async fn converse(
    stream: TcpStream,
    number: usize,
    handler: Handler,
    log: watch::Sender<Vec<Seen>>,
    reads: Reads,
) {
    let mut connection = Connection::new(stream);
    while let Some(head) = connection.head().await {
        let body = if reads.body { connection.request_body(&head).await.0 } else { Vec::new() };
        let mut words = head.start.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let (method, target) = (word(), word());
        let seen = Seen { method, target, head, body, connection: number };
        if reads.remembers {
            log.send_modify(|all| all.push(seen.clone()));
        }
        match handler(seen, connection).await {
            Some(kept) => connection = kept,
            None => return,
        }
    }
}

/// A 200 with this text.
pub fn ok(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

/// Echoes WebSocket messages. Counts its connections.
pub struct WebSocketOrigin {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl WebSocketOrigin {
    /// `greeting` is sent together with the answer to the handshake, before anything is read.
    pub async fn start(greeting: Option<&'static str>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                tasks.spawn(async move {
                    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                    if let Some(greeting) = greeting {
                        let _ = socket.send(greeting.into()).await;
                    }
                    while let Some(Ok(message)) = socket.next().await {
                        if message.is_close() || socket.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, connections, task }
    }
}

impl Drop for WebSocketOrigin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An HTTP/2 server without TLS (prior knowledge). It echoes the body, says in `x-path` what was asked, and ends
/// with the trailers `grpc-status: 0` and `x-body-bytes`.
pub struct Http2Origin {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Http2Origin {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tasks.spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(echo_with_trailers(request, respond));
                    }
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Http2Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo_with_trailers(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) {
    let path = request.uri().path().to_owned();
    let te = request.headers().get("te").cloned().unwrap_or(HeaderValue::from_static("none"));
    let response = Response::builder().header("x-path", path).header("x-te", te).body(()).unwrap();
    let Ok(mut answer) = respond.send_response(response, false) else { return };
    let mut body = request.into_body();
    let mut bytes = 0;
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        bytes += data.len();
        let _ = answer.send_data(data, false);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-body-bytes", HeaderValue::from(bytes));
    let _ = answer.send_trailers(trailers);
}

/// Sends one request on a new connection and returns the answer.
pub async fn ask(address: SocketAddr, request: &str) -> Message {
    let mut connection = Connection::open(address).await;
    connection.send(request).await;
    connection.response().await
}
