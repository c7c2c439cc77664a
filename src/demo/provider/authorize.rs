//! The authorization endpoint (RFC 6749 section 4.1.1, OpenID Connect Core 3.1.2) and its login page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use cookie::Cookie;
use url::Url;

use super::ledger::{Code, Grant, Login};
use super::{Shared, access_token, locked};
use crate::demo::html::page;
use crate::net::html::escape;

/// The provider's own login cookie. The edge of the demo has another host name, so the two never meet.
pub(super) const LOGIN_COOKIE: &str = "demo_provider_login";

/// A parameter list without duplicates (RFC 6749 section 3.1).
pub(super) type Parameters = BTreeMap<String, String>;

/// Reads a query or a form; none when a name occurs twice.
pub(super) fn parameters(text: &str) -> Option<Parameters> {
    let mut read = Parameters::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        if read.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    Some(read)
}

/// Sends the browser on with GET.
pub(super) fn see_other(target: &str) -> Response {
    let mut response = Response::default();
    let Ok(location) = HeaderValue::from_str(target) else {
        return page(
            StatusCode::BAD_REQUEST,
            "Bad address",
            "<p>The address to go back to is not valid.</p>",
        );
    };
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The login that the browser's cookie names.
pub(super) fn current_login(shared: &Shared, headers: &HeaderMap) -> Option<Login> {
    let ledger = locked(&shared.ledger);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| Cookie::split_parse(line.to_owned()))
        .filter_map(Result::ok)
        .filter(|cookie| cookie.name() == LOGIN_COOKIE)
        .find_map(|cookie| ledger.login(cookie.value()).cloned())
}

/// GET: the browser arrives from the relying party.
pub(super) async fn ask(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    begin(&shared, &query.unwrap_or_default(), &headers).await
}

/// POST: somebody was picked on the page, or a relying party sends its request as a form.
pub(super) async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, form: String) -> Response {
    begin(&shared, &form, &headers).await
}

async fn begin(shared: &Shared, text: &str, headers: &HeaderMap) -> Response {
    let Some(mut parameters) = parameters(text) else {
        return refuse("A parameter occurs twice.");
    };
    let picked = parameters.remove("user");
    let request = match Request::check(shared, parameters) {
        Ok(request) => request,
        Err(Fault::Page(reason)) => return refuse(reason),
        Err(Fault::Redirect(target)) => return see_other(&target),
    };
    if let Some(name) = picked {
        let Some(user) = shared.user(&name) else {
            return refuse("There is no such user.");
        };
        let logged_in = locked(&shared.ledger).log_in(&user.name, shared.now());
        return match logged_in {
            Ok((cookie, login)) => with_cookie(request.finish(shared, &login).await, &cookie),
            Err(error) => see_other(&request.error(shared, error.code(), &error.to_string())),
        };
    }
    match current_login(shared, headers).filter(|_| !request.wants_page()) {
        Some(login) => request.finish(shared, &login).await,
        None if request.has_prompt("none") => {
            see_other(&request.error(shared, "login_required", "nobody is logged in here"))
        }
        None => login_page(shared, &request),
    }
}

fn refuse(reason: &str) -> Response {
    let body = format!(
        "<p>{}</p><p class=\"quiet\">The application that sent you here asked wrongly.</p>",
        escape(reason)
    );
    page(StatusCode::BAD_REQUEST, "This login cannot start", &body)
}

