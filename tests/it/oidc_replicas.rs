//! Several processes with their sessions in one Redis.

use std::time::{Duration, Instant};

use portcullis::demo::provider::{Answer, Endpoint, Fault, ProviderOptions, Rotation};

use crate::harness::client::{Browser, Page};
use crate::harness::idp::{self, LOGOUT, Plan, World};
use crate::harness::proxy::{Proxy, Setup, one_core};
use crate::harness::redis::{Servers, available};
use crate::harness::{eventually, soon, within};

/// Life of the first tokens.
const LIFE: Duration = Duration::from_secs(4);

/// A world of which there are more proxies than one.
struct Replicas {
    world: World,
    others: Vec<Proxy>,
    redis: Servers,
    dynamic: String,
    fixed: String,
    one_core: bool,
}

/// Of the plugin block, whatever the store.
const LINES: &str = "refreshGracePeriodSeconds: 1\nsessionEndpoints: auto";

fn plugin(redis: &Servers) -> String {
    format!("{LINES}\nredis:\n  enabled: true\n  address: 127.0.0.1:{}\n  keyPrefix: \"it:\"", redis.port(0))
}

/// Static configuration of the store of all.
fn store(ports: &[u16], more: &str) -> String {
    let endpoints: Vec<String> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    let endpoints = endpoints.join(", ");
    format!("oidc:\n  session:\n    store:\n      redis:\n        endpoints: [{endpoints}]\n        {more}")
}

impl Replicas {
    async fn start(count: usize) -> Self {
        let redis = Servers::single(&[]).await;
        let lines = plugin(&redis);
        Self::over(redis, count, &lines, "", false).await
    }

    /// The same with one worker thread for each.
    async fn start_with_one_worker(count: usize) -> Self {
        let redis = Servers::single(&[]).await;
        let lines = plugin(&redis);
        Self::over(redis, count, &lines, "", true).await
    }

    /// On three primaries with a replica each.
    async fn on_a_cluster(count: usize) -> Self {
        let redis = Servers::cluster().await;
        let fixed = store(&redis.ports(), "cluster: true");
        Self::over(redis, count, LINES, &fixed, false).await
    }

    /// On a primary with a replica, found by sentinels.
    async fn on_a_set(count: usize) -> Self {
        let redis = Servers::sentinels().await;
        let fixed = store(&redis.ports()[2..], "sentinel: {masterSet: portcullis}");
        Self::over(redis, count, LINES, &fixed, false).await
    }

    /// Lines of the plugin block and of the static configuration choose the store.
    async fn over(redis: Servers, count: usize, lines: &str, fixed: &str, one_core: bool) -> Self {
        let mut plan = Plan::new().plugin(lines).fixed(fixed);
        if one_core {
            plan = plan.one_core();
        }
        plan.provider = ProviderOptions {
            access_token_ttl: LIFE,
            rotation: Rotation::Strict,
            ..ProviderOptions::default()
        };
        let world = plan.start().await;
        let dynamic = idp::dynamic(&world.idp.issuer(), &world.origin, lines, "");
        let mut replicas =
            Self { world, others: Vec::new(), redis, dynamic, fixed: fixed.to_owned(), one_core };
        for _ in 1..count {
            let another = replicas.another().await;
            replicas.others.push(another);
        }
        replicas
    }

    /// One more process, which has nothing in memory.
    async fn another(&self) -> Proxy {
        let setup = Setup::new().dynamic(&self.dynamic).fixed(&self.fixed);
        let proxy = if self.one_core { setup.one_core() } else { setup }.start().await;
        let url = url::Url::parse(&proxy.url()).unwrap();
        eventually("a login is offered", || async {
            [302, 303].contains(&Browser::new().step(&url).await.status)
        })
        .await;
        proxy
    }

    /// A path at each of the proxies.
    fn urls(&self, path: &str) -> Vec<String> {
        let others = self.others.iter().map(|proxy| format!("{}{path}", proxy.url()));
        [self.world.at(path)].into_iter().chain(others).collect()
    }

    /// Lets the tokens of a browser's session end; those to come live long.
    async fn tokens_end(&self, browser: &Browser) {
        self.world.idp.set_access_token_ttl(Duration::from_secs(600));
        self.world.tokens_over(&browser.cookie_line("localhost")).await;
        assert_eq!(self.world.grants("refresh_token"), 0);
    }
}

fn served(page: &Page) -> bool {
    World::is_from_service(page)
}

