//! What one policy makes of one generation of a session: a verdict and ready-made headers.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::authorize::Level;
use super::claims::Claims;
use super::gate::{Denial, Gate};
use super::identity_headers::{list, rendered, single};
use super::settings::Settings;
use super::template::{Source, Template};

const X_FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
const X_USER_GROUPS: HeaderName = HeaderName::from_static("x-user-groups");
const X_USER_ROLES: HeaderName = HeaderName::from_static("x-user-roles");
const X_AUTH_REQUEST_USER: HeaderName = HeaderName::from_static("x-auth-request-user");

/// The verdict on a user, kept for each session generation and policy.
#[derive(Debug)]
pub struct Principal {
    /// Whether the user may pass.
    pub verdict: Result<(), Denial>,
    /// How strong the login was, and when.
    pub level: Level,
    /// Identity headers for the service.
    pub headers: Arc<[(HeaderName, HeaderValue)]>,
    /// Name for the access log.
    pub user: Arc<str>,
}

/// The rules of one policy, compiled.
#[derive(Debug)]
pub struct Rules {
    gate: Gate,
    identifier_claim: String,
    role_claim: String,
    group_claim: String,
    minimal: bool,
    templates: Vec<(HeaderName, Template)>,
}

/// Tokens that templates may name.
pub struct TemplateTokens {
    /// Access token.
    pub access_token: SecretString,
    /// ID token.
    pub id_token: SecretString,
}

impl Rules {
    /// Compiles what `settings` say about users.
    pub fn new(settings: &Settings) -> Self {
        Self {
            gate: Gate::new(&settings.gate),
            identifier_claim: settings.gate.identifier_claim.clone(),
            role_claim: settings.gate.role_claim.clone(),
            group_claim: settings.gate.group_claim.clone(),
            minimal: settings.minimal_headers,
            templates: settings.headers.clone(),
        }
    }

    /// Judges the user of `claims`. Without tokens, headers whose template names one are left out.
    pub fn judge(&self, claims: &Claims, tokens: Option<&TemplateTokens>) -> Principal {
        let user: Arc<str> = claims.identifier(&self.identifier_claim).unwrap_or_default().into();
        let mut headers = Vec::new();
        let mut add =
            |name: HeaderName, value: Option<HeaderValue>| headers.extend(value.map(|value| (name, value)));
        add(X_FORWARDED_USER, single(&user));
        if !self.minimal {
            add(X_USER_GROUPS, list(claims.strings(&self.group_claim)));
            add(X_USER_ROLES, list(claims.strings(&self.role_claim)));
            add(X_AUTH_REQUEST_USER, single(&user));
        }
        for (name, template) in &self.templates {
            let (access, id) =
                tokens.map_or(("", ""), |t| (t.access_token.expose_secret(), t.id_token.expose_secret()));
            let text = template.render(Source { claims, access_token: access, id_token: id });
            add(name.clone(), text.as_deref().and_then(rendered).map(|value| sensitive(value, template)));
        }
        Principal {
            verdict: self.gate.admit(claims),
            level: Level::of(claims),
            headers: together(headers),
            user,
        }
    }
}

/// The headers with all their values in one piece of memory: there are as many of these as sessions in use. Equal values
/// are there once.
fn together(mut headers: Vec<(HeaderName, HeaderValue)>) -> Arc<[(HeaderName, HeaderValue)]> {
    let mut text = Vec::with_capacity(headers.iter().map(|(_, value)| value.len()).sum());
    let mut places: Vec<Range<usize>> = Vec::with_capacity(headers.len());
    for (_, value) in &headers {
        let value = value.as_bytes();
        let known = places.iter().find(|place| text.get(place.start..place.end) == Some(value)).cloned();
        places.push(known.unwrap_or_else(|| {
            text.extend_from_slice(value);
            text.len() - value.len()..text.len()
        }));
    }
    text.shrink_to_fit();
    let text = Bytes::from(text);
    for ((_, value), place) in headers.iter_mut().zip(places) {
        let sensitive = value.is_sensitive();
        // It was a value before.
        if let Ok(same) = HeaderValue::from_maybe_shared(text.slice(place)) {
            *value = same;
            value.set_sensitive(sensitive);
        }
    }
    headers.into()
}

fn sensitive(mut value: HeaderValue, template: &Template) -> HeaderValue {
    value.set_sensitive(template.needs_tokens());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_share_one_piece_of_memory() {
        let mut secret = HeaderValue::from_static("token");
        secret.set_sensitive(true);
        let headers = vec![
            (X_FORWARDED_USER, HeaderValue::from_static("alice")),
            (X_USER_GROUPS, HeaderValue::from_static("a,b")),
            (HeaderName::from_static("x-empty"), HeaderValue::from_static("")),
            (X_AUTH_REQUEST_USER, HeaderValue::from_static("alice")),
            (HeaderName::from_static("x-token"), secret),
        ];
        let ready = together(headers.clone());
        assert_eq!(*ready, *headers);
        assert!(ready.iter().all(|(name, value)| value.is_sensitive() == (name == "x-token")));
        let start = |at: usize| ready.get(at).map(|(_, value)| value.as_bytes().as_ptr().addr());
        assert_eq!(start(3), start(0));
        assert_eq!(start(1), start(0).map(|first| first + "alice".len()));
    }
}
