//! The engine against a provider with faults: login, callback, session, refresh, logout.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod any_input;
mod assertion;
mod attacks;
mod authorize;
mod bearer;
mod callback;
mod carried;
mod carried_whole;
mod channels;
mod client;
mod endpoints;
mod introspection;
mod keys;
mod lifetimes;
mod limits;
mod log;
mod login;
mod logout;
mod outage;
mod profiles;
mod provider;
mod registration;
mod repeated;
mod session;
mod session_attacks;
mod token_attacks;
mod trust;
mod userinfo;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderName, Method};

use super::clock::{Clock, ManualClock};
use super::fake_provider::FakeProvider;
use super::session::{MemoryStore, SessionStore, Sessions};
use super::settings::{Dialect, decode};
use super::{Decision, Deps, Identity, NoEvents, Policy, Providers, RequestParts, Settings, UsedStates};
use crate::config::Decoder;
use crate::config::value::{Entry, Node, Position, Value};
use crate::net::{LocalResponse, Scheme};

pub(super) const KEY: &str = "4f1c0be7a95d28e36b70d1f2c8a93e54";
pub(super) const NAVIGATE: &[(&str, &str)] = &[("sec-fetch-mode", "navigate"), ("accept", "text/html")];
pub(super) const API: &[(&str, &str)] = &[("sec-fetch-mode", "cors"), ("accept", "application/json")];

/// A configuration block from lines `key: value`; `a.b` nests, `[x, y]` is a list.
pub(super) fn block(lines: &[(&str, &str)]) -> Node {
    // As in a file: what a flag leaves blank is an empty list.
    let at = Position { source: "test".into(), line: 1, column: 1 };
    let mut root = Node { value: Value::Map(Vec::new()), at: at.clone() };
    for (path, text) in lines {
        let mut node = &mut root;
        for segment in path.split('.') {
            let Value::Map(entries) = &mut node.value else { panic!("{path}") };
            let found = entries.iter().position(|e| e.key == segment);
            let index = found.unwrap_or_else(|| {
                let empty = Node { value: Value::Map(Vec::new()), at: at.clone() };
                entries.push(Entry { key: segment.to_owned(), at: at.clone(), node: empty });
                entries.len() - 1
            });
            node = &mut entries[index].node;
        }
        let scalar = |text: &str| Node { value: Value::Scalar(text.to_owned()), at: at.clone() };
        node.value = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(items) => Value::List(items.split(", ").map(scalar).collect()),
            None => Value::Scalar((*text).to_owned()),
        };
    }
    root
}

/// The plugin's block for a provider, with `more` options.
pub(super) fn settings(issuer: &str, more: &[(&str, &str)]) -> Settings {
    let mut lines = vec![
        ("providerURL", issuer),
        ("clientID", "client"),
        ("clientSecret", "secret/+ä"),
        ("sessionEncryptionKey", KEY),
        ("callbackURL", "/cb"),
        ("logoutURL", "/logout"),
        ("forceHTTPS", "false"),
    ];
    lines.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
    lines.extend(more);
    let mut decoder = Decoder::new();
    let settings = decode(&block(&lines), Dialect::Plugin, &mut decoder);
    decoder.finish(settings).unwrap_or_else(|errors| panic!("{errors}")).0
}

/// One process: sessions, providers, a clock.
pub(super) struct World {
    pub(super) deps: Deps,
    pub(super) clock: Arc<ManualClock>,
    pub(super) provider: FakeProvider,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(FakeProvider::start().await)
    }

    pub(super) fn with(provider: FakeProvider) -> Self {
        let clock = Arc::new(ManualClock::new(SystemTime::now()));
        Self::process(provider, Arc::new(MemoryStore::new(10_000)), clock)
    }

    /// One of several processes.
    pub(super) fn process(
        provider: FakeProvider,
        store: Arc<dyn SessionStore>,
        clock: Arc<ManualClock>,
    ) -> Self {
        provider.script().clock = Some(Arc::clone(&clock));
        let keys = Arc::new(super::session::SessionKeys::new(&[KEY.into()]).unwrap());
        let sessions = Sessions::new(store, keys, Arc::clone(&clock) as _, 1000).unwrap();
        let runtime = tokio::runtime::Handle::current();
        let events: Arc<dyn super::Events> = Arc::new(NoEvents);
        let deps = Deps {
            sessions,
            providers: Arc::new(Providers::new(Arc::clone(&events), runtime.clone())),
            directory: Arc::default(),
            used: Arc::new(UsedStates::default()),
            events,
            runtime,
        };
        Self { deps, clock, provider }
    }

    /// Waits until the provider has been asked so often, five seconds at most.
    pub(super) async fn until(&self, what: &'static str, count: usize) {
        for _ in 0..1_000 {
            if self.provider.count(what) >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{what}: {} of {count}", self.provider.count(what));
    }

    pub(super) fn policy(&self, more: &[(&str, &str)]) -> Policy {
        Policy::new("auth", settings(&self.provider.issuer, more), &self.deps).unwrap()
    }
}

