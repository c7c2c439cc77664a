//! RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0), without asking back.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use url::Url;

use super::authorize::{LOGIN_COOKIE, Parameters, current_login, parameters, see_other};
use super::{Event, Shared, locked};
use crate::demo::html::page;

/// GET /logout
pub(super) async fn by_query(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    log_out(&shared, &query.unwrap_or_default(), &headers).await
}

/// POST /logout
pub(super) async fn by_form(State(shared): State<Arc<Shared>>, headers: HeaderMap, form: String) -> Response {
    log_out(&shared, &form, &headers).await
}

async fn log_out(shared: &Shared, text: &str, headers: &HeaderMap) -> Response {
    let Some(parameters) = parameters(text) else {
        return page(
            StatusCode::BAD_REQUEST,
            "This logout cannot be done",
            "<p>A parameter occurs twice.</p>",
        );
    };
    let hint = parameters.get("id_token_hint").and_then(|token| locked(&shared.keys).open(token));
    let hinted = |claim: &str| hint.as_ref()?.get(claim)?.as_str().map(str::to_owned);
    let mut sids: Vec<String> = current_login(shared, headers).map(|login| login.sid).into_iter().collect();
    sids.extend(hinted("sid"));
    sids.dedup();
    for sid in sids {
        let ended = locked(&shared.ledger).log_out(&sid);
        if let Some(login) = ended {
            shared.emit(&Event::Logout { user: login.user });
        }
    }
    shared.save().await;
    let client = parameters.get("client_id").cloned().or_else(|| hinted("azp")).or_else(|| hinted("aud"));
    let mut response = match target(shared, &parameters, client.as_deref()) {
        Some(target) => see_other(&target),
        None => {
            page(StatusCode::OK, "You are logged out", "<p>The demo's OpenID provider has forgotten you.</p>")
        }
    };
    let gone = format!("{LOGIN_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    if let Ok(gone) = HeaderValue::from_str(&gone) {
        response.headers_mut().append(header::SET_COOKIE, gone);
    }
    response
}

/// Where the browser goes next: only to an address that the client registered.
fn target(shared: &Shared, parameters: &Parameters, client: Option<&str>) -> Option<String> {
    let asked = parameters.get("post_logout_redirect_uri")?;
    let client = shared.client(client?)?;
    client.post_logout_redirect_uris.iter().find(|known| *known == asked)?;
    let mut target = Url::parse(asked).ok()?;
    if let Some(state) = parameters.get("state") {
        target.query_pairs_mut().append_pair("state", state);
    }
    Some(target.into())
}