fn with_cookie(mut response: Response, value: &str) -> Response {
    let cookie = format!("{LOGIN_COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Why a request is not served: told on a page when the return address cannot be trusted, else there.
enum Fault {
    Page(&'static str),
    Redirect(String),
}

/// A request whose client and return address are known to belong together.
struct Request {
    parameters: Parameters,
    redirect_uri: Url,
}

impl Request {
    fn check(shared: &Shared, parameters: Parameters) -> Result<Self, Fault> {
        let get = |name: &str| parameters.get(name).map(String::as_str);
        let client =
            get("client_id").and_then(|id| shared.client(id)).ok_or(Fault::Page("The client is unknown."))?;
        let redirect_uri = get("redirect_uri")
            .filter(|uri| client.redirect_uris.iter().any(|known| known == uri))
            .and_then(|uri| Url::parse(uri).ok())
            .ok_or(Fault::Page("The redirect_uri is not registered for this client."))?;
        let request = Self { parameters, redirect_uri };
        match request.complaint() {
            Some((error, description)) => Err(Fault::Redirect(request.error(shared, error, description))),
            None => Ok(request),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// What is wrong with it, as `error` and `error_description`.
    fn complaint(&self) -> Option<(&'static str, &'static str)> {
        if self.get("request").is_some() {
            return Some(("request_not_supported", "request objects are not supported"));
        }
        if self.get("response_type") != Some("code") {
            return Some(("unsupported_response_type", "only response_type=code is supported"));
        }
        if !self.get("scope").unwrap_or_default().split(' ').any(|scope| scope == "openid") {
            return Some(("invalid_scope", "scope has no openid"));
        }
        if self.get("response_mode").is_some_and(|mode| mode != "query") {
            return Some(("invalid_request", "only response_mode=query is supported"));
        }
        // RFC 7636 section 4.2: 43 to 128 characters; S256 gives exactly 43.
        let challenge = self.get("code_challenge").unwrap_or_default();
        if self.get("code_challenge_method") != Some("S256") || challenge.len() != 43 {
            return Some(("invalid_request", "PKCE with S256 is required"));
        }
        None
    }

    fn has_prompt(&self, value: &str) -> bool {
        self.get("prompt").unwrap_or_default().split(' ').any(|prompt| prompt == value)
    }

    fn wants_page(&self) -> bool {
        self.has_prompt("login") || self.has_prompt("select_account")
    }

    fn back(&self, shared: &Shared, answer: &[(&str, &str)]) -> String {
        let mut target = self.redirect_uri.clone();
        {
            let mut query = target.query_pairs_mut();
            query.extend_pairs(answer);
            if let Some(state) = self.get("state") {
                query.append_pair("state", state);
            }
            if !shared.quirks().no_callback_issuer {
                query.append_pair("iss", &shared.issuer());
            }
        }
        target.into()
    }

    fn error(&self, shared: &Shared, error: &str, description: &str) -> String {
        self.back(shared, &[("error", error), ("error_description", description)])
    }

    /// Issues the code and sends the browser back.
    async fn finish(&self, shared: &Shared, login: &Login) -> Response {
        let grant = Grant {
            client: self.get("client_id").unwrap_or_default().to_owned(),
            user: login.user.clone(),
            sid: login.sid.clone(),
            scope: self.get("scope").unwrap_or_default().to_owned(),
            auth_time: login.since,
            audience: access_token::audience(&self.parameters),
        };
        let code = Code {
            grant,
            nonce: self.get("nonce").map(str::to_owned),
            redirect_uri: self.get("redirect_uri").unwrap_or_default().to_owned(),
            challenge: self.get("code_challenge").unwrap_or_default().to_owned(),
        };
        let issued = locked(&shared.ledger).issue_code(code, shared.now());
        shared.save().await;
        match issued {
            Ok(code) => see_other(&self.back(shared, &[("code", &code)])),
            Err(error) => see_other(&self.error(shared, error.code(), &error.to_string())),
        }
    }
}

fn login_page(shared: &Shared, request: &Request) -> Response {
    let mut form = String::from("<form method=\"post\" action=\"/authorize\">\n");
    for (name, value) in &request.parameters {
        let _ =
            writeln!(form, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(name), escape(value));
    }
    for user in &shared.options.users {
        let _ = writeln!(
            form,
            "<button class=\"choice\" type=\"submit\" name=\"user\" value=\"{name}\"><strong>{display}</strong>\
             <span class=\"quiet\">{email} · groups {groups} · roles {roles}</span></button>",
            name = escape(&user.name),
            display = escape(&user.display_name),
            email = escape(user.email.as_deref().unwrap_or("no e-mail address")),
            groups = escape(&user.groups.join(", ")),
            roles = escape(&user.roles.join(", ")),
        );
    }
    form.push_str("</form>");
    let client = escape(request.get("client_id").unwrap_or_default());
    let body = format!(
        "<p>This is the demo's OpenID provider. <code>{client}</code> asks who you are.</p>\n{form}\n\
         <p class=\"quiet\">There are no passwords here: it listens on this machine only.</p>"
    );
    page(StatusCode::OK, "Who would you like to be?", &body)
}
