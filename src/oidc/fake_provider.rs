//! An OpenID provider for tests, with faults on demand. It keeps no user: the test says what
//! tokens hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::extract::{Form, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::clock::{Clock, ManualClock};

/// A signing key.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    key: jsonwebtoken::EncodingKey,
    pub(crate) jwk: Value,
}

impl SigningKey {
    pub(crate) fn new(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
        let key = jsonwebtoken::EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
        Self { kid: kid.into(), key, jwk }
    }

    pub(crate) fn sign(&self, header: Value, claims: &Map<String, Value>) -> String {
        self.sign_text(header, &Value::Object(claims.clone()).to_string())
    }

    /// Signs a payload as it is.
    pub(crate) fn sign_text(&self, header: Value, payload: &str) -> String {
        let mut full = json!({"alg": "ES256", "kid": self.kid});
        full.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
        full.as_object_mut().unwrap().retain(|_, v| !v.is_null());
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", encode(&full.to_string()), encode(payload));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, jsonwebtoken::Algorithm::ES256)
                .unwrap();
        format!("{message}.{signature}")
    }
}

/// Changes claims before they are signed.
pub(crate) type Change = Box<dyn Fn(&mut Map<String, Value>) + Send>;

/// What the provider does. Tests change it while it runs.
pub(crate) struct Script {
    pub(crate) keys: Vec<SigningKey>,
    /// Published instead of the keys' own.
    pub(crate) jwks: Option<Value>,
    pub(crate) jwks_delay: Duration,
    pub(crate) issuer: String,
    pub(crate) metadata: Map<String, Value>,
    /// Status of discovery; 200 if none.
    pub(crate) discovery_status: Option<u16>,
    /// The query of the last discovery.
    pub(crate) last_discovery: Option<String>,
    pub(crate) claims: Map<String, Value>,
    pub(crate) change: Option<Change>,
    /// Members of the token's header; null removes one.
    pub(crate) header: Value,
    /// The whole ID token, as it is.
    pub(crate) id_token: Option<String>,
    pub(crate) no_id_token: bool,
    pub(crate) no_refresh_token: bool,
    /// The whole answer of the token endpoint.
    pub(crate) token_answer: Option<(u16, &'static str, String)>,
    pub(crate) token_delay: Duration,
    pub(crate) expires_in: Value,
    /// Makes access tokens JWTs, for this audience.
    pub(crate) access_audience: Option<Value>,
    pub(crate) userinfo: (u16, Value),
    /// The answer to a pushed authorization request.
    pub(crate) pushed_answer: Option<(u16, Value)>,
    pub(crate) userinfo_jwt: Option<String>,
    /// What introspection says of every token.
    pub(crate) introspection: (u16, Value),
    pub(crate) introspection_delay: Duration,
    pub(crate) counts: HashMap<&'static str, usize>,
    pub(crate) last_form: HashMap<String, String>,
    pub(crate) last_authorization: Option<String>,
    /// code → nonce
    codes: HashMap<String, String>,
    refresh_tokens: Vec<String>,
    pub(crate) revoked: Vec<String>,
    /// Who has revoked each of them.
    pub(crate) revokers: Vec<Option<String>>,
    /// Who tokens are for: the last client that has registered.
    pub(crate) audience: String,
    /// The answer to a registration, in place of a client.
    pub(crate) registration_answer: Option<(u16, Value)>,
    /// Members of the next clients.
    pub(crate) registered: Map<String, Value>,
    /// The last registration: what was sent, and by which right.
    pub(crate) last_registration: Option<(Value, Option<String>)>,
    /// Status of deletions of clients; 204 if none.
    pub(crate) unregister_status: Option<u16>,
    /// The clients that were deleted, and by which right.
    pub(crate) unregistered: Vec<(usize, String)>,
    serial: usize,
    /// What tokens are dated by.
    pub(crate) clock: Option<Arc<ManualClock>>,
}

/// The running provider.
#[derive(Clone)]
pub(crate) struct FakeProvider {
    script: Arc<Mutex<Script>>,
    pub(crate) issuer: String,
}

impl FakeProvider {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let provider = Self::new(issuer);
        let app = provider.app();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        provider
    }

