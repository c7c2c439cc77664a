//! The token endpoint (RFC 6749 sections 3.2, 4.1.3, 4.4 and 6; RFC 7636 section 4.5).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::authorize::{Parameters, parameters};
use super::ledger::{Grant, Ledger, Lives, Millis, Redemption, Refusal, Tokens};
use super::{Client, Document, Event, Quirks, Rotation, Shared, access_token, claims, locked};

/// An error answer of RFC 6749 section 5.2.
pub(super) struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: String,
}

impl OAuthError {
    pub(super) fn new(error: &'static str, description: impl Into<String>) -> Self {
        let status = match error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "access_denied" => StatusCode::FORBIDDEN,
            "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, error, description: description.into() }
    }
}

impl From<Refusal> for OAuthError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        let mut response = no_store((self.status, Json(body)).into_response());
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"demo\""));
        }
        response
    }
}

pub(super) fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A form from a client that has shown its secret.
pub(super) struct Authenticated {
    pub(super) client: Client,
    pub(super) form: Parameters,
}

impl Authenticated {
    /// Reads the form and checks `client_secret_basic` or `client_secret_post`, never both (RFC 6749 section 2.3).
    pub(super) fn read(shared: &Shared, headers: &HeaderMap, body: &str) -> Result<Self, OAuthError> {
        let form =
            parameters(body).ok_or_else(|| OAuthError::new("invalid_request", "a parameter occurs twice"))?;
        let in_form = form.get("client_id").cloned().zip(form.get("client_secret").cloned());
        let in_header = headers.get(header::AUTHORIZATION).map(basic);
        let refused = || OAuthError::new("invalid_client", "unknown client or wrong secret");
        let (id, secret) = match (in_header, in_form) {
            (Some(_), Some(_)) => {
                return Err(OAuthError::new("invalid_request", "two client authentications at once"));
            }
            (Some(pair), None) => pair.ok_or_else(refused)?,
            (None, Some(pair)) => pair,
            (None, None) => return Err(refused()),
        };
        let client = shared.client(&id).filter(|client| client.secret == secret).ok_or_else(refused)?;
        Ok(Self { client, form })
    }

    /// A parameter that must be there.
    pub(super) fn get(&self, name: &'static str) -> Result<&str, OAuthError> {
        let missing = || OAuthError::new("invalid_request", format!("{name} is missing"));
        self.form.get(name).map(String::as_str).ok_or_else(missing)
    }
}

/// Both halves of HTTP Basic, each form-encoded (RFC 6749 section 2.3.1).
fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let encoded = value.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((form_decoded(id)?, form_decoded(secret)?))
}

fn form_decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// POST /token
pub(super) async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    let result = Authenticated::read(&shared, &headers, &body);
    let (grant_type, result) = match result {
        Ok(request) => match request.get("grant_type") {
            Ok("authorization_code") => ("authorization_code", exchange_code(&shared, &request)),
            Ok("refresh_token") => ("refresh_token", refresh(&shared, &request)),
            Ok("client_credentials") => ("client_credentials", client_credentials(&shared, &request)),
            Ok(_) => ("other", Err(OAuthError::new("unsupported_grant_type", "not supported"))),
            Err(error) => ("other", Err(error)),
        },
        Err(error) => ("other", Err(error)),
    };
    // Also after a refusal: it may have ended a grant.
    shared.save().await;
    match result {
        Ok(members) => {
            shared.count(&format!("grant:{grant_type}:ok"));
            let members = shared.tampered(Document::TokenResponse, members);
            no_store(Json(Value::Object(members)).into_response())
        }
        Err(error) => {
            shared.count(&format!("grant:{grant_type}:{}", error.error));
            shared.emit(&Event::Refused {
                grant_type: grant_type.to_owned(),
                reason: error.description.clone(),
            });
            error.into_response()
        }
    }
}

