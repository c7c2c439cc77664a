//! The answer to a registration (RFC 7591, sections 3.2.1 and 3.2.2).

use std::time::SystemTime;

use http::StatusCode;
use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use super::task::RegistrationError;
use crate::oidc::client_auth::ClientAuth;
use crate::oidc::clock::from_unix_millis;
use crate::oidc::fetch::Answer;
use crate::oidc::unique::Members;

/// Longest value that is taken: identifiers and secrets of some providers are JWTs.
const MAX_VALUE: usize = 16 * 1024;

/// Longest text of the provider in a log line.
const MAX_SHOWN: usize = 200;

/// A client as the provider has registered it.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    pub(super) id: String,
    pub(super) secret: Option<SecretString>,
    /// When the secret ends, if it does.
    pub(super) end: Option<SystemTime>,
    pub(super) method: ClientAuth,
    /// Manage the registration (RFC 7592): it is deleted when it is of no use any more.
    pub(super) access_token: Option<SecretString>,
    pub(super) client_uri: Option<Url>,
}

/// Reads an answer to a request for a client of `asked` metadata, which authenticates by `method`.
pub(super) fn read(
    answer: &Answer,
    asked: &Map<String, Value>,
    method: ClientAuth,
) -> Result<Registered, RegistrationError> {
    match answer.status {
        // Some providers answer 200.
        StatusCode::CREATED | StatusCode::OK => {}
        status => return Err(refusal(status, &answer.body)),
    }
    let Members(members) = serde_json::from_slice(&answer.body)
        .map_err(|_| RegistrationError::Answer("it is no JSON object, or has a member twice".to_owned()))?;
    let registered = registered(&members, method).map_err(RegistrationError::Answer)?;
    check(&members, asked).map_err(RegistrationError::Answer)?;
    Ok(registered)
}

fn registered(members: &Map<String, Value>, asked: ClientAuth) -> Result<Registered, String> {
    let id = text(members, "client_id")?.ok_or("it has no `client_id`")?;
    // What an answer leaves out is as asked for.
    let method = match text(members, "token_endpoint_auth_method")? {
        None => asked,
        Some(name) => ClientAuth::named(&name)
            .filter(|method| *method == asked || method.is_by_secret() || *method == ClientAuth::Public)
            .ok_or("`token_endpoint_auth_method` is one that we cannot do")?,
    };
    let secret = text(members, "client_secret")?;
    if method.is_by_secret() && secret.is_none() {
        return Err("it has no `client_secret`, which its `token_endpoint_auth_method` needs".to_owned());
    }
    let end = match members.get("client_secret_expires_at") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64() {
            Some(0) => None,
            Some(seconds) => Some(from_unix_millis(seconds.saturating_mul(1000))),
            None => return Err("`client_secret_expires_at` is no time".to_owned()),
        },
    };
    let client_uri = text(members, "registration_client_uri")?.and_then(|uri| Url::parse(&uri).ok());
    Ok(Registered {
        id,
        end: end.filter(|_| secret.is_some()),
        secret: secret.map(SecretString::from),
        method,
        access_token: text(members, "registration_access_token")?.map(SecretString::from),
        client_uri,
    })
}

