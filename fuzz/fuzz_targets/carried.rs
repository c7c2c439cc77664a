//! Sessions in cookies, `<session>_0` and so on. A `Cookie` header in which the bytes 0 to 2 stand for the chunks of a
//! session of ours: whatever becomes of them, nothing opens but this session, whole and in its order. What fits together
//! is cut anew and reads as before, and no chunk reaches a service. What is in a seal is read without a panic, and comes
//! back when it is written again.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use portcullis::oidc::clock::SystemClock;
use portcullis::oidc::cookie::{CookieEdit, Cookies, MOST_CHUNKS, OwnCookies};
use portcullis::oidc::fuzzing::{adopt, carry, read_carried, write_carried};
use portcullis::oidc::session::{CookieStore, ScopeId, SessionId, SessionKeys, SessionRecord, Sessions};
use portcullis_fuzz::{NOW, Signer};
use serde_json::json;

const LONGEST_HEADER: usize = 64 << 10;

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// A session that takes several cookies.
struct World {
    sessions: Sessions,
    scope: ScopeId,
    cookies: Cookies,
    own: OwnCookies,
    id: SessionId,
    sealed: Vec<u8>,
    chunks: Vec<String>,
}

impl World {
    fn new() -> Self {
        let keys = SessionKeys::new(&["0123456789abcdef0123456789abcdef".into()]).unwrap();
        let store = Arc::new(CookieStore::new(16));
        let sessions = Sessions::new(store, Arc::new(keys), Arc::new(SystemClock), 16).unwrap();
        let scope = ScopeId::new("https://op.example/realm", "client");
        let cookies = Cookies::new("pc_", None, None).unwrap().for_client("tag");
        let name = cookies.session_name(true).to_owned();
        let carried = carry(&sessions, record(scope), &name).now_or_never().unwrap();
        let (id, generation, sealed) = carried.unwrap();
        let lines = cookies.carry(id, generation, &sealed, Duration::from_secs(60), true).unwrap().lines;
        let pair = |line: &HeaderValue| line.to_str().unwrap().split(';').next().unwrap().to_owned();
        let chunks: Vec<String> = lines.iter().map(pair).collect();
        assert_eq!(chunks.len(), 3);
        let own = OwnCookies::of([&cookies]);
        Self { sessions, scope, cookies, own, id, sealed, chunks }
    }

    fn request(&self, data: &[u8]) -> Option<HeaderMap> {
        let mut text = Vec::with_capacity(data.len());
        for byte in data {
            // What no client gets through (`http2.maxHeaderList`); a set of chunks that counts takes a quarter of it.
            if text.len() > LONGEST_HEADER {
                return None;
            }
            match self.chunks.get(usize::from(*byte)) {
                Some(chunk) => text.extend_from_slice(chunk.as_bytes()),
                None => text.push(*byte),
            }
        }
        Some(HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(&text).ok()?)]))
    }
}

fn record(scope: ScopeId) -> SessionRecord {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(NOW + seconds);
    let groups: Vec<String> = (0..180).map(|n: u8| Signer::half_hash(&n.to_string())).collect();
    SessionRecord {
        scope,
        subject: "alice".into(),
        identifier: "alice".into(),
        claims: json!({ "groups": groups }).as_object().unwrap().clone(),
        id_token: "eyJhIjoxfQ.eyJiIjoyfQ.c2ln".into(),
        access_token: "access".into(),
        refresh_token: Some("refresh".into()),
        id_expiry: Some(at(300)),
        access_expiry: None,
        created: at(0),
        refreshed_at: None,
        refresh_token_issued: Some(at(0)),
        absolute_expiry: at(3600),
        idle_lifetime: None,
        sid: None,
        generation: 0,
    }
}

fuzz_target!(|data: &[u8]| {
    for (record, ends) in read_carried(data).into_iter().flatten() {
        // The last digit of a fraction may be rounded each time.
        let Some(again) = write_carried(&record, ends).filter(|_| !has_fraction(&text(&record))) else {
            continue;
        };
        let [back, _] = read_carried(&again);
        let (back, end) = back.unwrap();
        assert_eq!((text(&back), end), (text(&record), ends));
    }
    let Some(request) = WORLD.request(data) else { return };
    assert_none_is_left(&request);
    let Some(presented) = WORLD.cookies.chunks(&request, true).presented() else { return };
    assert!((1..=MOST_CHUNKS).contains(&presented.count()));
    let Some(sealed) = presented.sealed() else { return };
    let life = Duration::from_secs(60);
    if let Ok(made) = WORLD.cookies.carry(presented.id, presented.generation, &sealed, life, true) {
        assert_eq!(*made.text.as_bytes(), *presented.text(), "it is one thing however it is cut");
    }
    let ours = (presented.id, presented.generation, &sealed) == (WORLD.id, 0, &WORLD.sealed);
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(NOW + 1);
    let (name, brought) = (WORLD.cookies.session_name(true), (presented.id, presented.generation, &*sealed));
    let judged = adopt(&WORLD.sessions, brought, (name, &WORLD.scope), now).now_or_never().unwrap();
    assert_eq!(judged.unwrap(), (ours, ours));
});

fn text(record: &SessionRecord) -> serde_json::Value {
    serde_json::to_value(record).unwrap()
}

fn has_fraction(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Array(list) => list.iter().any(has_fraction),
        serde_json::Value::Object(members) => members.values().any(has_fraction),
        value => value.is_f64(),
    }
}

fn assert_none_is_left(request: &HeaderMap) {
    let edited = match WORLD.own.edit(request) {
        CookieEdit::Keep => request.clone(),
        CookieEdit::Drop => HeaderMap::new(),
        CookieEdit::Replace(value) => HeaderMap::from_iter([(COOKIE, value)]),
    };
    for https in [true, false] {
        assert_eq!(WORLD.cookies.chunks(&edited, https).indexes().count(), 0);
    }
}
