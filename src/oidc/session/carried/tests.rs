use super::*;
use crate::oidc::clock::ManualClock;
use crate::oidc::session::contract::at;
use crate::oidc::session::testing::{process, record, scope};
use crate::oidc::session::{CookieStore, Lifetimes, Lookup, Timing};

const NAME: &str = "__Host-session";

fn browser_process() -> Sessions {
    process(Arc::new(CookieStore::new(100))).0
}

fn brought<'a>(id: SessionId, carried: &'a Carried) -> Brought<'a> {
    Brought { id, generation: carried.is.generation, sealed: &carried.sealed, name: NAME }
}

async fn finds(sessions: &Sessions, brought: &Brought<'_>, second: u64) -> Option<Arc<SessionEntry>> {
    sessions.adopt(brought, &scope(), at(second)).await.unwrap()?;
    match sessions.lookup(&brought.id, &scope(), at(second)).await {
        Lookup::Live(entry) => Some(entry),
        _ => None,
    }
}

async fn login(sessions: &Sessions, record: SessionRecord) -> (SessionId, Arc<SessionEntry>, Carried) {
    let (id, entry) = sessions.create(record).await.unwrap();
    let carried = sessions.carry(&entry, NAME, usize::MAX).await.unwrap().unwrap();
    (id, entry, carried)
}

#[tokio::test]
async fn the_whole_record_comes_back_in_another_process() {
    let (id, _, carried) = login(&browser_process(), record()).await;
    let next = browser_process();
    assert!(matches!(next.lookup(&id, &scope(), at(1)).await, Lookup::None), "the id alone is nothing");
    let entry = finds(&next, &brought(id, &carried), 1).await.unwrap();
    let back = next.record(&entry).await.unwrap().unwrap();
    assert_eq!(serde_json::to_value(back).unwrap(), serde_json::to_value(record()).unwrap());
    assert_eq!(carried.expires, at(3600));
}

#[tokio::test]
async fn nothing_else_opens() {
    let sessions = browser_process();
    let (id, _, carried) = login(&sessions, record()).await;
    let good = brought(id, &carried);
    assert!(sessions.is_genuine(&good, &scope()));
    let (other, _, others) = login(&sessions, record()).await;
    let wrong = [
        Brought { id: other, ..brought(id, &carried) },
        Brought { sealed: &others.sealed, ..brought(id, &carried) },
        Brought { generation: 1, ..brought(id, &carried) },
        Brought { name: "__Host-other", ..brought(id, &carried) },
        Brought { name: "", ..brought(id, &carried) },
        Brought { sealed: &[], ..brought(id, &carried) },
        Brought { id: SessionId::random().unwrap(), ..brought(id, &carried) },
    ];
    for (at, wrong) in wrong.iter().enumerate() {
        assert!(!sessions.is_genuine(wrong, &scope()), "{at}");
    }
    assert!(!sessions.is_genuine(&good, &ScopeId::new("https://other.example", "client")));
    for at in 0..carried.sealed.len() {
        let mut damaged = carried.sealed.clone();
        damaged[at] ^= 1;
        assert!(!sessions.is_genuine(&Brought { sealed: &damaged, ..brought(id, &carried) }, &scope()));
    }
    // What is in a store opens as no cookie either.
    let row = sessions.inner.store.load(&good_key(&sessions, &id)).await.unwrap().unwrap();
    assert!(!sessions.is_genuine(&Brought { sealed: &row.sealed, ..brought(id, &carried) }, &scope()));
}

fn good_key(sessions: &Sessions, id: &SessionId) -> SessionKey {
    sessions.keys.newest().unwrap().session_key(&scope(), id)
}

#[tokio::test]
async fn an_older_cookie_finds_the_newest_generation_and_a_newer_one_replaces_it() {
    let (here, there) = (browser_process(), browser_process());
    let (id, entry, first) = login(&here, record()).await;
    assert_eq!(finds(&there, &brought(id, &first), 1).await.unwrap().profile().generation, 0);
    here.commit(&entry, 0, SessionRecord { generation: 1, ..record() }).await;
    let second = here.carry(&entry, NAME, usize::MAX).await.unwrap().unwrap();
    assert_eq!(finds(&here, &brought(id, &first), 2).await.unwrap().profile().generation, 1);
    assert_eq!(finds(&there, &brought(id, &second), 2).await.unwrap().profile().generation, 1);
    assert_eq!(finds(&there, &brought(id, &first), 2).await.unwrap().profile().generation, 1);
}

