//! What one request carries from phase to phase.

use std::cell::Cell;
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use super::edge::Shared;
use super::header_deadline::HeaderDeadline;
use super::logging;
use super::snapshot::{EntryPoint, Route};
use crate::middleware::{Facts, State};
use crate::net::{ConnInfo, LocalResponse};
use crate::observe::Protocol;
use crate::service::{Endpoint, Gate, Use};

/// The state of one request. Small and flat; made before anything is known about it.
///
/// Dropped without having been logged (a panic, a connection cut in mid-request), it still leaves
/// its record behind.
pub struct Ctx {
    pub(super) shared: Arc<Shared>,
    pub(super) started: Instant,
    pub(super) started_at: SystemTime,
    pub(super) conn: Option<Arc<ConnInfo>>,
    pub(super) entry: Option<Arc<EntryPoint>>,
    pub(super) route: Option<Arc<Route>>,
    pub(super) seen: Option<Seen>,
    pub(super) facts: Option<Facts>,
    pub(super) state: State,
    /// Decided before the chain: the answer of a request that goes no further.
    pub(super) answer: Option<Box<LocalResponse>>,
    pub(super) wanted: Use,
    /// Whether the chain saw the request, so that it must see the answer.
    pub(super) chain_ran: bool,
    pub(super) origin: Origin,
    /// Only for transports with a `responseHeaderTimeout`.
    pub(super) deadline: Option<Box<HeaderDeadline>>,
    /// Set once the request was ended from outside; there only where that may happen.
    pub(super) cut: Option<Arc<AtomicBool>>,
    /// Holds back the answer to an upgrade until the request is over.
    pub(super) gate: Option<Arc<Gate>>,
    /// Status for the log when it is not that of the response written.
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u16>,
    pub(super) logged: bool,
}

/// The request as the client sent it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) authority: HeaderValue,
    pub(super) version: Version,
    pub(super) protocol: Protocol,
}

/// The service's part.
#[derive(Debug, Default)]
pub(super) struct Origin {
    pub(super) endpoint: Option<Arc<Endpoint>>,
    /// Position of the address in use.
    pub(super) address: usize,
    /// Times that a peer was asked for.
    pub(super) attempts: u32,
    pub(super) started: Option<Instant>,
    pub(super) status: Option<u16>,
    pub(super) duration: Option<Duration>,
    /// Of its answer, before the middlewares changed them; only for an access log that wants them.
    pub(super) headers: Option<Box<HeaderMap>>,
}

impl Ctx {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            started: Instant::now(),
            started_at: SystemTime::now(),
            conn: None,
            entry: None,
            route: None,
            seen: None,
            facts: None,
            state: State::default(),
            answer: None,
            wanted: Use::Request,
            chain_ran: false,
            origin: Origin::default(),
            deadline: None,
            cut: None,
            gate: None,
            status: None,
            grpc_status: None,
            logged: false,
        }
    }

    /// The id that log lines and error pages of this request carry.
    pub(super) fn request_id(&self) -> &str {
        self.facts.as_ref().map_or("", |facts| &facts.request_id)
    }
}

impl Drop for Ctx {
    fn drop(&mut self) {
        if !self.logged && self.seen.is_some() {
            logging::abandoned(self);
        }
    }
}

/// Sixteen hexadecimal digits, different for every request of a process and most likely of all.
/// A name, not a secret.
pub(super) fn new_request_id() -> String {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u8));
    }
    // splitmix64 walks through all of its 2^64 states, so a thread never repeats an id.
    let mut mixed = STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        next
    });
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mut id = String::with_capacity(16);
    // Writing to a string cannot fail.
    let _ = write!(id, "{:016x}", mixed ^ (mixed >> 31));
    id
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use arc_swap::ArcSwap;
    use pingora::proxy::ProxyHttp;

    use super::*;
    use crate::net::ConnControl;
    use crate::observe::Metrics;
    use crate::proxy::{Edge, Snapshot};

    #[test]
    fn request_ids_differ_and_have_one_form() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| new_request_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }

    #[test]
    fn a_request_that_is_dropped_leaves_its_record() {
        let metrics = Metrics::new(Some(&Default::default())).unwrap();
        let entry = EntryPoint { metrics: metrics.entry_point("web"), ..EntryPoint::new("web") };
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let edge = Edge::new(snapshot, None, "edge-1");
        let entry = Arc::new(entry);
        let request = || {
            let mut ctx = edge.new_ctx();
            let peer = ([127, 0, 0, 1], 1).into();
            ctx.conn = Some(Arc::new(ConnInfo {
                entry_point: "web".into(),
                peer,
                peer_address: HeaderValue::from_static("127.0.0.1"),
                socket_peer: peer,
                local: peer,
                tls: None,
                h2: false,
                control: ConnControl::default(),
            }));
            ctx.entry = Some(Arc::clone(&entry));
            ctx.seen = Some(Seen {
                method: Method::GET,
                uri: Uri::from_static("/"),
                authority: HeaderValue::from_static("a.test"),
                version: Version::HTTP_11,
                protocol: Protocol::Http,
            });
            ctx
        };
        let counted = |code: &str| metrics.encode().unwrap().contains(&format!("code=\"{code}\""));
        drop(request());
        assert!(counted("499") && !counted("500"));
        let panicking = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _ctx = request();
                    panic!("on purpose");
                })
                .join()
        });
        assert!(panicking.is_err() && counted("500"));
    }

    #[test]
    fn a_request_carries_little() {
        assert!(size_of::<Ctx>() <= 768, "{}", size_of::<Ctx>());
    }
}
