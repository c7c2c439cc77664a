//! What a request costs in memory does not depend on who comes: a user of five hundred groups and long claims takes as
//! many allocations, and as many bytes, as one of a single group.
//!
//! A binary of its own, for `allocation-counter` is its allocator. It counts for each thread, so tests may run together.
//! Its `realloc` is a new allocation. What is measured is all that a policy does to a request: cookie, session, verdict,
//! headers of identity on the message for the service.

#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../benches/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use allocation_counter::{AllocationInfo, measure};
use futures_util::FutureExt;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue};
use pingora::http::RequestHeader;
use portcullis::middleware::{Chain, Exchange, Facts, Flow, Middleware, Oidc, State};
use portcullis::net::Scheme;
use portcullis::oidc::session::{CookieStore, MemoryStore, SessionStore};
use portcullis::oidc::{Decision, Policy};
use serde_json::{Value, json};
use support::provider::Provider;
use support::{ASSERTION, BEARER, browser, deps, policy_of, request};
use tokio::runtime::Runtime;

/// Long enough that no claim fits into anything small by chance.
const WORDS: &str = "all work and no play makes jack a dull boy ";

/// A user whom the policy lets pass, for one group.
fn modest() -> Value {
    json!({"sub": "a", "email": "a@example.com", "groups": ["department-3"]})
}

/// One with more than most providers would say.
fn grand() -> Value {
    let groups: Vec<_> = (0..500).map(|group| format!("department-{group}")).collect();
    let mut claims = json!({
        "sub": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "email": format!("{}@example.com", "b".repeat(64)),
        "email_verified": true, "name": WORDS.repeat(4), "groups": groups,
    });
    for number in 0..12 {
        claims[format!("https://claims.example/{number}")] =
            json!({"text": WORDS.repeat(8), "number": number});
    }
    claims
}

/// A process after a reload: the policy that users have logged in by has been compiled anew.
struct World {
    runtime: Runtime,
    provider: Provider,
    former: Policy,
    oidc: Arc<Middleware>,
}

impl World {
    /// The policy is told `more` beside the usual.
    fn new(store: Arc<dyn SessionStore>, more: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let provider = runtime.block_on(Provider::start());
        let inside = runtime.enter();
        let deps = deps(store);
        let [former, policy] = [(); 2].map(|()| policy_of(&deps, &provider.issuer, more));
        drop(inside);
        Self { runtime, provider, former, oidc: Arc::new(Middleware::Oidc(Oidc::new(policy))) }
    }

    /// What the browser of a user sends.
    fn browser(&self, claims: &Value, others: &str) -> HeaderMap {
        let cookies = self.runtime.block_on(self.provider.login(&self.former, claims));
        browser(&format!("{cookies}{others}"))
    }

    /// What a machine sends.
    fn machine(&self, claims: &Value) -> HeaderMap {
        let mut claims = claims.clone();
        (claims["aud"], claims["client_id"]) = (json!("https://api.example.com"), json!("machine"));
        claims["jti"] = json!("one");
        let token = self.provider.sign("at+jwt", &claims);
        let mut headers = browser("");
        headers.remove(COOKIE);
        headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).expect("a header"));
        headers
    }

    /// What requests cost in which nothing waits but the first.
    fn cost(&self, headers: &HeaderMap, groups: usize) -> Cost {
        let chain = Chain::new([Arc::clone(&self.oidc)]);
        let first = self.first(&chain, headers);
        let costs = [(); 3].map(|()| {
            let (decision, all) = (self.decision(headers), whole(&chain, headers, groups));
            Cost { first, decision, all }
        });
        assert_eq!(costs, [costs[0]; 3], "one request is like the other");
        costs[0]
    }

    /// Of the request whose user is judged. A machine may come before the provider is known.
    fn first(&self, chain: &Chain, headers: &HeaderMap) -> Allocations {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(30) {
            let mut passage = Passage::new(headers);
            let mut passed = false;
            let cost = measure(|| passed = self.runtime.block_on(passage.go(chain)));
            if passed {
                return cost.into();
            }
            self.runtime.block_on(tokio::task::yield_now());
        }
        panic!("the request is refused");
    }

    fn decision(&self, headers: &HeaderMap) -> Allocations {
        let (policy, now) = (self.oidc.policy().expect("a policy"), SystemTime::now());
        let mut decision = None;
        let cost = measure(|| decision = policy.decide(&request(headers), now).now_or_never());
        assert!(matches!(decision, Some(Decision::Forward(_))), "let pass without waiting");
        cost.into()
    }
}

