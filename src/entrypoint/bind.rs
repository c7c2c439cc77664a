//! Opening listening sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use thiserror::Error;
use tokio::net::TcpListener;

/// Pending connections that the kernel keeps.
const BACKLOG: i32 = 4096;
/// Go's default, which Traefik does not change.
const KEEPALIVE: Duration = Duration::from_secs(180);

/// Where a listener gets its socket from.
#[derive(Debug, Clone)]
pub enum ListenerSource {
    /// `[host]:port[/tcp]`, as Traefik writes it; without a host on all addresses, IPv6 and IPv4.
    Address(String),
    /// A socket that is listening already, from systemd or an earlier process.
    Inherited(Arc<std::net::TcpListener>),
}

impl ListenerSource {
    /// The port that is asked for; none of a socket that is there already.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Address(text) => text.strip_suffix("/tcp").unwrap_or(text).rsplit_once(':')?.1.parse().ok(),
            Self::Inherited(_) => None,
        }
    }

    /// Whether `other` is the same socket, so that nothing needs to be opened.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address(a), Self::Address(b)) => a == b,
            (Self::Inherited(a), Self::Inherited(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// Why a listener cannot be opened.
#[derive(Debug, Error)]
pub enum BindError {
    /// Not `[host]:port` or `[host]:port/tcp`.
    #[error("`{0}` is not an address of the form [host]:port[/tcp]")]
    Address(String),
    /// The host has no address.
    #[error("cannot resolve `{0}`")]
    Unresolved(String),
    /// The system refuses.
    #[error("cannot listen on {address}: {source}")]
    System {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
}

impl BindError {
    pub(super) fn is_in_use(&self) -> bool {
        matches!(self, Self::System { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }
}

/// Opens the socket, ready to accept.
pub(super) async fn open(source: &ListenerSource) -> Result<TcpListener, BindError> {
    let failed = |address: &dyn ToString, source| BindError::System { address: address.to_string(), source };
    match source {
        ListenerSource::Address(text) => {
            let candidates = resolve(text).await?;
            let mut last = BindError::Unresolved(text.clone());
            for address in candidates {
                match listen(address) {
                    Ok(listener) => return Ok(listener),
                    // Another family would only hide that somebody else has the port.
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        return Err(failed(&text, error));
                    }
                    Err(error) => last = failed(&text, error),
                }
            }
            Err(last)
        }
        ListenerSource::Inherited(listener) => listener
            .try_clone()
            .and_then(|own| {
                own.set_nonblocking(true)?;
                TcpListener::from_std(own)
            })
            .map_err(|error| failed(&"the inherited socket", error)),
    }
}

/// The addresses to try in order. All addresses means IPv6 with IPv4 in it, or only IPv4 where
/// there is no IPv6.
async fn resolve(text: &str) -> Result<Vec<SocketAddr>, BindError> {
    let bad = || BindError::Address(text.to_owned());
    let address = text.strip_suffix("/tcp").unwrap_or(text);
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    if host.is_empty() {
        return Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]);
    }
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let found = tokio::net::lookup_host((host, port)).await;
    found.map(Iterator::collect).map_err(|_| BindError::Unresolved(host.to_owned()))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit this, which saves two system calls for each.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_as_traefik_writes_them() {
        assert_eq!(resolve(":80").await.unwrap().len(), 2);
        assert_eq!(resolve("127.0.0.1:80/tcp").await.unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(resolve("[::1]:443").await.unwrap(), ["[::1]:443".parse().unwrap()]);
        for bad in ["80", "127.0.0.1:", ":80/udp", ":99999"] {
            assert!(matches!(resolve(bad).await, Err(BindError::Address(_))), "{bad}");
        }
    }

    #[tokio::test]
    async fn accepted_sockets_inherit_the_options() {
        let listener = open(&ListenerSource::Address("127.0.0.1:0".into())).await.unwrap();
        let _client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(accepted.nodelay().unwrap());
        assert!(socket2::SockRef::from(&accepted).keepalive().unwrap());
    }

    #[tokio::test]
    async fn an_inherited_socket_accepts() {
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = std.local_addr().unwrap();
        let listener = open(&ListenerSource::Inherited(Arc::new(std))).await.unwrap();
        let _client = tokio::net::TcpStream::connect(address).await.unwrap();
        assert!(listener.accept().await.is_ok());
    }
}