#[tokio::test]
async fn both_ends_are_in_the_cookie() {
    let idle = SessionRecord { idle_lifetime: Some(std::time::Duration::from_secs(600)), ..record() };
    let sessions = browser_process();
    let (id, entry, first) = login(&sessions, idle).await;
    sessions.used(&entry, &Lifetimes::OF_SESSION, at(300));
    let later = sessions.carry(&entry, NAME, usize::MAX).await.unwrap().unwrap();
    assert_eq!((first.is.ends, later.is.ends), (unix_millis(at(600)), unix_millis(at(900))));
    let next = browser_process;
    assert!(finds(&next(), &brought(id, &first), 599).await.is_some());
    assert!(finds(&next(), &brought(id, &first), 600).await.is_none());
    assert!(finds(&next(), &brought(id, &later), 899).await.is_some());
    assert!(finds(&next(), &brought(id, &later), 900).await.is_none());
    // The older one finds what is known here.
    crate::oidc::session::testing::a_moment().await;
    assert!(finds(&sessions, &brought(id, &first), 700).await.is_some());
    let (id, _, carried) = login(&sessions, record()).await;
    assert!(finds(&next(), &brought(id, &carried), 3600).await.is_none());
}

#[tokio::test]
async fn what_has_ended_stays_so_in_this_process() {
    let sessions = browser_process();
    let (id, entry, carried) = login(&sessions, record()).await;
    sessions.end(&entry).await.unwrap();
    assert!(finds(&sessions, &brought(id, &carried), 1).await.is_none());
    sessions.purge(at(3599)).await;
    assert!(finds(&sessions, &brought(id, &carried), 1).await.is_none());
    assert!(finds(&browser_process(), &brought(id, &carried), 1).await.is_some(), "nobody has told it");
}

/// The browser may hear of a new idle end before the store does.
#[tokio::test]
async fn an_end_outlasts_every_cookie_of_its_session() {
    let idle = SessionRecord { idle_lifetime: Some(std::time::Duration::from_secs(600)), ..record() };
    let sessions = browser_process();
    let (id, entry, _) = login(&sessions, idle).await;
    sessions.used(&entry, &Lifetimes::OF_SESSION, at(300));
    let later = sessions.carry(&entry, NAME, usize::MAX).await.unwrap().unwrap();
    sessions.end(&entry).await.unwrap();
    sessions.purge(at(700)).await;
    assert!(finds(&sessions, &brought(id, &later), 750).await.is_none());
}

/// Sessions that no request has brought here yet, or whose rows have given way.
#[tokio::test]
async fn a_logout_elsewhere_counts_for_sessions_that_come_later() {
    let (id, _, carried) = login(&browser_process(), record()).await;
    for mark in [Mark::Subject, Mark::Session] {
        let sessions = browser_process();
        let name = if mark == Mark::Subject { "alice" } else { "op-session-1" };
        sessions.set_mark(mark, &scope(), name, at(5), at(3600)).await.unwrap();
        assert!(finds(&sessions, &brought(id, &carried), 10).await.is_none());
        let (id, _, carried) = login(&browser_process(), SessionRecord { created: at(6), ..record() }).await;
        assert!(finds(&sessions, &brought(id, &carried), 10).await.is_some(), "a later login");
    }
    let (sessions, clock) = process(Arc::new(CookieStore::new(100)));
    let entry = finds(&sessions, &brought(id, &carried), 1).await.unwrap();
    sessions.inner.store.delete(entry.key()).await.unwrap();
    assert_eq!(sessions.end_by_sid(&scope(), "op-session-1").await.unwrap(), 1);
    assert!(entry.is_ended());
    clock.set(at(20));
    assert_eq!(sessions.revoke_all().await.failure, None);
    let (id, _, carried) = login(&browser_process(), record()).await;
    assert!(finds(&sessions, &brought(id, &carried), 21).await.is_none());
    let (id, _, carried) = login(&browser_process(), SessionRecord { created: at(21), ..record() }).await;
    assert!(finds(&sessions, &brought(id, &carried), 22).await.is_some());
}

/// Starts a stream, which is told of the session's end.
async fn stream(entry: &Arc<SessionEntry>, clock: &Arc<ManualClock>) -> tokio::task::JoinHandle<()> {
    let task = tokio::spawn(Arc::clone(entry).ended(Timing::NEVER, Arc::clone(clock)));
    while !entry.streams.any() {
        tokio::task::yield_now().await;
    }
    task
}

fn with_store() -> (Sessions, Arc<ManualClock>, Arc<CookieStore>) {
    let store = Arc::new(CookieStore::new(100));
    let (sessions, clock) = process(Arc::clone(&store) as _);
    (sessions, clock, store)
}