#[tokio::test]
async fn a_login_here_is_a_session_there_and_a_logout_here_ends_it_there() {
    if !available("a_login_here_is_a_session_there_and_a_logout_here_ends_it_there") {
        return;
    }
    let replicas = Replicas::start(2).await;
    let urls = replicas.urls("/x");
    let browser = replicas.world.browser_of("alice").await;
    assert!(served(&browser.fetch(&urls[1]).await));
    assert_eq!(replicas.world.origin.last().get("x-forwarded-user"), Some("alice@example.test"));
    assert_eq!(replicas.world.grants("authorization_code"), 1);
    let logout = url::Url::parse(&replicas.world.at(LOGOUT)).unwrap();
    within("the other process knows", Duration::from_secs(1), async || {
        let browser = replicas.world.browser_of("alice").await;
        assert!(served(&browser.fetch(&urls[1]).await));
        let stolen = browser.stolen();
        let page = browser.request("POST", &logout, &[("sec-fetch-site", "same-origin")], Some(&[])).await;
        assert!([302, 303].contains(&page.status), "{page:?}");
        let ended = Instant::now();
        eventually("the other process knows", || async { stolen.fetch(&urls[1]).await.status == 401 }).await;
        let took = ended.elapsed();
        assert_eq!(stolen.fetch(&urls[0]).await.status, 401);
        took
    })
    .await;
}

#[tokio::test]
async fn three_hundred_requests_at_three_processes_on_one_expired_session_make_one_grant() {
    if !available("three_hundred_requests_at_three_processes_on_one_expired_session_make_one_grant") {
        return;
    }
    three_hundred_requests_make_one_grant(&Replicas::start(3).await).await;
}

#[tokio::test]
async fn so_they_do_on_a_cluster() {
    if !available("so_they_do_on_a_cluster") {
        return;
    }
    three_hundred_requests_make_one_grant(&Replicas::on_a_cluster(3).await).await;
}

#[tokio::test]
async fn p14_with_one_worker_thread_each() {
    let name = "p14_with_one_worker_thread_each";
    if !available(name) || !one_core(name) {
        return;
    }
    three_hundred_requests_make_one_grant(&Replicas::start_with_one_worker(3).await).await;
    a_killed_process_is_followed(Replicas::start_with_one_worker(2).await).await;
}

async fn three_hundred_requests_make_one_grant(replicas: &Replicas) {
    let urls = replicas.urls("/x");
    let browser = replicas.world.browser_of("alice").await;
    replicas.tokens_end(&browser).await;
    let slow = Fault::at(Endpoint::Token, Answer::Genuine).grant("refresh_token");
    replicas.world.idp.add_fault(slow.delay(Duration::from_millis(500)));
    let fetches = (0..300).map(|n| browser.fetch(&urls[n % 3]));
    let pages = futures_util::future::join_all(fetches).await;
    let count = pages.iter().filter(|page| served(page)).count();
    assert_eq!(count, 300, "{:?}", pages.iter().find(|page| page.status != 200));
    assert_eq!(replicas.world.grants("refresh_token"), 1);
    assert_eq!(replicas.world.grants("authorization_code"), 1);
}

/// As `attacks_state.rs` has it at one process. At ten seconds the call is given up.
#[tokio::test]
async fn n69_no_delay_of_the_provider_makes_a_second_grant_at_three_processes() {
    if !available("n69_no_delay_of_the_provider_makes_a_second_grant_at_three_processes") {
        return;
    }
    for delay in [0.0, 3.0, 9.5] {
        let replicas = Replicas::start(3).await;
        let urls = replicas.urls("/x");
        let browser = replicas.world.browser_of("alice").await;
        replicas.tokens_end(&browser).await;
        let slow = Fault::at(Endpoint::Token, Answer::Genuine).grant("refresh_token");
        replicas.world.idp.add_fault(slow.delay(Duration::from_secs_f64(delay)));
        let fetches = (0..200).map(|n| browser.fetch(&urls[n % 3]));
        let pages = futures_util::future::join_all(fetches).await;
        let count = pages.iter().filter(|page| served(page)).count();
        assert_eq!(count, 200, "{delay} s: {:?}", pages.iter().find(|page| page.status != 200));
        let grants = (replicas.world.grants("refresh_token"), replicas.world.grants("authorization_code"));
        assert_eq!(grants, (1, 1), "{delay} s");
        assert_eq!(replicas.world.idp.counters().get("grant:refresh_token:invalid_grant"), 0);
    }
}