fn exchange_code(shared: &Shared, request: &Authenticated) -> Result<Map<String, Value>, OAuthError> {
    let shown = Redemption {
        code: request.get("code")?,
        client: &request.client.id,
        redirect_uri: request.get("redirect_uri")?,
        verifier: request.get("code_verifier")?,
    };
    let now = shared.now();
    let (grant, nonce, tokens) = {
        let mut ledger = locked(&shared.ledger);
        let (id, nonce) = ledger.redeem(&shown, now)?;
        let (grant, tokens) = issue(shared, &mut ledger, &id, lives(shared, shared.quirks()), now)?;
        (grant, nonce, tokens)
    };
    let id_token =
        claims::id_token(shared, &grant, nonce.as_deref(), &tokens.access, now).map_err(Refusal::from)?;
    shared.emit(&Event::Login { user: grant.user.clone() });
    Ok(members(shared, &grant, tokens, Some(id_token)))
}

fn refresh(shared: &Shared, request: &Authenticated) -> Result<Map<String, Value>, OAuthError> {
    let old = request.get("refresh_token")?;
    let (now, rotation, quirks) = (shared.now(), shared.options.rotation, shared.quirks());
    let (grant, tokens) = {
        let mut ledger = locked(&shared.ledger);
        let id = ledger.refresh(old, &request.client.id, rotation, now)?;
        let rotated = Quirks { no_refresh_token: rotation == Rotation::Off, ..quirks };
        issue(shared, &mut ledger, &id, lives(shared, rotated), now)?
    };
    let id_token = if quirks.no_id_token_on_refresh {
        None
    } else {
        Some(claims::id_token(shared, &grant, None, &tokens.access, now).map_err(Refusal::from)?)
    };
    shared.emit(&Event::Refresh { user: grant.user.clone() });
    Ok(members(shared, &grant, tokens, id_token))
}

/// The client for itself: no person, no ID token, no refresh token.
fn client_credentials(shared: &Shared, request: &Authenticated) -> Result<Map<String, Value>, OAuthError> {
    let now = shared.now();
    let client = request.client.id.clone();
    let grant = Grant {
        user: client.clone(),
        client: client.clone(),
        sid: String::new(),
        scope: request.form.get("scope").cloned().unwrap_or_default(),
        auth_time: now,
        audience: access_token::audience(&request.form),
    };
    let (grant, tokens) = {
        let mut ledger = locked(&shared.ledger);
        let id = ledger.open(grant, now)?;
        issue(shared, &mut ledger, &id, Lives { access: shared.access_life(), refresh: None }, now)?
    };
    shared.emit(&Event::Machine { client });
    Ok(members(shared, &grant, tokens, None))
}

/// New tokens for a grant that the ledger has just returned. It stays locked, so that nothing ends the grant before it
/// has tokens.
fn issue(
    shared: &Shared,
    ledger: &mut Ledger,
    id: &str,
    lives: Lives,
    now: Millis,
) -> Result<(Grant, Tokens), OAuthError> {
    let grant = ledger.grant(id).cloned().ok_or(Refusal::UnknownCode)?;
    let access = access_token::make(shared, &grant, now).map_err(Refusal::from)?;
    let tokens = ledger.issue_tokens(id, access, lives, now)?;
    Ok((grant, tokens))
}

fn lives(shared: &Shared, quirks: Quirks) -> Lives {
    Lives {
        access: shared.access_life(),
        refresh: (!quirks.no_refresh_token).then_some(shared.options.refresh_token_ttl),
    }
}

fn members(shared: &Shared, grant: &Grant, tokens: Tokens, id_token: Option<String>) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("access_token".to_owned(), json!(tokens.access));
    members.insert("token_type".to_owned(), json!("Bearer"));
    members.insert("expires_in".to_owned(), json!(shared.access_life().as_secs().max(1)));
    members.insert("scope".to_owned(), json!(grant.scope));
    if let Some(refresh) = tokens.refresh {
        members.insert("refresh_token".to_owned(), json!(refresh));
    }
    if let Some(id_token) = id_token {
        members.insert("id_token".to_owned(), json!(id_token));
    }
    members
}