/// Its row has given way, and a browser brings an older generation.
#[tokio::test]
async fn a_stream_hears_of_an_end_whatever_older_cookies_came_meanwhile() {
    let (sessions, clock, store) = with_store();
    let (id, entry, first) = login(&sessions, record()).await;
    let next = SessionRecord {
        generation: 1,
        refresh_token: Some("refresh-1".into()),
        identifier: "alice@new".into(),
        ..record()
    };
    sessions.commit(&entry, 0, next).await;
    let task = stream(&entry, &clock).await;
    store.give_way(entry.key());
    let found = finds(&sessions, &brought(id, &first), 1).await.unwrap();
    // What only memory has is not given up for what is older: the provider may take no other refresh token.
    let back = sessions.record(&found).await.unwrap().unwrap();
    assert_eq!(back.refresh_token.unwrap().expose_secret(), "refresh-1");
    assert_eq!((&*back.identifier, back.access_token.expose_secret()), ("alice@new", "access-0"));
    assert_eq!(back.id_token.expose_secret(), "an.id.token");
    assert!(
        sessions.carry(&found, NAME, usize::MAX).await.unwrap().unwrap().is.generation > 1,
        "told to the browser"
    );
    assert_eq!(sessions.end_by_sid(&scope(), "op-session-1").await.unwrap(), 1);
    tokio::time::timeout(std::time::Duration::from_secs(5), task).await.expect("it was cut").unwrap();
    assert!(finds(&sessions, &brought(id, &first), 2).await.is_none());
}

/// The refresh spends the token that only memory has.
#[tokio::test]
async fn older_cookies_do_not_overtake_a_refresh_from_memory() {
    let (sessions, _, store) = with_store();
    let (id, entry, first) = login(&sessions, record()).await;
    sessions.commit(&entry, 0, SessionRecord { generation: 1, ..record() }).await;
    store.give_way(entry.key());
    let seat = entry.refresh.take(0, || ((), tokio::sync::watch::channel(None).1));
    assert!(matches!(seat, crate::oidc::refresh::Taken::Free(..)));
    finds(&sessions, &brought(id, &first), 1).await.unwrap();
    let next = SessionRecord { generation: 2, access_token: "access-2".into(), ..record() };
    assert_eq!(sessions.commit(&entry, 1, next).await, crate::oidc::session::Committed::Saved);
    let back = sessions.record(&entry).await.unwrap().unwrap();
    assert_eq!((back.generation, back.access_token.expose_secret()), (2, "access-2"));
}

/// The store hears of an idle end, and has no such row any more.
#[tokio::test]
async fn a_session_that_has_given_way_is_used_on() {
    let (sessions, clock, store) = with_store();
    let idle = SessionRecord { idle_lifetime: Some(std::time::Duration::from_secs(600)), ..record() };
    let (id, entry, carried) = login(&sessions, idle).await;
    let task = stream(&entry, &clock).await;
    store.give_way(entry.key());
    sessions.used(&entry, &Lifetimes::OF_SESSION, at(300));
    crate::oidc::session::testing::a_moment().await;
    assert!(!entry.is_ended() && !task.is_finished());
    let found = finds(&sessions, &brought(id, &carried), 700).await.unwrap();
    assert!(Arc::ptr_eq(&found, &entry));
    task.abort();
}

#[test]
fn records_shrink_and_have_a_bound() {
    let groups: Vec<String> = (0..200).map(|n| format!("/organisation/unit-{n}")).collect();
    let mut large = record();
    large.claims.insert("groups".to_owned(), groups.into());
    let payload = serde_json::to_vec(&large.claims).unwrap();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &payload);
    large.id_token = format!("eyJhbGciOiJSUzI1NiJ9.{base64}.c2ln").into();
    let bytes = encode(&large, 7).unwrap();
    assert!(bytes.len() < payload.len() / 2, "{} of {}", bytes.len(), payload.len());
    let (back, ends) = decode(&bytes).unwrap();
    assert_eq!((ends, serde_json::to_value(back).unwrap()), (7, serde_json::to_value(&large).unwrap()));
    large.access_token = "x".repeat(2 * MOST_PLAIN).into();
    assert!(encode(&large, 7).is_none());
    // Nothing is wrong with a bomb but its length.
    let (short, bomb) = (packed(&large, MOST_PLAIN), packed(&large, 64 << 20));
    assert!(decode(&short).is_some());
    assert!(bomb.len() < 1 << 17 && decode(&bomb).is_none());
}

/// What [`encode`] would make of a record whose access token fills so many bytes up.
fn packed(record: &SessionRecord, length: usize) -> Vec<u8> {
    let lean = SessionRecord {
        id_token: SecretString::default(),
        access_token: SecretString::default(),
        refresh_token: None,
        ..record.clone()
    };
    let mut plain = Vec::new();
    let mut part = |part: &[u8]| add(&mut plain, part).unwrap();
    let lean = lean.encode().unwrap();
    part(&lean);
    let (mut none, mut token) = (Vec::new(), Vec::new());
    pack("", &mut none);
    pack(&"+".repeat(length - lean.len() - 100), &mut token);
    [&none, &token, &none].iter().for_each(|each| part(each));
    let mut bytes = 7_u64.to_be_bytes().to_vec();
    let mut encoder = DeflateEncoder::new(&mut bytes, Compression::best());
    encoder.write_all(&plain).unwrap();
    encoder.finish().unwrap();
    bytes
}
