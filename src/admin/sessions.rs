//! `/api/portcullis/sessions`: the sessions of the store, listed and revoked.

use std::sync::{Arc, OnceLock};

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Access, json as json_answer, refuse_method};
use crate::net::LocalResponse;
use crate::net::internal::{InternalAnswer, InternalRequest};
use crate::oidc::session::{SessionKey, SessionView, StoreError};
use crate::oidc::{SessionDesk, Silent, Told, Via};

/// Where the API serves it.
pub(super) const PATH: &str = "/api/portcullis/sessions";

/// Sessions of one answer, unless told otherwise, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// The desk, once an OIDC middleware has opened the session store.
pub type Desk = Arc<OnceLock<SessionDesk>>;

/// What is asked, taken from the request before it is waited for.
enum Asked {
    List { after: Option<SessionKey>, limit: usize },
    ListUser(String),
    Revoke(SessionKey),
    RevokeUser(String),
    RevokeAll,
}

/// Answers below [`PATH`]; `rest` is what follows it.
pub(super) fn answer(
    desk: &Desk,
    access: Access,
    rest: &str,
    request: &InternalRequest<'_>,
) -> InternalAnswer {
    let allowed: &[Method] = if rest.is_empty() { &[Method::GET, Method::DELETE] } else { &[Method::DELETE] };
    if let Some(refusal) = refuse_method(request, allowed) {
        return refusal.into();
    }
    if access != Access::Full {
        // Who is logged in is nobody's business who was not asked for a name; and nothing is ended for them.
        return fault(StatusCode::FORBIDDEN, "only where a router of the operator's leads to api@internal")
            .into();
    }
    let asked = match asked(rest, request) {
        Ok(asked) => asked,
        Err(message) => return fault(StatusCode::BAD_REQUEST, message).into(),
    };
    let via = Via { client: request.client, request_id: request.request_id.to_owned() };
    match desk.get().map(|desk| SessionDesk { via: Some(via), ..desk.clone() }) {
        Some(desk) => InternalAnswer::Later(Box::pin(async move { carry_out(&desk, asked).await })),
        None => fault(StatusCode::NOT_FOUND, "no OIDC middleware is configured").into(),
    }
}

fn asked(rest: &str, request: &InternalRequest<'_>) -> Result<Asked, &'static str> {
    let parameter = |name: &str| {
        let query = request.query.unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let key = |text: &str| SessionKey::parse(text).ok_or("a session's id has 64 hexadecimal digits");
    if let Some(id) = rest.strip_prefix('/') {
        return key(id).map(Asked::Revoke);
    }
    let user = parameter("user").filter(|user| !user.is_empty());
    if *request.method == Method::DELETE {
        return match (user, parameter("all").as_deref()) {
            (Some(user), None) => Ok(Asked::RevokeUser(user)),
            (None, Some("true")) => Ok(Asked::RevokeAll),
            _ => Err("say which: `/<id>`, `?user=` or `?all=true`"),
        };
    }
    if let Some(user) = user {
        return Ok(Asked::ListUser(user));
    }
    let limit = match parameter("limit") {
        None => PAGE,
        Some(text) => {
            text.parse().ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit)).ok_or("limit: 1 to 1000")?
        }
    };
    Ok(Asked::List { after: parameter("after").map(|text| key(&text)).transpose()?, limit })
}

async fn carry_out(desk: &SessionDesk, asked: Asked) -> LocalResponse {
    match asked {
        Asked::List { after, limit } => {
            let told = desk.list(after.as_ref(), limit).await;
            let next = told.said.last().filter(|_| told.said.len() == limit).map(|view| view.key.to_text());
            listing(desk, &told, next)
        }
        Asked::ListUser(user) => listing(desk, &desk.of_user(&user).await, None),
        Asked::Revoke(key) => {
            let told = desk.revoke(&key).await;
            if !told.said && told.silent.is_empty() {
                return fault(StatusCode::NOT_FOUND, "there is no such session");
            }
            revoked(usize::from(told.said), &told.silent)
        }
        Asked::RevokeUser(user) => {
            let told = desk.revoke_user(&user).await;
            revoked(told.said, &told.silent)
        }
        Asked::RevokeAll => {
            let told = desk.revoke_all().await;
            revoked(told.said, &told.silent)
        }
    }
}

/// What the stores know that could be asked. If none could there is nothing to show.
fn listing(desk: &SessionDesk, told: &Told<Vec<SessionView>>, next: Option<String>) -> LocalResponse {
    let sessions: Vec<Value> = told.said.iter().map(|view| describe(desk, view)).collect();
    let status =
        if told.answered > 0 || told.silent.is_empty() { StatusCode::OK } else { away(&told.silent) };
    complete(status, json!({ "sessions": sessions, "next": next }), &told.silent)
}

/// Whoever looks at the status alone must not take for ended what lives on in a store that was not reached.
fn revoked(count: usize, silent: &[Silent]) -> LocalResponse {
    let status = if silent.is_empty() { StatusCode::OK } else { away(silent) };
    complete(status, json!({ "revoked": count }), silent)
}

fn away(silent: &[Silent]) -> StatusCode {
    let cannot = |silent: &Silent| matches!(silent.error, StoreError::Unsupported(_));
    if silent.iter().all(cannot) { StatusCode::NOT_IMPLEMENTED } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Adds the stores that were not reached, if there are any.
fn complete(status: StatusCode, mut answer: Value, silent: &[Silent]) -> LocalResponse {
    let failed: Vec<Value> = silent.iter().map(told).collect();
    if let Some(members) = answer.as_object_mut().filter(|_| !failed.is_empty()) {
        members.insert("error".to_owned(), json!("not every session store could be asked"));
        members.insert("failed".to_owned(), Value::Array(failed));
    }
    json_answer(status, &answer)
}

fn told(silent: &Silent) -> Value {
    let Silent { store, error, pending } = silent;
    json!({ "store": store, "error": error.to_string(), "pending": pending })
}

/// Names without a value are unknown: no request has brought the session here since the start.
fn describe(desk: &SessionDesk, view: &SessionView) -> Value {
    let known = view.known.as_ref();
    let profile = known.map(|entry| entry.profile());
    json!({
        "id": view.key.to_text(),
        "expires": Timestamp::try_from(view.expires).map(|time| time.to_string()).ok(),
        "provider": known.and_then(|entry| desk.directory.issuer(entry.scope())),
        "user": profile.as_ref().map(|profile| profile.identifier().to_owned()),
        "subject": profile.as_ref().map(|profile| profile.subject().to_owned()),
        "lastSeen": known.and_then(|entry| entry.last_seen()).and_then(|time| Timestamp::try_from(time).ok())
            .map(|time| time.to_string()),
    })
}

fn fault(status: StatusCode, message: &str) -> LocalResponse {
    json_answer(status, &json!({ "error": message }))
}
