//! Metadata (OpenID Connect Discovery 1.0 section 3) and keys (RFC 7517 section 5).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::{Document, Endpoint, Shared, locked};

pub(super) async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let at = |endpoint: Endpoint| format!("{}{}", shared.origin, endpoint.path());
    let algorithm = match shared.options.signing {
        super::Signing::Rs256 => "RS256",
        super::Signing::Es256 => "ES256",
    };
    let members = json!({
        "issuer": shared.issuer(),
        "authorization_endpoint": at(Endpoint::Authorize),
        "token_endpoint": at(Endpoint::Token),
        "userinfo_endpoint": at(Endpoint::Userinfo),
        "jwks_uri": at(Endpoint::Jwks),
        "end_session_endpoint": at(Endpoint::EndSession),
        "revocation_endpoint": at(Endpoint::Revocation),
        "introspection_endpoint": at(Endpoint::Introspection),
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [algorithm],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["sub", "name", "preferred_username", "email", "email_verified", "groups", "roles"],
        "authorization_response_iss_parameter_supported": !shared.quirks().no_callback_issuer,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    });
    let mut members: Map<String, Value> = members.as_object().cloned().unwrap_or_default();
    if shared.options.registration.is_some() {
        members.insert("registration_endpoint".to_owned(), at(Endpoint::Registration).into());
    }
    Json(Value::Object(shared.tampered(Document::Discovery, members)))
}

pub(super) async fn jwks(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(locked(&shared.keys).jwks())
}
