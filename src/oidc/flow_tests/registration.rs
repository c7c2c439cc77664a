//! A client that registers itself.

use serde_json::{Value, json};

use super::super::session::Lookup;
use super::*;

mod replaced;

const CLIENT: &[(&str, &str)] = &[
    ("clientID", ""),
    ("clientSecret", ""),
    ("dynamicClientRegistration.enabled", "true"),
    ("dynamicClientRegistration.initialAccessToken", "initial"),
    (
        "dynamicClientRegistration.clientMetadata.redirect_uris",
        "[http://app.example.com/cb, http://b.example.com/cb]",
    ),
    ("dynamicClientRegistration.clientMetadata.client_name", "The edge"),
];

/// A provider at which clients can register.
async fn open() -> FakeProvider {
    let provider = FakeProvider::start().await;
    let endpoint = json!(format!("{}/register", provider.issuer));
    provider.script().metadata.insert("registration_endpoint".into(), endpoint);
    provider
}

/// Another process with the store and the clock of the first.
struct Shared {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    provider: FakeProvider,
}

impl Shared {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(SystemTime::now()));
        Self { store: Arc::new(MemoryStore::new(10_000)), clock, provider: open().await }
    }

    fn process(&self) -> World {
        World::process(self.provider.clone(), Arc::clone(&self.store) as _, Arc::clone(&self.clock))
    }

    /// What is registered from now on has a secret that ends after `seconds`.
    fn secrets_end_in(&self, seconds: u64) {
        let end = self.clock.now() + Duration::from_secs(seconds);
        let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        self.provider.script().registered.insert("client_secret_expires_at".into(), json!(end));
    }

    /// A browser that logged in as `client-1`, whose secret was about to end, so that it is `client-2` now.
    async fn session_of_a_replaced_client(&self, options: &[(&str, &str)]) -> (World, Policy, Browser) {
        self.secrets_end_in(1000);
        let world = self.process();
        let policy = world.policy(options);
        let mut browser = Browser::default();
        assert_eq!(browser.login(&world, &policy, "/").await.status(), 302);
        self.provider.script().registered.clear();
        self.clock.advance(Duration::from_secs(200));
        settled(&world, &policy, "client-1").await;
        self.clock.advance(Duration::from_secs(501));
        settled(&world, &policy, "client-2").await;
        (world, policy, browser)
    }

    fn registrations(&self) -> usize {
        self.provider.count("register")
    }

    /// Moves the clock until the provider has seen so many registrations.
    async fn registered(&self, count: usize) {
        until(async || {
            self.clock.advance(SECOND);
            self.registrations() >= count
        })
        .await;
    }
}