/// A browser: cookies by name, and how it comes.
#[derive(Clone)]
pub(super) struct Browser {
    pub(super) scheme: Scheme,
    pub(super) cookies: BTreeMap<String, String>,
    /// The body of what is sent next, and from then on.
    pub(super) body: Option<Vec<u8>>,
}

impl Default for Browser {
    fn default() -> Self {
        Self { scheme: Scheme::Http, cookies: BTreeMap::new(), body: None }
    }
}

/// What a decision comes to.
pub(super) struct Outcome {
    pub(super) decision: Decision,
    pub(super) set_cookies: Vec<String>,
}

impl Outcome {
    pub(super) fn answer(&self) -> &LocalResponse {
        match &self.decision {
            Decision::Respond(response) => response,
            Decision::Forward(_) => panic!("forwarded"),
        }
    }

    pub(super) fn status(&self) -> u16 {
        self.answer().status.as_u16()
    }

    pub(super) fn location(&self) -> String {
        self.answer().headers[LOCATION].to_str().unwrap().to_owned()
    }

    pub(super) fn body(&self) -> String {
        String::from_utf8(self.answer().body.to_vec()).unwrap()
    }

    pub(super) fn identity(&self) -> &Identity {
        match &self.decision {
            Decision::Forward(identity) => identity,
            Decision::Respond(response) => panic!("{} {:?}", response.status, response.body),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        let headers = &self.identity().headers;
        headers.iter().find(|(n, _)| n.name() == name).map(|(_, v)| v.to_str().unwrap().to_owned())
    }
}

impl Browser {
    pub(super) async fn send(
        &mut self,
        world: &World,
        policy: &Policy,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Outcome {
        let mut map: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            map.insert(COOKIE, cookies.join("; ").parse().unwrap());
        }
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let method: Method = method.parse().unwrap();
        let request = RequestParts {
            method: &method,
            scheme: self.scheme,
            authority: "app.example.com",
            path,
            query,
            headers: &map,
            body: self.body.as_deref(),
            client: "203.0.113.9".parse().unwrap(),
            peer_trusted: false,
            request_id: "request-1",
        };
        let decision = policy.decide(&request, world.clock.now()).await;
        let set_cookies: Vec<String> = match &decision {
            Decision::Respond(response) => {
                response.headers.get_all(SET_COOKIE).iter().map(|v| v.to_str().unwrap().to_owned()).collect()
            }
            Decision::Forward(identity) => {
                identity.set_cookies.iter().map(|v| v.to_str().unwrap().to_owned()).collect()
            }
        };
        set_cookies.iter().for_each(|cookie| self.store(cookie));
        if let Decision::Respond(response) = &decision {
            assert_eq!(response.headers["cache-control"], "no-store", "{target}");
        }
        Outcome { decision, set_cookies }
    }

    fn store(&mut self, cookie: &str) {
        let (pair, attributes) = cookie.split_once(';').unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        if attributes.contains("Max-Age=0") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    pub(super) async fn get(&mut self, world: &World, policy: &Policy, target: &str) -> Outcome {
        self.send(world, policy, "GET", target, NAVIGATE).await
    }

    /// Goes to a page, and answers with the callback that the provider would send the browser to.
    pub(super) async fn start(&mut self, world: &World, policy: &Policy, target: &str) -> String {
        let outcome = self.get(world, policy, target).await;
        assert_eq!(outcome.status(), 302, "{}", outcome.body());
        callback_for(world, &outcome.location())
    }

    pub(super) async fn login(&mut self, world: &World, policy: &Policy, target: &str) -> Outcome {
        let callback = self.start(world, policy, target).await;
        self.get(world, policy, &callback).await
    }
}

/// The parameters of an authorization request.
pub(super) fn parameters(location: &str) -> BTreeMap<String, String> {
    url::Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

/// What the provider does when the user has logged in.
pub(super) fn callback_for(world: &World, location: &str) -> String {
    let parameters = parameters(location);
    let code = world.provider.code(&parameters["nonce"]);
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("code", &code).append_pair("state", &parameters["state"]);
    format!("/cb?{}", query.finish())
}

/// The name of a policy's session cookie, outside of https.
pub(super) fn session_cookie(policy: &Policy) -> String {
    policy.cookies().session_name(false).to_owned()
}

pub(super) const SECOND: Duration = Duration::from_secs(1);