/// With the headers on the message. The user's groups are among them, as many as a header holds.
fn whole(chain: &Chain, headers: &HeaderMap, groups: usize) -> Allocations {
    let mut passage = Passage::new(headers);
    let mut passed = None;
    let cost = measure(|| passed = passage.go(chain).now_or_never());
    assert_eq!(passed, Some(true), "let pass without waiting");
    let told = passage.request.headers.get("x-user-groups").expect("the user's groups");
    assert!(told.len() >= groups * "department-3".len(), "{told:?}");
    cost.into()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Allocations {
    count: u64,
    bytes: u64,
}

impl From<AllocationInfo> for Allocations {
    fn from(info: AllocationInfo) -> Self {
        Self { count: info.count_total, bytes: info.bytes_total }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    /// Of the request whose user is judged.
    first: Allocations,
    /// The engine alone.
    decision: Allocations,
    /// With the middleware, which carries the decision out.
    all: Allocations,
}

/// A request on its way through the chain of a router.
struct Passage {
    request: RequestHeader,
    facts: Facts,
    state: State,
}

impl Passage {
    fn new(headers: &HeaderMap) -> Self {
        let mut request =
            RequestHeader::build("GET", b"/reports/2026/overview?page=2", None).expect("a request");
        for (name, value) in headers {
            request.append_header(name, value).expect("a header");
        }
        let facts = Facts {
            client: ([192, 0, 2, 7], 40_000).into(),
            outside_client: [192, 0, 2, 7].into(),
            tls: false,
            scheme: Scheme::Http,
            entry_point: "web".into(),
            peer_trusted: false,
            request_id: "0123456789abcdef".to_owned(),
        };
        Self { request, facts, state: State::default() }
    }

    /// Whether it goes on to the service. The headers about the user are put on the request itself instead of the copy that
    /// the engine makes of it.
    async fn go(&mut self, chain: &Chain) -> bool {
        let (request, facts, state) = (&mut self.request, &self.facts, &mut self.state);
        let flow = chain.on_request(&mut Exchange { request, facts, state }).await;
        if let Some(headers) = &state.user_headers {
            headers.put_on(request);
        }
        matches!(flow, Flow::Continue)
    }
}

/// `counts` are those of `benches/README.md`: of the decision, and of all.
fn compare(what: &str, modest: Cost, grand: Cost, counts: [u64; 2]) {
    println!("{what}: {modest:?}");
    let [hot, of_grand] = [modest, grand].map(|cost| [cost.decision, cost.all]);
    assert_eq!(hot, of_grand, "{what}: for a modest user, and for a grand one");
    assert_eq!(hot.map(|allocations| allocations.count), counts, "{what}");
    // That they are alike says something only if the claims are there, and are counted where they are read.
    assert!(modest.first.bytes + 10_000 < grand.first.bytes, "{what}: {modest:?} {grand:?}");
}

fn compare_sessions(what: &str, store: Arc<dyn SessionStore>, more: &str, counts: [[u64; 2]; 2]) {
    let world = World::new(store, more);
    for (others, counts) in ["", "; theme=dark; lang=en"].into_iter().zip(counts) {
        let [modest, grand] = [(modest(), 1), (grand(), 450)]
            .map(|(claims, groups)| world.cost(&world.browser(&claims, others), groups));
        compare(&format!("{what}, other cookies {others:?}"), modest, grand, counts);
    }
}

#[test]
fn a_session_in_memory() {
    compare_sessions("session", Arc::new(MemoryStore::new(16)), "", [[1, 10], [3, 17]]);
}

#[test]
fn a_session_in_memory_that_is_asserted() {
    compare_sessions("asserted session", Arc::new(MemoryStore::new(16)), ASSERTION, [[1, 16], [3, 19]]);
}

#[test]
fn a_session_in_cookies() {
    compare_sessions("session in cookies", Arc::new(CookieStore::new(16)), "", [[1, 10], [3, 17]]);
}

#[test]
fn an_access_token_that_is_known() {
    let world = World::new(Arc::new(MemoryStore::new(16)), BEARER);
    let [modest, grand] =
        [(modest(), 1), (grand(), 450)].map(|(claims, groups)| world.cost(&world.machine(&claims), groups));
    compare("access token", modest, grand, [2, 11]);
}