async fn until(mut reached: impl AsyncFnMut() -> bool) {
    for _ in 0..2_000 {
        if reached().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not reached");
}

/// Which client a login is started for.
async fn client_id(world: &World, policy: &Policy) -> String {
    let outcome = Browser::default().get(world, policy, "/").await;
    assert_eq!(outcome.status(), 302, "{}", outcome.body());
    parameters(&outcome.location())["client_id"].clone()
}

async fn settled(world: &World, policy: &Policy, client: &str) {
    until(async || client_id(world, policy).await == client).await;
}

#[tokio::test]
async fn a_client_registers_and_logs_people_in() {
    let world = World::with(open().await);
    let channels = [("enableBackchannelLogout", "true"), ("backchannelLogoutURL", "/bc")];
    let policy = world.policy(&[CLIENT, &channels].concat());
    let mut browser = Browser::default();
    let callback = browser.start(&world, &policy, "/page").await;
    assert_eq!(browser.get(&world, &policy, &callback).await.location(), "/page");
    assert!(browser.get(&world, &policy, "/page").await.identity().user.is_some());

    let (asked, right) = world.provider.script().last_registration.clone().unwrap();
    assert_eq!(right.as_deref(), Some("Bearer initial"));
    let expected = json!({
        "redirect_uris": ["http://app.example.com/cb", "http://b.example.com/cb"],
        "post_logout_redirect_uris": ["http://app.example.com/", "http://b.example.com/"],
        "backchannel_logout_uri": "http://app.example.com/bc", "backchannel_logout_session_required": true,
        "client_name": "The edge", "response_types": ["code"], "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    assert_eq!(asked, expected);
    let basic = world.provider.script().last_authorization.clone().unwrap();
    assert!(basic.starts_with("Basic "), "{basic}");
    // Another policy of the same client, and a reload, register nothing.
    let again = world.policy(CLIENT);
    let other = world.policy(&[CLIENT, &channels].concat());
    drop(policy);
    assert!(browser.get(&world, &other, "/").await.identity().user.is_some());
    assert_eq!(client_id(&world, &other).await, "client-1");
    assert_eq!(client_id(&world, &again).await, "client-2", "it registers something else");
    assert_eq!(world.provider.count("register"), 2);
}

#[tokio::test]
async fn a_restart_and_other_processes_find_the_client() {
    let shared = Shared::new().await;
    let worlds: Vec<World> = (0..4).map(|_| shared.process()).collect();
    let policies: Vec<Policy> = worlds.iter().map(|world| world.policy(CLIENT)).collect();
    for (world, policy) in worlds.iter().zip(&policies) {
        // Those who came second look again now and then.
        let started = Browser::default();
        let look = async || {
            shared.clock.advance(SECOND);
            started.clone().get(world, policy, "/").await.status() == 302
        };
        until(look).await;
        assert_eq!(client_id(world, policy).await, "client-1");
    }
    drop((worlds, policies));
    shared.provider.script().registration_answer = Some((500, json!({})));
    let restarted = shared.process();
    assert_eq!(client_id(&restarted, &restarted.policy(CLIENT)).await, "client-1");
    assert_eq!(shared.registrations(), 1);
}

#[tokio::test]
async fn a_secret_is_replaced_before_it_ends_and_sessions_live_on() {
    let shared = Shared::new().await;
    let (world, policy, mut browser) = shared.session_of_a_replaced_client(CLIENT).await;
    assert!(
        matches!(session(&world, &policy, &browser).await, Lookup::Live(_)),
        "the cookie is still a session's"
    );
    // Its refresh token is the former client's, who may still come. The tokens of others are for the new one.
    shared.provider.script().audience = "client-1".to_owned();
    assert!(browser.get(&world, &policy, "/").await.identity().user.is_some());
    let sent = |world: &World| world.provider.script().last_authorization.clone().unwrap();
    assert_eq!(sent(&world), basic("client-1:secret-1"));
    shared.provider.script().audience = "client-2".to_owned();
    let mut other = Browser::default();
    assert_eq!(other.login(&world, &policy, "/").await.location(), "/");
    assert_eq!(sent(&world), basic("client-2:secret-2"));
    let leaving =
        browser.send(&world, &policy, "POST", "/logout", &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!(parameters(&leaving.location())["client_id"], "client-1", "whom its ID token is for");
    assert_eq!(shared.registrations(), 2);
}

fn basic(pair: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

async fn session(world: &World, policy: &Policy, browser: &Browser) -> Lookup {
    let cookie = &browser.cookies[&session_cookie(policy)];
    let id = super::super::session::SessionId::parse(cookie).unwrap();
    policy.sessions.lookup(&id, &policy.core.scope, world.clock.now()).await
}

#[tokio::test]
async fn a_secret_that_ended_is_not_used() {
    let shared = Shared::new().await;
    shared.secrets_end_in(100);
    let world = shared.process();
    let policy = world.policy(CLIENT);
    assert_eq!(client_id(&world, &policy).await, "client-1");
    shared.provider.script().registration_answer = Some((503, json!({})));
    until(async || {
        shared.clock.advance(SECOND);
        Browser::default().get(&world, &policy, "/").await.status() == 503
    })
    .await;
    let asked = shared.registrations();
    // A secret that has ended already is no better.
    shared.provider.script().registration_answer = None;
    shared.registered(asked + 1).await;
    shared.provider.script().registered.clear();
    until(async || {
        shared.clock.advance(SECOND);
        Browser::default().get(&world, &policy, "/").await.status() == 302
    })
    .await;
}

#[tokio::test]
async fn a_client_that_the_provider_forgot_is_replaced_but_not_at_once() {
    let shared = Shared::new().await;
    let world = shared.process();
    let policy = world.policy(CLIENT);
    settled(&world, &policy, "client-1").await;
    let refused = json!({"error": "invalid_client"}).to_string();
    shared.provider.script().token_answer = Some((401, "application/json", refused));
    for _ in 0..5 {
        assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 502);
    }
    shared.clock.advance(Duration::from_secs(50));
    assert_eq!(client_id(&world, &policy).await, "client-1");
    assert_eq!(shared.registrations(), 1);
    shared.registered(2).await;
    settled(&world, &policy, "client-2").await;
    // The next one waits for twice as long.
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 502);
    shared.clock.advance(Duration::from_secs(100));
    assert_eq!(client_id(&world, &policy).await, "client-2");
    shared.registered(3).await;
    shared.provider.script().token_answer = None;
    settled(&world, &policy, "client-3").await;
    assert_eq!(Browser::default().login(&world, &policy, "/").await.location(), "/");
}

#[tokio::test]
async fn a_provider_that_forgot_the_client_is_asked_although_nobody_logs_in() {
    let shared = Shared::new().await;
    let first = shared.process();
    let policy = first.policy(CLIENT);
    settled(&first, &policy, "client-1").await;
    assert_eq!(shared.provider.count("token"), 0, "a new client is known");
    drop((first, policy));
    shared.clock.advance(Duration::from_secs(100));
    let refused = json!({"error": "invalid_client"}).to_string();
    shared.provider.script().token_answer = Some((401, "application/json", refused));
    let world = shared.process();
    let policy = world.policy(CLIENT);
    shared.registered(2).await;
    settled(&world, &policy, "client-2").await;
    assert_eq!(shared.provider.count("token"), 1);
    // What is known stays, and is asked about once an hour.
    shared.provider.script().token_answer = None;
    for _ in 0..3 {
        let asked = shared.provider.count("token");
        until(async || {
            shared.clock.advance(Duration::from_secs(60));
            shared.provider.count("token") > asked
        })
        .await;
    }
    assert_eq!((client_id(&world, &policy).await.as_str(), shared.registrations()), ("client-2", 2));
}

#[tokio::test]
async fn without_a_client_nothing_is_open_and_logins_get_503() {
    let world = World::with(FakeProvider::start().await);
    let policy = world.policy(&[CLIENT, &[("excludedURLs", "[/public]")]].concat());
    let outcome = Browser::default().get(&world, &policy, "/").await;
    assert_eq!((outcome.status(), outcome.answer().headers["retry-after"].to_str().unwrap()), (503, "5"));
    assert_eq!(Browser::default().send(&world, &policy, "GET", "/", API).await.status(), 401);
    assert_eq!(Browser::default().get(&world, &policy, "/cb?code=x&state=y").await.status(), 400);
    assert!(Browser::default().get(&world, &policy, "/public").await.identity().user.is_none());
    assert_eq!(world.provider.count("register"), 0, "there is nowhere to register");
    // The configuration may know what discovery does not say.
    let endpoint = format!("{}/register", world.provider.issuer);
    let told = ("dynamicClientRegistration.registrationEndpoint", endpoint.as_str());
    assert_eq!(client_id(&world, &world.policy(&[CLIENT, &[told]].concat())).await, "client-1");
}

#[tokio::test]
async fn a_refused_registration_is_tried_again() {
    let shared = Shared::new().await;
    let refusal = json!({"error": "invalid_token", "error_description": "who are you"});
    shared.provider.script().registration_answer = Some((401, refusal));
    let world = shared.process();
    let policy = world.policy(CLIENT);
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 503);
    let tried = shared.registrations();
    shared.registered(tried + 2).await;
    shared.provider.script().registration_answer = None;
    let mut seconds = 0;
    until(async || {
        shared.clock.advance(SECOND);
        seconds += 1;
        Browser::default().get(&world, &policy, "/").await.status() == 302
    })
    .await;
    assert!(seconds <= 300, "{seconds}");
}

#[tokio::test]
async fn a_provider_that_is_down_at_the_start_costs_no_traffic_and_no_time() {
    let (provider, address) = FakeProvider::stopped().await;
    let endpoint: Value = json!(format!("{}/register", provider.issuer));
    provider.script().metadata.insert("registration_endpoint".into(), endpoint);
    let world = World::with(provider);
    let policy = world.policy(CLIENT);
    let start = std::time::Instant::now();
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 503);
    assert!(start.elapsed() < SECOND);
    world.provider.listen(address).await;
    let start = std::time::Instant::now();
    until(async || Browser::default().get(&world, &policy, "/").await.status() == 302).await;
    assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());
    assert_eq!(world.provider.count("register"), 1);
}