#[tokio::test]
async fn a_session_outlives_an_outage_of_redis() {
    if !available("a_session_outlives_an_outage_of_redis") {
        return;
    }
    let mut replicas = Replicas::start(2).await;
    replicas.world.idp.set_access_token_ttl(Duration::from_secs(600));
    let urls = replicas.urls("/x");
    let browser = replicas.world.browser_of("alice").await;
    for url in &urls {
        assert!(served(&browser.fetch(url).await));
    }
    replicas.redis.kill(0);
    let world = &replicas.world;
    eventually("readiness names the store", || async {
        let answer = world.proxy.admin("/readyz").await;
        answer.is_some_and(|(status, text)| status == 503 && text.contains("session store redis 127.0.0.1"))
    })
    .await;
    for url in &urls {
        assert!(served(&browser.fetch(url).await), "a live session goes on");
    }
    let stranger = Browser::new();
    let cookie = browser.cookies("localhost").into_iter().find(|(name, _)| name.contains("session")).unwrap();
    stranger.set_cookie("localhost", &cookie.0, &cookie.1);
    within("a session from memory", Duration::from_secs(1), async || {
        let start = Instant::now();
        assert!(served(&stranger.fetch(&urls[0]).await), "known by its cookie");
        start.elapsed()
    })
    .await;
    assert!(world.proxy.metric("portcullis_oidc_session_store_errors_total", &[]).await >= 1.0);
    replicas.redis.restart(0).await;
    let fresh = replicas.another().await;
    eventually("a session that is not in memory is found", || async {
        served(&browser.fetch(&format!("{}/x", fresh.url())).await)
    })
    .await;
    eventually("it is ready again", || async {
        replicas.world.proxy.admin("/readyz").await.is_some_and(|(status, _)| status == 200)
    })
    .await;
    assert_eq!(replicas.world.grants("authorization_code"), 1, "nobody logged in again");
}

#[tokio::test]
async fn a_process_killed_in_the_middle_of_a_grant_is_followed_by_another() {
    if !available("a_process_killed_in_the_middle_of_a_grant_is_followed_by_another") {
        return;
    }
    a_killed_process_is_followed(Replicas::start(2).await).await;
}

#[tokio::test]
async fn so_it_is_on_a_cluster() {
    if !available("so_it_is_on_a_cluster") {
        return;
    }
    a_killed_process_is_followed(Replicas::on_a_cluster(3).await).await;
}

/// The last of them asks the provider, and is killed before the answer.
async fn a_killed_process_is_followed(mut replicas: Replicas) {
    let urls = replicas.urls("/x");
    let browser = replicas.world.browser_of("alice").await;
    let last = urls.last().unwrap().clone();
    assert!(served(&browser.fetch(&last).await));
    replicas.tokens_end(&browser).await;
    // The first grant never gets to where the provider takes the token.
    let hanging = Fault::at(Endpoint::Token, Answer::Status(503)).grant("refresh_token").times(1);
    let (hanging, _gate) = hanging.gate();
    replicas.world.idp.add_fault(hanging);
    let doomed = replicas.others.pop().unwrap();
    let first = tokio::spawn({
        let browser = browser.clone();
        async move {
            let url = url::Url::parse(&last).unwrap();
            browser.request("GET", &url, &[], None).await
        }
    });
    let world = &replicas.world;
    soon("the grant", world.idp.counted(|counters| counters.get("grant:refresh_token") == 1)).await;
    first.abort();
    drop(doomed);
    for url in &urls[..urls.len() - 1] {
        eventually("another process refreshes", || async { served(&browser.fetch(url).await) }).await;
    }
    assert_eq!(world.grants("refresh_token"), 2);
    assert_eq!(world.grants("authorization_code"), 1, "nobody was logged out");
}

#[tokio::test]
async fn a_session_outlives_the_promotion_of_a_replica_and_is_refreshed_there() {
    if !available("a_session_outlives_the_promotion_of_a_replica_and_is_refreshed_there") {
        return;
    }
    let mut replicas = Replicas::on_a_set(2).await;
    let urls = replicas.urls("/x");
    let browser = replicas.world.browser_of("alice").await;
    for url in &urls {
        assert!(served(&browser.fetch(url).await));
    }
    replicas.redis.replicated(0).await;
    replicas.redis.kill(0);
    replicas.tokens_end(&browser).await;
    for url in &urls {
        eventually("the session is refreshed", || async { served(&browser.fetch(url).await) }).await;
    }
    let fresh = replicas.another().await;
    eventually("a session that is not in memory is found", || async {
        served(&browser.fetch(&format!("{}/x", fresh.url())).await)
    })
    .await;
    assert_eq!(replicas.world.grants("refresh_token"), 1);
    assert_eq!(replicas.world.grants("authorization_code"), 1, "nobody was logged out");
}

#[tokio::test]
async fn the_static_configuration_chooses_the_store_of_all() {
    if !available("the_static_configuration_chooses_the_store_of_all") {
        return;
    }
    let redis = Servers::single(&["--requirepass", "a secret"]).await;
    let world = Plan::new().fixed(&store(&redis.ports(), "password: a secret")).start().await;
    world.browser_of("alice").await;
    let keys = redis.cli(0, &["--no-auth-warning", "-a", "a secret", "--scan"]);
    assert!(keys.lines().any(|key| key.starts_with("portcullis:{") && key.contains("}:s:")), "{keys}");
    assert!(!world.proxy.folder().join("state/sessions.sqlite").exists());
}