    /// A provider that is not listening yet, at an address that is free.
    pub(crate) async fn stopped() -> (Self, std::net::SocketAddr) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self::new(format!("http://{address}")), address)
    }

    pub(crate) async fn listen(&self, address: std::net::SocketAddr) {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let app = self.app();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    }

    fn new(issuer: String) -> Self {
        let claims = json!({"sub": "alice", "email": "alice@example.com", "groups": ["dev", "ops"], "roles": ["admin"]});
        let script = Script {
            keys: vec![SigningKey::new("key-1")],
            jwks: None,
            jwks_delay: Duration::ZERO,
            issuer: issuer.clone(),
            metadata: Map::new(),
            discovery_status: None,
            last_discovery: None,
            claims: claims.as_object().unwrap().clone(),
            change: None,
            header: json!({}),
            id_token: None,
            no_id_token: false,
            no_refresh_token: false,
            token_answer: None,
            token_delay: Duration::ZERO,
            expires_in: json!(300),
            access_audience: None,
            userinfo: (200, json!({"sub": "alice"})),
            userinfo_jwt: None,
            pushed_answer: None,
            introspection: (200, json!({"active": true})),
            introspection_delay: Duration::ZERO,
            counts: HashMap::new(),
            last_form: HashMap::new(),
            last_authorization: None,
            codes: HashMap::new(),
            refresh_tokens: Vec::new(),
            revoked: Vec::new(),
            revokers: Vec::new(),
            audience: "client".to_owned(),
            registration_answer: None,
            registered: Map::new(),
            last_registration: None,
            unregister_status: None,
            unregistered: Vec::new(),
            serial: 0,
            clock: None,
        };
        Self { script: Arc::new(Mutex::new(script)), issuer }
    }

    fn app(&self) -> axum::Router {
        axum::Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .route("/revoke", post(revoke))
            .route("/par", post(pushed))
            .route("/introspect", post(introspect))
            .route("/register", post(register))
            .route("/register/{number}", axum::routing::delete(unregister))
            .with_state(Arc::clone(&self.script))
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(crate) fn count(&self, what: &'static str) -> usize {
        self.script().counts.get(what).copied().unwrap_or_default()
    }

    /// What the authorization endpoint does once the user has logged in: a code for this nonce.
    pub(crate) fn code(&self, nonce: &str) -> String {
        let mut script = self.script();
        script.serial += 1;
        let code = format!("code {}&", script.serial);
        script.codes.insert(code.clone(), nonce.to_owned());
        code
    }
}

type Shared = State<Arc<Mutex<Script>>>;

fn count(script: &mut Script, what: &'static str) {
    *script.counts.entry(what).or_default() += 1;
}

async fn discovery(State(script): Shared, RawQuery(query): RawQuery) -> Response {
    let mut script = script.lock().unwrap();
    script.last_discovery = query;
    count(&mut script, "discovery");
    let at = |path: &str| format!("{}{path}", script.issuer.trim_end_matches('/'));
    let mut document = json!({
        "issuer": script.issuer, "authorization_endpoint": at("/authorize?realm=x"), "token_endpoint": at("/token"), "jwks_uri": at("/jwks"),
        "userinfo_endpoint": at("/userinfo"), "end_session_endpoint": at("/end"), "revocation_endpoint": at("/revoke"),
        "introspection_endpoint": at("/introspect"),
    });
    document.as_object_mut().unwrap().extend(script.metadata.clone());
    document.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let status = StatusCode::from_u16(script.discovery_status.unwrap_or(200)).unwrap();
    (status, axum::Json(document)).into_response()
}

async fn jwks(State(script): Shared) -> Response {
    let delay = {
        let mut script = script.lock().unwrap();
        count(&mut script, "jwks");
        script.jwks_delay
    };
    tokio::time::sleep(delay).await;
    let script = script.lock().unwrap();
    let keys: Vec<Value> = script.keys.iter().map(|key| key.jwk.clone()).collect();
    axum::Json(script.jwks.clone().unwrap_or(json!({ "keys": keys }))).into_response()
}

async fn token(
    State(script): Shared,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let delay = {
        let mut script = script.lock().unwrap();
        count(&mut script, "asked");
        script.token_delay
    };
    tokio::time::sleep(delay).await;
    let mut script = script.lock().unwrap();
    count(&mut script, "token");
    script.last_authorization = headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
    script.last_form = form.clone();
    if let Some((status, media_type, body)) = script.token_answer.clone() {
        return (StatusCode::from_u16(status).unwrap(), [("content-type", media_type)], body).into_response();
    }
    let refused = || (StatusCode::BAD_REQUEST, axum::Json(json!({"error": "invalid_grant"}))).into_response();
    let nonce = match form.get("grant_type").map(String::as_str) {
        Some("authorization_code") => {
            match script.codes.remove(form.get("code").map_or("", String::as_str)) {
                Some(nonce) => Some(nonce),
                None => return refused(),
            }
        }
        _ => {
            let token = form.get("refresh_token").cloned().unwrap_or_default();
            let Some(at) = script.refresh_tokens.iter().position(|known| *known == token) else {
                return refused();
            };
            script.refresh_tokens.remove(at);
            count(&mut script, "refreshed");
            None
        }
    };
    axum::Json(answer(&mut script, nonce)).into_response()
}

