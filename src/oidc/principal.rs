//! What one policy makes of one generation of a session: a verdict and ready-made headers.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::authorize::Level;
use super::claims::Claims;
use super::gate::{Denial, Gate};
use super::identity_assertion::{Asserted, Selection};
use super::identity_headers::{list, rendered, single};
use super::settings::Settings;
use super::template::{Source, Template};
use crate::net::headers::TitledName;

const X_FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
/// Left out by `minimalHeaders`, as the next one.
const LISTS: [HeaderName; 2] =
    [HeaderName::from_static("x-user-groups"), HeaderName::from_static("x-user-roles")];
/// Has the value of the first.
const X_AUTH_REQUEST_USER: HeaderName = HeaderName::from_static("x-auth-request-user");

/// The verdict on a user, kept for each session generation and policy.
#[derive(Debug)]
pub struct Principal {
    /// Whether the user may pass.
    pub verdict: Result<(), Denial>,
    /// How strong the login was, and when.
    pub level: Level,
    /// Identity headers for the service.
    pub headers: IdentityHeaders,
    /// Name for the access log.
    pub user: Arc<str>,
    /// What is asserted of the user, if that is asked for and the user may pass.
    pub asserted: Option<Box<Asserted>>,
}

/// Headers that tell a service who the user is. The names are those of the policy, once for all its sessions.
#[derive(Debug, Clone, Default)]
pub struct IdentityHeaders {
    names: Arc<[Named]>,
    /// None where there is nothing to tell.
    values: Arc<[Option<HeaderValue>]>,
}

/// A header's name and the place of its value.
type Named = (TitledName, usize);

impl IdentityHeaders {
    /// Those that have a value.
    pub fn iter(&self) -> impl Iterator<Item = (&TitledName, &HeaderValue)> {
        self.names.iter().filter_map(|(name, place)| Some((name, self.values.get(*place)?.as_ref()?)))
    }

    /// The same with this value at the last place.
    #[must_use]
    pub fn with_last(&self, value: HeaderValue) -> Self {
        let mut values = self.values.to_vec();
        if let Some(last) = values.last_mut() {
            *last = Some(value);
        }
        Self { names: Arc::clone(&self.names), values: values.into() }
    }
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
    names: Arc<[Named]>,
    selection: Option<Selection>,
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
        let more = LISTS.into_iter().filter(|_| !settings.minimal_headers);
        let templates = settings.headers.iter().map(|(name, _)| name.clone());
        let assertion = settings.identity_assertion.iter().map(|assertion| assertion.header.clone());
        let names = [X_FORWARDED_USER].into_iter().chain(more).chain(templates).chain(assertion);
        let again = (!settings.minimal_headers).then(|| (TitledName::new(X_AUTH_REQUEST_USER), 0));
        let placed = names.enumerate().map(|(place, name)| (TitledName::new(name), place));
        Self {
            names: placed.chain(again).collect(),
            gate: Gate::new(&settings.gate),
            identifier_claim: settings.gate.identifier_claim.clone(),
            role_claim: settings.gate.role_claim.clone(),
            group_claim: settings.gate.group_claim.clone(),
            minimal: settings.minimal_headers,
            templates: settings.headers.clone(),
            selection: Selection::of(settings),
        }
    }

    /// Judges the user of `claims`. Without tokens, headers whose template names one are left out.
    pub fn judge(&self, claims: &Claims, tokens: Option<&TemplateTokens>) -> Principal {
        let user: Arc<str> = claims.identifier(&self.identifier_claim).unwrap_or_default().into();
        // In the order of their places.
        let mut values = vec![single(&user)];
        if !self.minimal {
            values.push(list(claims.strings(&self.group_claim)));
            values.push(list(claims.strings(&self.role_claim)));
        }
        for (_, template) in &self.templates {
            let (access, id) =
                tokens.map_or(("", ""), |t| (t.access_token.expose_secret(), t.id_token.expose_secret()));
            let text = template.render(Source { claims, access_token: access, id_token: id });
            values.push(text.as_deref().and_then(rendered).map(|value| sensitive(value, template)));
        }
        // The assertion is signed when it is sent.
        values.extend(self.selection.as_ref().map(|_| None));
        let verdict = self.gate.admit(claims);
        let selection = self.selection.as_ref().filter(|_| verdict.is_ok());
        Principal {
            verdict,
            asserted: selection.map(|selection| Box::new(selection.assert(claims, &user))),
            level: Level::of(claims),
            headers: IdentityHeaders { names: Arc::clone(&self.names), values: together(values) },
            user,
        }
    }
}

/// The values in one piece of memory: there are as many of these as sessions in use. Equal ones are there once.
fn together(mut values: Vec<Option<HeaderValue>>) -> Arc<[Option<HeaderValue>]> {
    let mut text = Vec::with_capacity(values.iter().flatten().map(HeaderValue::len).sum());
    let mut places: Vec<Range<usize>> = Vec::with_capacity(values.len());
    for value in values.iter().flatten() {
        let value = value.as_bytes();
        let known = places.iter().find(|place| text.get(place.start..place.end) == Some(value)).cloned();
        places.push(known.unwrap_or_else(|| {
            text.extend_from_slice(value);
            text.len() - value.len()..text.len()
        }));
    }
    text.shrink_to_fit();
    let text = Bytes::from(text);
    for (value, place) in values.iter_mut().flatten().zip(places) {
        let sensitive = value.is_sensitive();
        // It was a value before.
        if let Ok(same) = HeaderValue::from_maybe_shared(text.slice(place)) {
            *value = same;
            value.set_sensitive(sensitive);
        }
    }
    values.into()
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
        let values = vec![
            Some(HeaderValue::from_static("alice")),
            Some(HeaderValue::from_static("a,b")),
            Some(HeaderValue::from_static("")),
            None,
            Some(HeaderValue::from_static("alice")),
            Some(secret),
        ];
        let ready = together(values.clone());
        assert_eq!(*ready, *values);
        let sensitive = |value: &Option<HeaderValue>| value.as_ref().is_some_and(HeaderValue::is_sensitive);
        assert!(ready.iter().map(sensitive).eq(values.iter().map(sensitive)));
        let start = |at: usize| ready.get(at)?.as_ref().map(|value| value.as_bytes().as_ptr().addr());
        assert_eq!(start(4), start(0));
        assert_eq!(start(1), start(0).map(|first| first + "alice".len()));
    }
}
