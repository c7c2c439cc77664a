//! Connections to servers that the proxy keeps a hand on.
//!
//! Traefik's `responseHeaderTimeout` bounds the wait for a response header and nothing else. The
//! engine has one read timeout for the header and every piece of the body, so it would cut streams
//! that are merely silent. Transports with this timeout therefore make their TCP connections here:
//! each carries a second handle to its socket, by which the proxy ends it when the header is late.
//! Connections for upgrades are made here too, behind a [`Gate`].

use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::VirtualSocketStream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, GetProxyDigest};
use pingora::{Error, ErrorType, Result};
use tokio::net::TcpStream;

use super::gate::{Gate, GatedSocket};

/// The handle that a connection carries. The engine's only place for data of ours on a connection
/// is what it keeps about CONNECT proxies, none of which we use.
#[derive(Debug)]
enum Handle {
    Socket(std::net::TcpStream),
    Gate(Arc<Gate>),
}

/// Cuts one connection to a server.
#[derive(Debug, Clone)]
pub struct Cut(Arc<ProxyDigest>);

impl Cut {
    /// The handle of the connection with this digest; none unless its transport has a
    /// `responseHeaderTimeout` or it is for an upgrade.
    pub fn of(digest: &Digest) -> Option<Self> {
        digest.proxy_digest.clone().map(Self).filter(|cut| cut.handle().is_some())
    }

    /// Ends the connection in both directions: whoever reads from it sees its end.
    pub fn sever(&self) {
        match self.handle() {
            // It may have ended by itself; then there is nothing left to do.
            Some(Handle::Socket(socket)) => drop(socket.shutdown(Shutdown::Both)),
            Some(Handle::Gate(gate)) => gate.cut(),
            None => {}
        }
    }

    /// The gate of a connection for upgrades.
    pub fn gate(&self) -> Option<&Arc<Gate>> {
        match self.handle()? {
            Handle::Gate(gate) => Some(gate),
            Handle::Socket(_) => None,
        }
    }

    fn handle(&self) -> Option<&Handle> {
        self.0.user_data.as_ref()?.downcast_ref()
    }
}

/// Connects within a time, and no more: for connections whose TLS handshake has another.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) dial: Option<Duration>,
}

/// Connects within a time and leaves a [`Handle`] on the connection.
#[derive(Debug)]
pub(super) struct Severable {
    pub(super) dial: Option<Duration>,
}

/// Connects within a time and puts a [`Gate`] before what the connection receives.
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) dial: Option<Duration>,
}

#[async_trait]
impl L4Connect for Timed {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        Ok(Stream::from(connect(address, self.dial).await?))
    }
}

#[async_trait]
impl L4Connect for Severable {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let stream = connect(address, self.dial).await?;
        let (stream, handle) = with_handle(stream)
            .map_err(|error| Error::because(ErrorType::SocketError, "duplicating a socket", error))?;
        carrying(Stream::from(stream), handle)
    }
}

#[async_trait]
impl L4Connect for Gated {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let stream = connect(address, self.dial).await?;
        let gate = Arc::<Gate>::default();
        let socket = GatedSocket::new(stream, Arc::clone(&gate));
        carrying(Stream::from(VirtualSocketStream::new(Box::new(socket))), Handle::Gate(gate))
    }
}

async fn connect(address: &SocketAddr, limit: Option<Duration>) -> Result<TcpStream> {
    let Some(address) = address.as_inet() else {
        return Error::e_explain(ErrorType::ConnectError, "not an IP address");
    };
    let connect = TcpStream::connect(*address);
    let connected = match limit {
        Some(limit) => match tokio::time::timeout(limit, connect).await {
            Ok(connected) => connected,
            Err(_) => {
                return Error::e_explain(ErrorType::ConnectTimedout, format!("connecting to {address}"));
            }
        },
        None => connect.await,
    };
    connected
        .map_err(|error| Error::because(error_type(error.kind()), format!("connecting to {address}"), error))
}

fn carrying(mut stream: Stream, handle: Handle) -> Result<Stream> {
    let answer = ResponseHeader::build(200, Some(0))?;
    stream.set_proxy_digest(ProxyDigest::new(Box::new(answer), Some(Box::new(handle))));
    Ok(stream)
}

fn with_handle(stream: TcpStream) -> std::io::Result<(TcpStream, Handle)> {
    let stream = stream.into_std()?;
    let handle = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, Handle::Socket(handle)))
}

fn error_type(kind: ErrorKind) -> ErrorType {
    match kind {
        ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
        ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        _ => ErrorType::ConnectError,
    }
}