fn answer(script: &mut Script, nonce: Option<String>) -> Value {
    script.serial += 1;
    let now = script
        .clock
        .as_ref()
        .map_or_else(SystemTime::now, |clock| clock.now())
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let access_token = access_token(script, now);
    let mut claims = script.claims.clone();
    claims.extend(
        json!({"iss": script.issuer, "aud": script.audience, "iat": now, "exp": now + 300})
            .as_object()
            .unwrap()
            .clone(),
    );
    if let Some(nonce) = nonce {
        claims.insert("nonce".into(), json!(nonce));
    }
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, access_token.as_bytes());
    claims.insert("at_hash".into(), json!(URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])));
    if let Some(change) = &script.change {
        change(&mut claims);
    }
    let id_token =
        script.id_token.clone().unwrap_or_else(|| script.keys[0].sign(script.header.clone(), &claims));
    let mut answer =
        json!({"access_token": access_token, "token_type": "bearer", "expires_in": script.expires_in});
    if !script.no_id_token {
        answer["id_token"] = json!(id_token);
    }
    if !script.no_refresh_token {
        let token = format!("refresh-{}", script.serial);
        script.refresh_tokens.push(token.clone());
        answer["refresh_token"] = json!(token);
    }
    answer
}

fn access_token(script: &Script, now: u64) -> String {
    let Some(audience) = &script.access_audience else { return format!("access-{}", script.serial) };
    let claims = json!({"iss": script.issuer, "aud": audience, "sub": script.claims["sub"], "client_id": script.audience,
        "jti": script.serial.to_string(), "iat": now, "exp": now + 300});
    script.keys[0].sign(json!({"typ": "at+jwt"}), claims.as_object().unwrap())
}

async fn userinfo(State(script): Shared, headers: HeaderMap) -> Response {
    let mut script = script.lock().unwrap();
    count(&mut script, "userinfo");
    assert!(headers["authorization"].to_str().unwrap().starts_with("Bearer access-"));
    if let Some(jwt) = script.userinfo_jwt.clone() {
        return ([("content-type", "application/jwt")], jwt).into_response();
    }
    let (status, body) = script.userinfo.clone();
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

async fn pushed(State(script): Shared, Form(form): Form<HashMap<String, String>>) -> Response {
    let mut script = script.lock().unwrap();
    count(&mut script, "pushed");
    script.last_form = form;
    let reference = json!({"request_uri": "urn:example:1", "expires_in": 60});
    let (status, body) = script.pushed_answer.clone().unwrap_or((201, reference));
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

async fn introspect(
    State(script): Shared,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let delay = {
        let mut script = script.lock().unwrap();
        count(&mut script, "introspect");
        script.introspection_delay
    };
    tokio::time::sleep(delay).await;
    let mut script = script.lock().unwrap();
    script.last_authorization = headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
    script.last_form = form;
    let (status, body) = script.introspection.clone();
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

async fn register(
    State(script): Shared,
    headers: HeaderMap,
    axum::Json(asked): axum::Json<Map<String, Value>>,
) -> Response {
    let mut script = script.lock().unwrap();
    count(&mut script, "register");
    let right = headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
    script.last_registration = Some((Value::Object(asked.clone()), right));
    if let Some((status, body)) = script.registration_answer.clone() {
        return (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response();
    }
    let number = script.counts["register"];
    script.audience = format!("client-{number}");
    let mut client = asked;
    client.insert("client_id".into(), json!(script.audience));
    client.insert("client_secret".into(), json!(format!("secret-{number}")));
    client.insert("client_secret_expires_at".into(), json!(0));
    client.insert("registration_client_uri".into(), json!(format!("{}/register/{number}", script.issuer)));
    client.insert("registration_access_token".into(), json!(format!("manage-{number}")));
    client.extend(script.registered.clone());
    (StatusCode::CREATED, axum::Json(client)).into_response()
}

async fn unregister(
    State(script): Shared,
    headers: HeaderMap,
    axum::extract::Path(number): axum::extract::Path<usize>,
) -> StatusCode {
    let mut script = script.lock().unwrap();
    count(&mut script, "unregister");
    let status = StatusCode::from_u16(script.unregister_status.unwrap_or(204)).unwrap();
    if status.is_success() {
        let right = headers["authorization"].to_str().unwrap().to_owned();
        script.unregistered.push((number, right));
    }
    status
}

async fn revoke(
    State(script): Shared,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> StatusCode {
    let mut script = script.lock().unwrap();
    count(&mut script, "revoke");
    script.revokers.push(headers.get("authorization").map(|v| v.to_str().unwrap().to_owned()));
    script.revoked.push(form.get("token").cloned().unwrap_or_default());
    StatusCode::OK
}
