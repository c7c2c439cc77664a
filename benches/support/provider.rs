//! A provider that says of its users whatever it is told to say.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::{LOCATION, SET_COOKIE};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis::net::LocalResponse;
use portcullis::oidc::{Decision, Policy, RequestParts};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{CLIENT, browser, random, request};

/// How long what it signs is good.
const LIFE: Duration = Duration::from_secs(36_000);

/// Metadata, keys and tokens, at a port of its own.
pub struct Provider {
    pub issuer: String,
    key: EncodingKey,
    /// What the token endpoint answers.
    tokens: Arc<Mutex<Value>>,
}

impl Provider {
    /// Runs as long as the runtime.
    pub async fn start() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let (x, y) = pair.public_key().as_ref().split_at(1).1.split_at(32);
        let jwks = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)}]});
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let metadata = json!({"issuer": issuer, "authorization_endpoint": format!("{issuer}/a"),
            "token_endpoint": format!("{issuer}/t"), "jwks_uri": format!("{issuer}/jwks")});
        let tokens = Arc::new(Mutex::new(Value::Null));
        let answer = |value: Value| get(move || std::future::ready(Json(value.clone())));
        let given = Arc::clone(&tokens);
        let given = move || std::future::ready(Json(locked(&given).clone()));
        let app = Router::new()
            .route("/.well-known/openid-configuration", answer(metadata))
            .route("/jwks", answer(jwks))
            .route("/t", post(given));
        drop(tokio::spawn(async move { axum::serve(listener, app).await }));
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("PKCS #8").as_ref());
        Self { issuer, key, tokens }
    }

    /// A token of this type that says `claims` beside who signed it and when.
    pub fn sign(&self, typ: &str, claims: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
        let mut claims = claims.clone();
        for (name, value) in
            [("iss", json!(self.issuer)), ("iat", json!(now)), ("exp", json!(now + LIFE.as_secs()))]
        {
            claims[name] = value;
        }
        let mut header = Header::new(Algorithm::ES256);
        (header.typ, header.kid) = (Some(typ.to_owned()), Some("1".to_owned()));
        jsonwebtoken::encode(&header, &claims, &self.key).expect("a token")
    }

    /// Logs in a user of whom the ID token says `claims`; gives the value of `Cookie` that the browser sends from then on.
    pub async fn login(&self, policy: &Policy, claims: &Value) -> String {
        let headers = browser("");
        let started = loop {
            let answer = answer(policy, &request(&headers)).await;
            if answer.status == StatusCode::FOUND {
                break answer;
            }
            // The provider is not known yet.
            tokio::task::yield_now().await;
        };
        let asked = asked(&started);
        let mut claims = claims.clone();
        (claims["aud"], claims["nonce"]) = (CLIENT.into(), asked("nonce").into());
        *locked(&self.tokens) = json!({
            "token_type": "Bearer", "expires_in": LIFE.as_secs(), "id_token": self.sign("JWT", &claims),
            "access_token": random(1000), "refresh_token": random(700),
        });
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.append_pair("code", "code").append_pair("state", &asked("state")).finish();
        let headers = browser(&cookies(&started));
        let callback = RequestParts { path: "/oauth2/callback", query: Some(&query), ..request(&headers) };
        let done = answer(policy, &callback).await;
        assert_eq!(done.status, StatusCode::FOUND, "{}", String::from_utf8_lossy(&done.body));
        cookies(&done)
    }
}

fn locked(tokens: &Mutex<Value>) -> std::sync::MutexGuard<'_, Value> {
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(policy: &Policy, request: &RequestParts<'_>) -> LocalResponse {
    match policy.decide(request, SystemTime::now()).await {
        Decision::Respond(answer) => answer,
        Decision::Forward(_) => panic!("let pass without a login"),
    }
}

/// The parameters of an authorization request, by name.
fn asked(answer: &LocalResponse) -> impl Fn(&str) -> String {
    let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok()).expect("a place");
    let url = url::Url::parse(location).expect("a URL");
    move |name| url.query_pairs().find(|(known, _)| known == name).expect("a parameter").1.into_owned()
}

/// What a browser sends after this answer.
fn cookies(answer: &LocalResponse) -> String {
    let lines = answer.headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().expect("ASCII"));
    let kept = lines.filter(|line| !line.contains("Max-Age=0"));
    kept.filter_map(|line| line.split(';').next()).collect::<Vec<_>>().join("; ")
}
