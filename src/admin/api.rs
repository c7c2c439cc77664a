//! `api@internal`. Traefik's listings of routers and services come later; here is what there is.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Access, Admin, json as json_answer, refuse_method, sessions};
use crate::net::LocalResponse;
use crate::net::internal::{InternalAnswer, InternalRequest};
use crate::observe::log::Level;

/// Answers below `api.basePath`.
pub(super) fn answer(admin: &Admin, access: Access, request: &InternalRequest<'_>) -> InternalAnswer {
    let path = request.path.strip_prefix(&*admin.api_base).unwrap_or(request.path);
    if let Some(rest) =
        path.strip_prefix(sessions::PATH).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        return sessions::answer(&admin.desk, access, rest, request);
    }
    let answer = match path {
        "/api/version" => get(request, || version(admin)),
        "/api/portcullis/errors" => get(request, || errors(admin)),
        "/api/log/level" => log_level(admin, access, request),
        _ => LocalResponse::text(StatusCode::NOT_FOUND, "404 page not found\n"),
    };
    answer.into()
}

fn get(request: &InternalRequest<'_>, body: impl FnOnce() -> Value) -> LocalResponse {
    refuse_method(request, &[Method::GET]).unwrap_or_else(|| json_answer(StatusCode::OK, &body()))
}

/// Keys as Traefik's; the name under which dashboards look is the version's own.
fn version(admin: &Admin) -> Value {
    let started = Timestamp::try_from(admin.health.started()).unwrap_or_default();
    json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "Codename": "portcullis",
        "startDate": started.to_string(),
    })
}

/// What is wrong in the current configuration, and what keeps the process from being ready.
fn errors(admin: &Admin) -> Value {
    let providers: serde_json::Map<String, Value> = admin
        .health
        .config_errors()
        .into_iter()
        .map(|(provider, errors)| {
            let errors = errors.iter().map(|error| {
                json!({
                    "at": error.at.as_ref().map(ToString::to_string),
                    "path": error.path,
                    "message": error.message,
                })
            });
            (provider, Value::Array(errors.collect()))
        })
        .collect();
    let components = admin
        .health
        .not_ready()
        .into_iter()
        .map(|problem| json!({ "component": problem.component, "reason": problem.reason }));
    json!({ "configuration": providers, "notReady": components.collect::<Vec<_>>() })
}

/// `GET` tells the level of the process log, `PUT ?level=DEBUG` changes it until the next start or SIGHUP.
///
/// A browser cannot be tricked into the change: PUT from another origin needs a preflight, which is refused.
fn log_level(admin: &Admin, access: Access, request: &InternalRequest<'_>) -> LocalResponse {
    let allowed: &[Method] =
        if access == Access::Full { &[Method::GET, Method::PUT] } else { &[Method::GET] };
    if let Some(refusal) = refuse_method(request, allowed) {
        return refusal;
    }
    if *request.method == Method::PUT {
        let query = request.query.unwrap_or_default();
        let wanted = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "level");
        let level = wanted.map_or_else(|| "".parse::<Level>(), |(_, level)| level.parse());
        match level {
            Ok(level) => {
                admin.log.set_level(level);
                tracing::warn!(level = level.as_str(), "log level changed through the API");
            }
            Err(error) => {
                return json_answer(StatusCode::BAD_REQUEST, &json!({ "error": format!("level: {error}") }));
            }
        }
    }
    json_answer(StatusCode::OK, &json!({ "level": admin.log.level().as_str() }))
}
