//! Token introspection (RFC 7662).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::ledger::{Grant, Millis};
use super::token::{Authenticated, OAuthError, no_store};
use super::{Document, Shared, claims, locked};

/// POST /introspect: any client that proves itself may ask about any access token.
pub(super) async fn introspect(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, OAuthError> {
    let request = Authenticated::read(&shared, &headers, &body)?;
    let token = request.get("token")?;
    let known = locked(&shared.ledger)
        .living_access_token(token, shared.now())
        .map(|(grant, expires)| (grant.clone(), expires));
    let members = match known {
        Some((grant, expires)) => members(&shared, &grant, expires),
        None => Map::from_iter([("active".to_owned(), json!(false))]),
    };
    let members = shared.tampered(Document::Introspection, members);
    Ok(no_store(Json(Value::Object(members)).into_response()))
}

/// Section 2.2, with the claims of the person beside it.
fn members(shared: &Shared, grant: &Grant, expires: Millis) -> Map<String, Value> {
    let members = json!({
        "active": true,
        "iss": shared.issuer(),
        "sub": grant.user,
        "client_id": grant.client,
        "scope": grant.scope,
        "token_type": "Bearer",
        "exp": expires / 1000,
    });
    let mut members: Map<String, Value> = members.as_object().cloned().unwrap_or_default();
    if let Some(audience) = &grant.audience {
        members.insert("aud".to_owned(), json!(audience));
    }
    let user = shared.user(&grant.user).filter(|_| !grant.is_machine());
    members.extend(user.map(|user| claims::of_scopes(user, &grant.scope)).into_iter().flatten());
    members
}
