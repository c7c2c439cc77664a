//! `/ping`, `/readyz` and `/livez`. One internal service, `ping@internal`, answers all three by path.

use http::StatusCode;
use serde_json::json;

use super::{Health, json as json_answer};
use crate::net::LocalResponse;
use crate::net::internal::InternalRequest;

/// `/readyz`: may requests be sent here? `/livez`: should the process be left running? Any other path is
/// Traefik's ping: is shutdown far away?
pub(super) fn answer(
    health: &Health,
    terminating: StatusCode,
    request: &InternalRequest<'_>,
) -> LocalResponse {
    match request.path.rsplit('/').next() {
        Some("readyz") => ready(health),
        Some("livez") => alive(health),
        _ => ping(health, terminating),
    }
}

fn ping(health: &Health, terminating: StatusCode) -> LocalResponse {
    if health.is_draining() {
        LocalResponse::text(terminating, terminating.canonical_reason().unwrap_or_default())
    } else {
        LocalResponse::text(StatusCode::OK, "OK")
    }
}

fn ready(health: &Health) -> LocalResponse {
    let reasons = health.not_ready();
    let problems: Vec<_> = reasons
        .iter()
        .map(|problem| json!({ "component": problem.component, "reason": problem.reason }))
        .collect();
    let (code, status) = verdict(problems.is_empty(), "ready", "not ready");
    json_answer(code, &json!({ "status": status, "problems": problems }))
}

fn alive(health: &Health) -> LocalResponse {
    let (code, status) = verdict(health.is_alive(), "alive", "requests do not get through the process");
    json_answer(code, &json!({ "status": status }))
}

fn verdict(good: bool, yes: &'static str, no: &'static str) -> (StatusCode, &'static str) {
    if good { (StatusCode::OK, yes) } else { (StatusCode::SERVICE_UNAVAILABLE, no) }
}
