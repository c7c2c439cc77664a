//! The registration endpoint (RFC 7591 section 3): clients that come by themselves.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use url::Url;

use super::token::{OAuthError, no_store};
use super::{Client, Shared, keys, locked};

/// Registered clients beyond this are refused; the demo is no directory.
const MOST_CLIENTS: usize = 1_000;

/// How clients may register.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registration {
    /// Needed as a bearer token; none: everybody may.
    pub initial_access_token: Option<String>,
    /// How long the secrets live; none: without end.
    pub secret_life: Option<Duration>,
}

/// POST /register
pub(super) async fn register(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let result = match &shared.options.registration {
        Some(rules) => admitted(rules, &headers).and_then(|()| new_client(&shared, rules, &body)),
        None => Err(OAuthError::new("access_denied", "clients cannot register here")),
    };
    match result {
        Ok(members) => {
            shared.count("register:ok");
            no_store((StatusCode::CREATED, Json(Value::Object(members))).into_response())
        }
        Err(error) => {
            shared.count("register:refused");
            error.into_response()
        }
    }
}

fn admitted(rules: &Registration, headers: &HeaderMap) -> Result<(), OAuthError> {
    let Some(token) = &rules.initial_access_token else { return Ok(()) };
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match shown.and_then(|value| value.strip_prefix("Bearer ")) == Some(token) {
        true => Ok(()),
        false => Err(OAuthError::new("invalid_client", "the initial access token is missing or wrong")),
    }
}

fn new_client(shared: &Shared, rules: &Registration, body: &str) -> Result<Map<String, Value>, OAuthError> {
    let bad = |what: &str| OAuthError::new("invalid_client_metadata", what);
    let mut members: Map<String, Value> =
        serde_json::from_str(body).map_err(|_| bad("the request is no JSON object"))?;
    let strings = |name: &str| -> Option<Vec<String>> {
        let list = members.get(name)?.as_array()?;
        list.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let redirect_uris = strings("redirect_uris").filter(|uris| !uris.is_empty());
    let redirect_uris = redirect_uris
        .filter(|uris| uris.iter().all(|uri| Url::parse(uri).is_ok_and(|url| url.has_host())))
        .ok_or_else(|| OAuthError::new("invalid_redirect_uri", "redirect_uris must be a list of URLs"))?;
    match members.get("token_endpoint_auth_method").map(|method| method.as_str().unwrap_or_default()) {
        None | Some("client_secret_basic" | "client_secret_post") => {}
        Some(_) => return Err(bad("token_endpoint_auth_method is not supported")),
    }
    let unlucky = |_| OAuthError::new("server_error", "no random numbers");
    let client = Client {
        id: keys::random_text().map_err(unlucky)?,
        secret: keys::random_text().map_err(unlucky)?,
        redirect_uris,
        post_logout_redirect_uris: strings("post_logout_redirect_uris").unwrap_or_default(),
    };
    let issued = shared.now() / 1000;
    let end = rules.secret_life.map_or(0, |life| issued.saturating_add(life.as_secs()));
    members.entry("token_endpoint_auth_method").or_insert_with(|| json!("client_secret_basic"));
    members.insert("client_id".to_owned(), json!(client.id));
    members.insert("client_id_issued_at".to_owned(), json!(issued));
    members.insert("client_secret".to_owned(), json!(client.secret));
    members.insert("client_secret_expires_at".to_owned(), json!(end));
    let mut clients = locked(&shared.clients);
    if clients.len() >= MOST_CLIENTS {
        return Err(OAuthError::new("temporarily_unavailable", "there are too many clients"));
    }
    clients.push(client);
    Ok(members)
}
