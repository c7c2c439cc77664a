//! The userinfo endpoint (OpenID Connect Core 5.3) and token revocation (RFC 7009).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::token::{Authenticated, OAuthError, no_store};
use super::{Document, Event, Shared, claims, locked};

/// GET or POST /userinfo
pub(super) async fn userinfo(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let now = shared.now();
    let grant =
        bearer(&headers).and_then(|token| locked(&shared.ledger).by_access_token(token, now).cloned());
    let Some((grant, user)) = grant.and_then(|grant| shared.user(&grant.user).map(|user| (grant, user)))
    else {
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        let headers = [(header::WWW_AUTHENTICATE, challenge)];
        return no_store((StatusCode::UNAUTHORIZED, headers).into_response());
    };
    let mut members = claims::of_scopes(user, &grant.scope);
    members.insert("sub".to_owned(), json!(grant.user));
    let members = shared.tampered(Document::Userinfo, members);
    no_store(Json(Value::Object(members)).into_response())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// POST /revoke: 200 for every token, known or not (RFC 7009 section 2.2).
pub(super) async fn revoke(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, OAuthError> {
    let request = Authenticated::read(&shared, &headers, &body)?;
    let token = request.get("token")?;
    let ended = locked(&shared.ledger).revoke(token, &request.client.id);
    if let Some(grant) = ended {
        shared.emit(&Event::Revocation { user: grant.user });
    }
    shared.save().await;
    Ok(no_store(StatusCode::OK.into_response()))
}