/// A provider may replace what it was asked for; some of it we cannot do without.
fn check(members: &Map<String, Value>, asked: &Map<String, Value>) -> Result<(), String> {
    let needed = [
        ("redirect_uris", strings(asked.get("redirect_uris"))),
        ("grant_types", vec!["authorization_code"]),
        ("response_types", vec!["code"]),
    ];
    for (name, needed) in needed {
        let Some(given) = members.get(name).filter(|value| !value.is_null()) else { continue };
        let given = strings(Some(given));
        if let Some(missing) = needed.iter().find(|value| !given.contains(value)) {
            return Err(format!("`{name}` lacks {missing}"));
        }
    }
    Ok(())
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    let list = value.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_VALUE && !text.chars().any(char::is_control) => {
            Ok(Some(text.clone()))
        }
        Some(_) => Err(format!("`{name}` is not a text that can be used")),
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> RegistrationError {
    let said = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
    let shown = |name: &str| -> String {
        let text = said.get(name).and_then(Value::as_str).unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
    };
    match shown("error") {
        error if error.is_empty() => RegistrationError::Status(status.as_u16()),
        error => RegistrationError::Refused {
            status: status.as_u16(),
            error,
            description: shown("error_description"),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use secrecy::ExposeSecret;
    use serde_json::json;

    fn answer(status: u16, body: &Value) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: body.to_string().into_bytes() }
    }

    fn told(change: impl FnOnce(&mut Value)) -> Result<Registered, RegistrationError> {
        let asked = json!({"redirect_uris": ["https://a/cb", "https://b/cb"]});
        let mut body = json!({
            "client_id": "c-1", "client_secret": "s", "client_secret_expires_at": 2_000_000_000_u64,
            "registration_access_token": "manage", "registration_client_uri": "https://i/register/c-1",
            "redirect_uris": ["https://b/cb", "https://a/cb", "https://c/cb"], "client_id_issued_at": 5,
            "grant_types": ["authorization_code"], "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_post",
        });
        change(&mut body);
        read(&answer(201, &body), asked.as_object().unwrap(), ClientAuth::SecretBasic)
    }

    #[test]
    fn a_client_is_taken_as_the_provider_has_it() {
        let client = told(|_| {}).unwrap();
        assert_eq!((client.id.as_str(), client.method), ("c-1", ClientAuth::SecretPost));
        assert_eq!(client.secret.unwrap().expose_secret(), "s");
        assert_eq!(client.end, Some(from_unix_millis(2_000_000_000_000)));
        assert_eq!(client.client_uri.unwrap().as_str(), "https://i/register/c-1");
        let sparse = told(|body| *body = json!({"client_id": "c-1", "client_secret": "s"})).unwrap();
        assert_eq!((sparse.method, sparse.end), (ClientAuth::SecretBasic, None));
        let endless = told(|body| body["client_secret_expires_at"] = json!(0)).unwrap();
        assert_eq!(endless.end, None);
        let public = told(|body| {
            body["token_endpoint_auth_method"] = json!("none");
            body["client_secret"] = json!(null);
        });
        assert_eq!(public.unwrap().method, ClientAuth::Public);
    }

    #[test]
    fn what_we_cannot_work_with_is_refused() {
        let bad = [
            ("client_id", json!(null)),
            ("client_id", json!("a\nb")),
            ("client_id", json!(5)),
            ("client_secret", json!(null)),
            ("client_secret_expires_at", json!("tomorrow")),
            ("token_endpoint_auth_method", json!("private_key_jwt")),
            ("token_endpoint_auth_method", json!("magic")),
            ("redirect_uris", json!(["https://a/cb"])),
            ("redirect_uris", json!([])),
            ("grant_types", json!(["client_credentials"])),
            ("response_types", json!(["token"])),
        ];
        for (name, value) in bad {
            let result = told(|body| body[name] = value.clone());
            assert!(matches!(result, Err(RegistrationError::Answer(_))), "{name} {value}: {result:?}");
        }
        let twice = br#"{"client_id":"a","client_id":"b","client_secret":"s"}"#.to_vec();
        let twice = Answer { body: twice, ..answer(201, &json!({})) };
        assert!(read(&twice, &Map::new(), ClientAuth::SecretBasic).is_err());
    }

    #[test]
    fn refusals_are_told_without_controls_and_short() {
        let body = json!({"error": "invalid_redirect_uri", "error_description": format!("no\u{1b}{}", "x".repeat(999))});
        match read(&answer(400, &body), &Map::new(), ClientAuth::SecretBasic) {
            Err(RegistrationError::Refused { status: 400, error, description }) => {
                assert_eq!((error.as_str(), description.len()), ("invalid_redirect_uri", MAX_SHOWN));
                assert!(!description.contains('\u{1b}'));
            }
            other => unreachable!("{other:?}"),
        }
        let html = Answer { body: b"<html>".to_vec(), ..answer(503, &json!({})) };
        let html = read(&html, &Map::new(), ClientAuth::SecretBasic);
        assert_eq!(html.unwrap_err(), RegistrationError::Status(503));
    }
}
