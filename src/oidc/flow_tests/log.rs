//! What the process log says: every fault once, and an outage in few lines.

use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use super::*;
use crate::oidc::session::StoreError;
use crate::oidc::session::testing::Faulty;
use crate::oidc::{AuditRecord, Events};

/// The process log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
        (log, guard)
    }

    /// Lines of this level that hold `text`, which are then forgotten.
    fn take(&self, level: Level, text: &str) -> Vec<String> {
        let mut lines = self.0.lock().unwrap();
        let (found, others) = lines.drain(..).partition(|(of, line)| *of == level && line.contains(text));
        *lines = others;
        found.into_iter().map(|(_, line): (Level, String)| line).collect()
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!(" {}={value:?}", field.name());
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push((*event.metadata().level(), line.0));
    }
}

/// The audit's lines: event, and for logins whether they can be refreshed.
#[derive(Default)]
struct Audit(Mutex<Vec<(&'static str, Option<bool>)>>);

impl Events for Audit {
    fn audit(&self, record: &AuditRecord<'_>) {
        assert!(record.session.is_some() && record.request_id == Some("request-1"), "{record:?}");
        self.0.lock().unwrap().push((record.event.as_str(), record.refreshable));
    }
}

/// What the lines say was left out before them.
fn left_out(lines: &[String]) -> usize {
    let count = |line: &String| line.split(" left_out=").nth(1)?.split(' ').next()?.parse::<usize>().ok();
    lines.iter().filter_map(count).sum()
}

async fn members(world: &World, policy: &Policy, count: usize) -> Vec<Browser> {
    let mut browsers = vec![Browser::default(); count];
    for browser in &mut browsers {
        browser.login(world, policy, "/").await;
    }
    browsers
}

#[tokio::test]
async fn a_failed_refresh_is_one_line() {
    let (log, _guard) = Log::start();
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = members(&world, &policy, 1).await.remove(0);
    world.provider.script().token_answer = Some((503, "text/html", "<html>".into()));
    world.clock.advance(SECOND * 301);
    assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 503);
    let lines = log.take(Level::WARN, "refresh");
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    for part in
        ["policy=\"auth\"", "HTTP status 503", "session=", "request_id=\"request-1\"", &world.provider.issuer]
    {
        assert!(line.contains(part), "{part} {line}");
    }
    assert_eq!(log.take(Level::WARN, "cannot be used now").len(), 1);
    assert_eq!(log.take(Level::WARN, ""), [""; 0]);
}

#[tokio::test]
async fn a_session_that_ends_at_a_refresh_is_one_line() {
    let (log, _guard) = Log::start();
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browsers = members(&world, &policy, 2).await;
    world.clock.advance(SECOND * 301);
    world.provider.script().token_answer =
        Some((400, "application/json", r#"{"error":"invalid_grant"}"#.into()));
    assert_eq!(browsers[0].send(&world, &policy, "GET", "/", API).await.status(), 401);
    assert_eq!(log.take(Level::INFO, "session ended at refresh").len(), 1);
    {
        let mut script = world.provider.script();
        script.token_answer = None;
        script.change = Some(Box::new(|claims| drop(claims.insert("sub".into(), "mallory".into()))));
    }
    assert_eq!(browsers[1].send(&world, &policy, "GET", "/", API).await.status(), 401);
    let lines = log.take(Level::WARN, "");
    assert!(matches!(&lines[..], [line] if line.contains("reason=\"id_token\"")), "{lines:#?}");
    assert_eq!(log.take(Level::INFO, "session ended"), [""; 0]);
}

#[tokio::test]
async fn an_outage_is_told_in_few_lines() {
    let (log, _guard) = Log::start();
    let mut world = World::new().await;
    let audit = Arc::new(Audit::default());
    world.deps.events = Arc::clone(&audit) as _;
    let policy = world.policy(&[]);
    let mut browsers = members(&world, &policy, 20).await;
    world.provider.script().token_answer = Some((503, "text/html", "<html>".into()));
    world.clock.advance(SECOND * 301);
    let mut requests = 0;
    for _ in 0..60 {
        for browser in &mut browsers {
            assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 503);
            requests += 1;
        }
        world.clock.advance(SECOND);
    }
    let attempts = world.provider.count("token") - browsers.len();
    assert_eq!((requests, attempts), (1200, 240));
    for (text, all) in [("refresh failed", attempts), ("cannot be used now", requests)] {
        let (told, quiet) = (log.take(Level::WARN, text), log.take(Level::DEBUG, text));
        assert!((6..=60).contains(&told.len()), "{text}: {}", told.len());
        assert_eq!(told.len() + quiet.len(), all, "every one has a line for those who debug");
        assert!(left_out(&told) > all / 2, "{told:#?}");
    }
    let failed = audit.0.lock().unwrap().iter().filter(|line| **line == ("refresh_failed", None)).count();
    assert_eq!(failed, attempts, "the audit log is complete");
}

#[tokio::test]
async fn logins_that_an_outage_refuses_are_told_in_few_lines() {
    let (log, _guard) = Log::start();
    let (provider, _) = FakeProvider::stopped().await;
    let world = World::with(provider);
    let policy = world.policy(&[]);
    for _ in 0..100 {
        assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 503);
    }
    assert_eq!(log.take(Level::WARN, "OIDC request refused").len(), 10);
    // What is the client's own fault is told each time.
    for _ in 0..20 {
        assert_eq!(Browser::default().get(&world, &policy, "/cb?state=x").await.status(), 400);
    }
    assert_eq!(log.take(Level::WARN, "OIDC request refused").len(), 20);
}

#[tokio::test]
async fn logins_without_a_refresh_token_are_told_once() {
    let (log, _guard) = Log::start();
    let mut world = World::new().await;
    let audit = Arc::new(Audit::default());
    world.deps.events = Arc::clone(&audit) as _;
    let told = || log.take(Level::WARN, "gives no refresh token");
    members(&world, &world.policy(&[]), 1).await;
    assert_eq!(told(), [""; 0]);
    world.provider.script().no_refresh_token = true;
    let policy = world.policy(&[]);
    members(&world, &policy, 3).await;
    let lines = told();
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    for part in ["policy=auth", &world.provider.issuer, "client_id=\"client\"", "prompt: consent"] {
        assert!(line.contains(part), "{part} {line}");
    }
    assert_eq!(audit.0.lock().unwrap().last(), Some(&("login", Some(false))));
    assert_eq!(audit.0.lock().unwrap().first(), Some(&("login", Some(true))));

    let loaded_again = world.policy(&[("overrideScopes", "true"), ("scopes", "[email]")]);
    members(&world, &loaded_again, 2).await;
    let lines = told();
    assert!(matches!(&lines[..], [line] if line.contains("add offline_access to the scopes")), "{lines:#?}");

    let mut settings = settings(&world.provider.issuer, &[]);
    settings.session.refresh = false;
    members(&world, &Policy::new("auth", settings, &world.deps).unwrap(), 1).await;
    assert_eq!(told(), [""; 0], "nothing would be refreshed");
}

/// Ends that no request of their user asked for in so many words.
#[tokio::test]
async fn every_end_is_in_the_audit_log() {
    let (store, clock) = (Faulty::new(None), Arc::new(ManualClock::new(SystemTime::now())));
    let mut world = World::process(FakeProvider::start().await, Arc::clone(&store) as _, Arc::clone(&clock));
    let audit = Arc::new(Audit::default());
    world.deps.events = Arc::clone(&audit) as _;
    let last = || audit.0.lock().unwrap().last().map(|(event, _)| *event);
    let policy = world.policy(&[("requireTokenIntrospection", "true")]);
    world.provider.script().introspection = (200, serde_json::json!({"active": true}));
    let mut browser = members(&world, &policy, 1).await.remove(0);
    world.provider.script().introspection = (200, serde_json::json!({"active": false}));
    world.clock.advance(SECOND * 301);
    assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401);
    assert_eq!(last(), Some("revoked"));

    // A logout at a process that never had the session, while the store is away.
    let other = World::process(world.provider.clone(), Arc::clone(&store) as _, clock);
    let there = other.policy(&[]);
    let mut browser = members(&other, &there, 1).await.remove(0);
    let here = world.policy(&[]);
    store.fails(Some(StoreError::Busy));
    assert_eq!(browser.get(&world, &here, "/logout").await.status(), 302);
    assert_eq!(last(), Some("logout"));
    assert_eq!(Browser::default().get(&world, &here, "/logout").await.status(), 302);
    assert_eq!(audit.0.lock().unwrap().iter().filter(|line| line.0 == "logout").count(), 1, "nobody's");
}
