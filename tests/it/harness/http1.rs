//! HTTP/1 on a bare socket, for both ends: reads messages as they are on the wire and judges nothing.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Anything that HTTP/1 is spoken over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The start line and the fields of a message.
#[derive(Debug, Clone, Default)]
pub struct Head {
    pub start: String,
    /// Names as written.
    pub fields: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                (name.to_owned(), value.trim().to_owned())
            })
            .collect();
        Self { start, fields }
    }

    /// The first value of a field, its name in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |known: &str| known.eq_ignore_ascii_case(name);
        self.fields.iter().filter(|(known, _)| same(known)).map(|(_, value)| value.as_str()).collect()
    }
}

/// A message with its body.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub head: Head,
    pub body: Vec<u8>,
    /// The body was cut off before its end.
    pub truncated: bool,
}

impl Message {
    /// Status of a response.
    pub fn status(&self) -> u16 {
        let code = self.head.start.split(' ').nth(1).unwrap_or_default();
        code.parse().unwrap_or_else(|_| panic!("no status line: {:?}", self.head.start))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection with what was read ahead.
pub struct Connection<S = TcpStream> {
    pub stream: S,
    ahead: Vec<u8>,
}

impl Connection<TcpStream> {
    /// Connects over TCP.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).unwrap();
        Self::new(stream)
    }

    /// Connects from an address of this machine.
    pub async fn open_from(source: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
        Self::new(socket.connect(address).await.unwrap())
    }
}

impl<S: Stream> Connection<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The peer may have answered and closed already; what it said is still to be read.
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Reads more; 0 at the end of the connection, which a reset is too.
    async fn fill(&mut self) -> usize {
        let mut chunk = [0; 16 * 1024];
        let read = self.stream.read(&mut chunk).await.unwrap_or(0);
        self.ahead.extend_from_slice(&chunk[..read]);
        read
    }

    async fn until(&mut self, pattern: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.windows(pattern.len()).position(|window| window == pattern) {
                let rest = self.ahead.split_off(at + pattern.len());
                return Some(std::mem::replace(&mut self.ahead, rest));
            }
            if self.fill().await == 0 {
                return None;
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.ahead.len() < length {
            if self.fill().await == 0 {
                return (std::mem::take(&mut self.ahead), false);
            }
        }
        let rest = self.ahead.split_off(length);
        (std::mem::replace(&mut self.ahead, rest), true)
    }

    /// The next head; none when the connection ends first.
    pub async fn head(&mut self) -> Option<Head> {
        let bytes = self.until(b"\r\n\r\n").await?;
        Some(Head::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// The next piece of a chunked body; none at its last chunk, an error when the connection ends before that.
    pub async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let line = self.until(b"\r\n").await.ok_or_else(cut)?;
        let size = String::from_utf8_lossy(&line);
        let size = size.trim().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        if size == 0 {
            // Trailers, if any, end with an empty line.
            while self.until(b"\r\n").await.ok_or_else(cut)? != b"\r\n" {}
            return Ok(None);
        }
        let (mut data, whole) = self.exactly(size + 2).await;
        if !whole {
            return Err(cut());
        }
        data.truncate(size);
        Ok(Some(data))
    }

    async fn chunked(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) => body.extend(chunk),
                Ok(None) => return (body, true),
                Err(_) => return (body, false),
            }
        }
    }

    /// The body of a request with this head (RFC 9112 section 6).
    pub async fn request_body(&mut self, head: &Head) -> (Vec<u8>, bool) {
        if head.get("transfer-encoding").is_some() {
            return self.chunked().await;
        }
        let length = head.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        self.exactly(length).await
    }

    /// The next response. 1xx responses are returned too; `to_head` says that the request was a HEAD.
    pub async fn response_to(&mut self, to_head: bool) -> Option<Message> {
        let head = self.head().await?;
        let status = Message { head: head.clone(), ..Message::default() }.status();
        let bodiless = to_head || status < 200 || status == 204 || status == 304;
        let (body, whole) = if bodiless {
            (Vec::new(), true)
        } else if head.get("transfer-encoding").is_some() {
            self.chunked().await
        } else if let Some(length) = head.get("content-length") {
            self.exactly(length.parse().unwrap()).await
        } else {
            (self.rest().await, true)
        };
        Some(Message { head, body, truncated: !whole })
    }

    /// The next response to anything but a HEAD.
    pub async fn response(&mut self) -> Message {
        super::soon("a response", self.response_to(false))
            .await
            .expect("the connection ended before a response")
    }

    /// Everything up to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await > 0 {}
        std::mem::take(&mut self.ahead)
    }

    /// Whether the peer has closed, with nothing more to read before that.
    pub async fn is_over(&mut self) -> bool {
        super::soon("the end of the connection", self.rest()).await.is_empty()
    }
}
