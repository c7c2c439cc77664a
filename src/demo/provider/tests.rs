#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;

use super::*;
use serde_json::json;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CALLBACK: &str = "http://app.example.test/cb";

fn options() -> ProviderOptions {
    let client = Client {
        id: "app".to_owned(),
        secret: "s:e+c r%t".to_owned(),
        redirect_uris: vec![CALLBACK.to_owned()],
        post_logout_redirect_uris: vec!["http://app.example.test/bye".to_owned()],
    };
    ProviderOptions { clients: vec![client], signing: Signing::Es256, ..ProviderOptions::default() }
}

struct App {
    provider: Provider,
    http: reqwest::Client,
}

impl App {
    async fn start(options: ProviderOptions) -> Self {
        let provider = Provider::start(options).await.unwrap();
        let no_redirects = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().redirect(no_redirects).build().unwrap();
        Self { provider, http }
    }

    fn at(&self, endpoint: Endpoint) -> String {
        format!("http://{}{}", self.provider.address(), endpoint.path())
    }

    fn authorization<'a>(&self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, String)> {
        let mut parameters: Vec<(&str, String)> = [
            ("client_id", "app"),
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid profile email"),
            ("state", "st&te"),
            ("nonce", "nonce"),
            ("code_challenge_method", "S256"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec();
        parameters.push(("code_challenge", keys::sha256_text(VERIFIER)));
        for (name, value) in more {
            parameters.retain(|(known, _)| known != name);
            parameters.push((name, (*value).to_owned()));
        }
        parameters
    }

    /// Posts to the authorization endpoint as the page does; returns the callback's parameters and the cookie.
    async fn pick(&self, more: &[(&str, &str)]) -> (HashMap<String, String>, Option<String>) {
        let form = self.authorization(more);
        let response = self.http.post(self.at(Endpoint::Authorize)).form(&form).send().await.unwrap();
        assert_eq!(response.status(), 303, "{:?}", response.text().await);
        let cookie = response
            .headers()
            .get("set-cookie")
            .map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
        let location = response.headers()["location"].to_str().unwrap();
        assert!(location.starts_with(CALLBACK), "{location}");
        let pairs = url::Url::parse(location).unwrap().query_pairs().into_owned().collect();
        (pairs, cookie)
    }

    async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let request = self.http.post(self.at(Endpoint::Token)).form(form);
        // Both halves form-encoded: the secret has a colon, a plus, a space and a percent sign.
        let response = request.basic_auth("app", Some("s%3Ae%2Bc+r%25t")).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn exchange(&self, code: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.token(&form).await
    }

    async fn refresh(&self, token: &Value) -> (u16, Value) {
        let token = token.as_str().unwrap();
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    async fn log_in(&self, user: &str) -> Value {
        let (callback, _) = self.pick(&[("user", user)]).await;
        let (status, tokens) = self.exchange(&callback["code"]).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    async fn userinfo(&self, token: &Value) -> reqwest::Response {
        let request = self.http.get(self.at(Endpoint::Userinfo));
        request.bearer_auth(token.as_str().unwrap()).send().await.unwrap()
    }

    fn claims(&self, tokens: &Value) -> Map<String, Value> {
        locked(&self.provider.shared.keys).open(tokens["id_token"].as_str().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn login_gives_tokens_with_the_claims_of_the_picked_user() {
    let app = App::start(options()).await;
    let (callback, _) = app.pick(&[("user", "alice")]).await;
    assert_eq!(callback["state"], "st&te");
    assert_eq!(callback["iss"], app.provider.issuer());
    let (_, tokens) = app.exchange(&callback["code"]).await;
    let claims = app.claims(&tokens);
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["nonce"], "nonce");
    assert_eq!(claims["aud"], "app");
    assert_eq!(claims["groups"], json!(["dev/backend", "ops"]));
    let hash = keys::half_sha256_text(tokens["access_token"].as_str().unwrap());
    assert_eq!(claims["at_hash"], json!(hash));
    assert_eq!(tokens["expires_in"], 30);
    let info: Value = app.userinfo(&tokens["access_token"]).await.json().await.unwrap();
    assert_eq!(info["email"], "alice@example.test");
}

#[tokio::test]
async fn somebody_without_mail_has_no_email_claim() {
    let app = App::start(options()).await;
    let tokens = app.log_in("nomail").await;
    assert!(!app.claims(&tokens).contains_key("email"));
    let info: Value = app.userinfo(&tokens["access_token"]).await.json().await.unwrap();
    assert!(info.get("email").is_none());
}

#[tokio::test]
async fn the_page_offers_every_user_and_carries_the_request() {
    let app = App::start(options()).await;
    let url = url::Url::parse_with_params(&app.at(Endpoint::Authorize), app.authorization(&[])).unwrap();
    let page = app.http.get(url).send().await.unwrap().text().await.unwrap();
    for user in ["alice", "bob", "nomail"] {
        assert!(page.contains(&format!("name=\"user\" value=\"{user}\"")), "{page}");
    }
    assert!(page.contains("name=\"state\" value=\"st&amp;te\""), "{page}");
}

#[tokio::test]
async fn a_second_login_of_the_same_browser_asks_nothing() {
    let app = App::start(options()).await;
    let (_, cookie) = app.pick(&[("user", "bob")]).await;
    let url = url::Url::parse_with_params(&app.at(Endpoint::Authorize), app.authorization(&[])).unwrap();
    let ask = |url| app.http.get::<url::Url>(url).header("cookie", cookie.clone().unwrap()).send();
    assert_eq!(ask(url.clone()).await.unwrap().status(), 303);
    let mut prompted = url;
    prompted.query_pairs_mut().append_pair("prompt", "login");
    assert_eq!(ask(prompted).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_unregistered_return_address_is_never_visited() {
    let app = App::start(options()).await;
    let form = app.authorization(&[("redirect_uri", "http://evil.example.test/cb"), ("user", "alice")]);
    let response = app.http.post(app.at(Endpoint::Authorize)).form(&form).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let (callback, _) = app.pick(&[("code_challenge_method", "plain")]).await;
    assert_eq!(callback["error"], "invalid_request");
}

#[tokio::test]
async fn reuse_of_a_refresh_token_ends_the_session() {
    let app = App::start(options()).await;
    let first = app.log_in("alice").await;
    let (status, second) = app.refresh(&first["refresh_token"]).await;
    assert_eq!(status, 200);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert!(!app.claims(&second).contains_key("nonce"));
    let (status, refused) = app.refresh(&first["refresh_token"]).await;
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")));
    let (status, _) = app.refresh(&second["refresh_token"]).await;
    assert_eq!(status, 400);
    assert_eq!(app.userinfo(&second["access_token"]).await.status(), 401);
    let counters = app.provider.counters();
    assert_eq!(counters.get("grant:refresh_token:ok"), 1);
    assert_eq!(counters.get("grant:refresh_token:invalid_grant"), 2);
    assert_eq!(counters.get("grant:refresh_token"), 3);
}

#[tokio::test]
async fn a_wrong_secret_is_refused_in_both_places() {
    let app = App::start(options()).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let request = app.http.post(app.at(Endpoint::Token)).form(&form);
    assert_eq!(request.basic_auth("app", Some("no")).send().await.unwrap().status(), 401);
    for (secret, status) in [("no", 401), ("s:e+c r%t", 400)] {
        let form = [form[0], form[1], ("client_id", "app"), ("client_secret", secret)];
        let response = app.http.post(app.at(Endpoint::Token)).form(&form).send().await.unwrap();
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn logout_goes_back_only_to_a_registered_address_and_ends_the_tokens() {
    let app = App::start(options()).await;
    let tokens = app.log_in("alice").await;
    let out = |uri: &str| {
        let query = [
            ("id_token_hint", tokens["id_token"].as_str().unwrap()),
            ("post_logout_redirect_uri", uri),
            ("state", "s"),
        ];
        let url = url::Url::parse_with_params(&app.at(Endpoint::EndSession), query).unwrap();
        app.http.get(url).send()
    };
    let response = out("http://app.example.test/bye").await.unwrap();
    assert_eq!(response.headers()["location"], "http://app.example.test/bye?state=s");
    assert_eq!(app.userinfo(&tokens["access_token"]).await.status(), 401);
    assert_eq!(out("http://evil.example.test/").await.unwrap().status(), 200);
}

#[tokio::test]
async fn revocation_ends_the_grant() {
    let app = App::start(options()).await;
    let tokens = app.log_in("alice").await;
    let form = [("token", tokens["refresh_token"].as_str().unwrap())];
    let request = app.http.post(app.at(Endpoint::Revocation)).form(&form);
    let response = request.basic_auth("app", Some("s%3Ae%2Bc+r%25t")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(app.refresh(&tokens["refresh_token"]).await.0, 400);
}

#[tokio::test]
async fn a_lost_answer_still_spends_the_token() {
    let app = App::start(options()).await;
    let tokens = app.log_in("alice").await;
    let lost = Fault::at(Endpoint::Token, Answer::DropAfter).grant("refresh_token").times(1);
    app.provider.add_fault(lost);
    let form =
        [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let request = app.http.post(app.at(Endpoint::Token)).form(&form);
    assert!(request.basic_auth("app", Some("s%3Ae%2Bc+r%25t")).send().await.is_err());
    assert_eq!(app.provider.counters().get("grant:refresh_token:ok"), 1);
    assert_eq!(app.refresh(&tokens["refresh_token"]).await.0, 400);
}

#[tokio::test]
async fn a_dropped_request_is_not_processed_and_a_gate_holds_one_back() {
    let app = App::start(options()).await;
    let tokens = app.log_in("alice").await;
    app.provider.add_fault(Fault::at(Endpoint::Userinfo, Answer::Drop).times(1));
    let url = app.at(Endpoint::Userinfo);
    assert!(app.http.get(&url).send().await.is_err());
    assert_eq!(app.userinfo(&tokens["access_token"]).await.status(), 200);

    let (fault, gate) = Fault::at(Endpoint::Userinfo, Answer::Genuine).gate();
    app.provider.add_fault(fault);
    let held = app.userinfo(&tokens["access_token"]);
    tokio::pin!(held);
    tokio::select! {
        _ = &mut held => panic!("passed a closed gate"),
        () = app.provider.counted(|counters| counters.get("GET /userinfo") == 3) => {}
    }
    gate.open();
    assert_eq!(held.await.status(), 200);
}

#[tokio::test]
async fn an_offline_provider_refuses_connections_and_comes_back_with_its_memory() {
    let app = App::start(options()).await;
    let tokens = app.log_in("alice").await;
    app.provider.go_offline().await;
    assert!(app.http.get(app.at(Endpoint::Jwks)).send().await.is_err());
    app.provider.go_online().await.unwrap();
    assert_eq!(app.refresh(&tokens["refresh_token"]).await.0, 200);
}

#[tokio::test]
async fn quirks_show() {
    let quirks = Quirks {
        issuer_slash: true,
        audience_list: true,
        claims_only_from_userinfo: true,
        no_callback_issuer: true,
        ..Quirks::default()
    };
    let app = App::start(ProviderOptions { quirks, ..options() }).await;
    assert!(app.provider.issuer().ends_with('/'));
    let (callback, _) = app.pick(&[("user", "alice")]).await;
    assert!(!callback.contains_key("iss"));
    let (_, tokens) = app.exchange(&callback["code"]).await;
    let claims = app.claims(&tokens);
    assert_eq!(claims["aud"], json!(["app"]));
    assert_eq!(claims["azp"], "app");
    assert!(!claims.contains_key("groups"));
    let info: Value = app.userinfo(&tokens["access_token"]).await.json().await.unwrap();
    assert_eq!(info["roles"], json!(["admin", "user"]));
}

#[tokio::test]
async fn a_login_outlives_a_restart_with_a_state_file() {
    let folder = tempfile::tempdir().unwrap();
    let options = ProviderOptions { state_file: Some(folder.path().join("state.json")), ..options() };
    let app = App::start(options.clone()).await;
    let tokens = app.log_in("alice").await;
    let (id_token, issuer) = (tokens["id_token"].clone(), app.provider.issuer());
    drop(app);
    let app = App::start(options).await;
    assert_eq!(app.refresh(&tokens["refresh_token"]).await.0, 200);
    assert_eq!(app.claims(&json!({ "id_token": id_token }))["iss"], json!(issuer));
}

#[tokio::test]
async fn events_are_told_in_order_and_tampering_is_signed() {
    let seen: Arc<Mutex<Vec<Event>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let events: EventSink = Arc::new(move |event| locked(&sink).push(event.clone()));
    let app = App::start(ProviderOptions { events: Some(events), ..options() }).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    app.provider.tamper(Some(Arc::new(move |document, members| {
        counted.fetch_add(1, Ordering::Relaxed);
        if document == Document::IdToken {
            members.insert("aud".to_owned(), json!("somebody else"));
        }
    })));
    let tokens = app.log_in("bob").await;
    assert_eq!(app.claims(&tokens)["aud"], "somebody else");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    app.refresh(&tokens["refresh_token"]).await;
    let bob = || "bob".to_owned();
    assert_eq!(*locked(&seen), [Event::Login { user: bob() }, Event::Refresh { user: bob() }]);
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let options = ProviderOptions { listen: SocketAddr::from(([0, 0, 0, 0], 0)), ..options() };
    assert!(matches!(Provider::start(options).await, Err(ProviderError::NotLoopback(_))));
}

impl App {
    async fn introspect(&self, token: &Value) -> Value {
        let form = [("token", token.as_str().unwrap())];
        let request = self.http.post(self.at(Endpoint::Introspection)).form(&form);
        let response = request.basic_auth("app", Some("s%3Ae%2Bc+r%25t")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }
}

#[tokio::test]
async fn a_machine_gets_a_token_for_itself_and_no_more() {
    let app = App::start(options()).await;
    let ask = |more| {
        let form = [("grant_type", "client_credentials"), ("scope", "read"), more];
        let app = &app;
        async move { app.token(&form).await.1 }
    };
    let opaque = ask(("audience", "")).await;
    assert!(opaque.get("refresh_token").is_none() && opaque.get("id_token").is_none(), "{opaque}");
    let answer = app.introspect(&opaque["access_token"]).await;
    assert_eq!(
        (&answer["active"], &answer["sub"], &answer["scope"]),
        (&json!(true), &json!("app"), &json!("read"))
    );
    assert!(answer.get("aud").is_none());
    assert_eq!(app.userinfo(&opaque["access_token"]).await.status(), 401);

    for more in [("audience", "https://api"), ("resource", "https://api")] {
        let signed = ask(more).await;
        let token = signed["access_token"].as_str().unwrap();
        assert_eq!(jsonwebtoken::decode_header(token).unwrap().typ.as_deref(), Some("at+jwt"));
        let claims = locked(&app.provider.shared.keys).open(token).unwrap();
        assert_eq!(
            (&claims["aud"], &claims["sub"], &claims["client_id"]),
            (&json!("https://api"), &json!("app"), &json!("app"))
        );
        assert!(["iss", "exp", "iat", "jti"].iter().all(|name| claims.contains_key(*name)), "{claims:?}");
        assert_eq!(app.introspect(&signed["access_token"]).await["aud"], "https://api");
    }
    assert_eq!(app.provider.counters().get("grant:client_credentials:ok"), 3);
}

#[tokio::test]
async fn a_person_who_logs_in_for_an_audience_gets_a_token_for_it() {
    let app = App::start(options()).await;
    let (callback, _) = app.pick(&[("user", "alice"), ("audience", "https://api")]).await;
    let (_, tokens) = app.exchange(&callback["code"]).await;
    let token = tokens["access_token"].as_str().unwrap();
    let claims = locked(&app.provider.shared.keys).open(token).unwrap();
    assert_eq!((&claims["sub"], &claims["groups"]), (&json!("alice"), &json!(["dev/backend", "ops"])));
    assert_eq!(app.claims(&tokens)["at_hash"], json!(keys::half_sha256_text(token)));
    assert_eq!(app.userinfo(&tokens["access_token"]).await.status(), 200);
    let (_, renewed) = app.refresh(&tokens["refresh_token"]).await;
    assert_ne!(renewed["access_token"], tokens["access_token"]);
    assert!(renewed["access_token"].as_str().unwrap().starts_with("eyJ"));
}

#[tokio::test]
async fn introspection_tells_the_truth_to_clients_only() {
    let app = App::start(options()).await;
    let tokens = app.log_in("alice").await;
    let answer = app.introspect(&tokens["access_token"]).await;
    assert_eq!(
        (&answer["active"], &answer["sub"], &answer["email"]),
        (&json!(true), &json!("alice"), &json!("alice@example.test"))
    );
    app.provider.expire_access_tokens();
    assert_eq!(app.introspect(&tokens["access_token"]).await, json!({ "active": false }));
    assert_eq!(app.introspect(&json!("never issued")).await, json!({ "active": false }));
    let form = [("token", tokens["access_token"].as_str().unwrap())];
    let response = app.http.post(app.at(Endpoint::Introspection)).form(&form).send().await.unwrap();
    assert_eq!(response.status(), 401);
}
