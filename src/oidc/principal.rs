//! What one policy makes of one generation of a session: a verdict and ready-made headers.

mod values;

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::authorize::Level;
use super::claims::Claims;
use super::gate::{Denial, Gate};
use super::identity_assertion::{Asserted, Selection};
use super::identity_headers::{list, rendered, single};
use super::settings::Settings;
use super::template::{Source, Template};
use crate::net::Text;
use crate::net::headers::TitledName;
use values::Values;

const X_FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
/// Left out by `minimalHeaders`, as the next one.
const LISTS: [HeaderName; 2] =
    [HeaderName::from_static("x-user-groups"), HeaderName::from_static("x-user-roles")];
/// Has the value of the first.
const X_AUTH_REQUEST_USER: HeaderName = HeaderName::from_static("x-auth-request-user");

/// The verdict on a user, kept for each session generation and policy.
///
/// There are as many of these as sessions in use, so it holds no more than what differs between them, and what few ask for
/// is in a place of its own.
#[derive(Debug)]
pub struct Principal {
    /// Those of the headers, in the order of their places; then the user's name, where that is no value of a header.
    values: Values,
    more: Option<Box<More>>,
    /// Whether the user may pass.
    pub verdict: Result<(), Denial>,
    /// Whether the user's name comes last.
    apart: bool,
}

#[derive(Debug)]
struct More {
    level: Level,
    asserted: Option<Asserted>,
}

impl Principal {
    /// Name for the access log.
    pub fn user(&self) -> Text {
        let place = if self.apart { self.values.count().saturating_sub(1) } else { 0 };
        self.values.text(place).unwrap_or_default()
    }

    /// How strong the login was, and when; unknown where the policy does not ask.
    pub fn level(&self) -> &Level {
        self.more.as_ref().map_or(&Level::UNKNOWN, |more| &more.level)
    }

    /// What is asserted of the user, if that is asked for and the user may pass.
    pub(super) fn asserted(&self) -> Option<&Asserted> {
        self.more.as_ref()?.asserted.as_ref()
    }

    /// About how many bytes of memory it takes, with what is signed of it.
    pub(super) fn weight(&self) -> usize {
        self.values.len() + self.asserted().map_or(0, Asserted::weight) + 256
    }
}

/// Headers that tell a service who the user is. The names are those of the policy, once for all its sessions.
#[derive(Debug, Clone, Default)]
pub struct IdentityHeaders {
    names: Arc<Names>,
    values: Values,
    assertion: Option<HeaderValue>,
}

/// The names of a policy's headers.
#[derive(Debug, Default)]
struct Names(Vec<(TitledName, Told)>);

/// What a header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The value at this place.
    Value(usize),
    /// As `Value`; it holds a token.
    Secret(usize),
    /// The assertion, which is signed when it is sent.
    Assertion,
}

impl IdentityHeaders {
    /// Those that have a value.
    pub fn iter(&self) -> impl Iterator<Item = (&TitledName, HeaderValue)> {
        self.names.0.iter().filter_map(|(name, told)| Some((name, self.value(*told)?)))
    }

    fn value(&self, told: Told) -> Option<HeaderValue> {
        match told {
            Told::Value(place) => self.values.header(place),
            Told::Secret(place) => self.values.header(place).map(|mut value| {
                value.set_sensitive(true);
                value
            }),
            Told::Assertion => self.assertion.clone(),
        }
    }

    /// The same with this assertion.
    #[must_use]
    pub fn with_assertion(self, assertion: HeaderValue) -> Self {
        Self { assertion: Some(assertion), ..self }
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
    names: Arc<Names>,
    selection: Option<Selection>,
    /// Whether the level of a login is asked for.
    levels: bool,
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
            names: Arc::new(names(settings)),
            gate: Gate::new(&settings.gate),
            identifier_claim: settings.gate.identifier_claim.clone(),
            role_claim: settings.gate.role_claim.clone(),
            group_claim: settings.gate.group_claim.clone(),
            minimal: settings.minimal_headers,
            templates: settings.headers.clone(),
            selection: Selection::of(settings),
            levels: settings.step_up.is_some(),
        }
    }

    /// Judges the user of `claims`. Without tokens, headers whose template names one are left out.
    pub fn judge(&self, claims: &Claims, tokens: Option<&TemplateTokens>) -> Principal {
        let user = claims.identifier(&self.identifier_claim).unwrap_or_default();
        let values = self.values(claims, user, tokens);
        let mut texts: Vec<_> =
            values.iter().map(|value| value.as_ref().map(HeaderValue::as_bytes)).collect();
        let apart = texts.first() != Some(&Some(user.as_bytes()));
        texts.extend(apart.then_some(Some(user.as_bytes())));
        let verdict = self.gate.admit(claims);
        let selection = self.selection.as_ref().filter(|_| verdict.is_ok());
        let asserted = selection.map(|selection| selection.assert(claims, user));
        let more = (self.levels || asserted.is_some()).then(|| More { level: Level::of(claims), asserted });
        Principal { values: Values::of(&texts), more: more.map(Box::new), verdict, apart }
    }

    /// Identity headers for the service, without an assertion.
    pub fn headers(&self, principal: &Principal) -> IdentityHeaders {
        IdentityHeaders { names: Arc::clone(&self.names), values: principal.values.clone(), assertion: None }
    }

    /// In the order of their places.
    fn values(
        &self,
        claims: &Claims,
        user: &str,
        tokens: Option<&TemplateTokens>,
    ) -> Vec<Option<HeaderValue>> {
        let mut values = vec![single(user)];
        if !self.minimal {
            values.push(list(claims.strings(&self.group_claim)));
            values.push(list(claims.strings(&self.role_claim)));
        }
        for (_, template) in &self.templates {
            let (access, id) =
                tokens.map_or(("", ""), |t| (t.access_token.expose_secret(), t.id_token.expose_secret()));
            let text = template.render(Source { claims, access_token: access, id_token: id });
            values.push(text.as_deref().and_then(rendered));
        }
        values
    }
}

fn names(settings: &Settings) -> Names {
    let lists = LISTS.into_iter().filter(|_| !settings.minimal_headers);
    let plain = [X_FORWARDED_USER].into_iter().chain(lists).map(|name| (name, false));
    let templates = settings.headers.iter();
    let templates = templates.map(|(name, template)| (name.clone(), template.needs_tokens()));
    let mut headers = Vec::new();
    for (place, (name, secret)) in plain.chain(templates).enumerate() {
        headers.push((name, if secret { Told::Secret(place) } else { Told::Value(place) }));
    }
    let assertion = settings.identity_assertion.as_ref();
    headers.extend(assertion.map(|assertion| (assertion.header.clone(), Told::Assertion)));
    headers.extend((!settings.minimal_headers).then_some((X_AUTH_REQUEST_USER, Told::Value(0))));
    Names(headers.into_iter().map(|(name, told)| (TitledName::new(name), told)).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Decoder;
    use crate::config::source::yaml;
    use crate::oidc::settings::{Dialect, decode};
    use serde_json::json;

    fn rules(more: &str) -> Rules {
        let text = format!(
            "providerURL: https://op.example\nclientID: app\nclientSecret: secret\ncallbackURL: /cb\n\
             sessionEncryptionKey: a-key-for-tests-only-0123456789abcdef\n{more}"
        );
        let mut decoder = Decoder::new();
        let settings = decode(&yaml::parse("test", &text).unwrap(), Dialect::Plugin, &mut decoder);
        Rules::new(&decoder.finish(settings).unwrap().0)
    }

    fn alice(email: &str) -> Claims {
        let claims = json!({"sub": "s", "email": email, "groups": ["a", "b,c"], "acr": "1"});
        Claims::new(claims.as_object().unwrap().clone())
    }

    fn told(rules: &Rules, principal: &Principal) -> Vec<(String, String)> {
        let headers = rules.headers(principal);
        let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
        headers.iter().map(|(name, value)| (name.name().to_string(), text(value))).collect()
    }

    /// There are as many as sessions in use. The next size that an allocator has is 80.
    #[test]
    fn a_principal_fills_what_it_takes() {
        assert!(size_of::<Principal>() + 2 * size_of::<usize>() <= 64);
    }

    #[test]
    fn headers_come_in_order_and_missing_ones_not_at_all() {
        let rules = rules("");
        let principal = rules.judge(&alice("alice@x"), None);
        let expected = [
            ("x-forwarded-user", "alice@x"),
            ("x-user-groups", "a,b%2Cc"),
            ("x-auth-request-user", "alice@x"),
        ];
        assert_eq!(
            told(&rules, &principal),
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(&*principal.user(), "alice@x");
        assert!(!principal.apart, "the name is there once");
    }

    #[test]
    fn a_name_that_no_header_can_tell_as_it_is_stays_what_it_is() {
        for email in ["b\u{e9}a@x", "a%b@x"] {
            let rules = rules("minimalHeaders: true");
            let principal = rules.judge(&alice(email), None);
            assert_eq!(&*principal.user(), email);
            assert!(told(&rules, &principal)[0].1.contains('%'));
        }
        let rules = rules("");
        let nobody = rules.judge(&Claims::default(), None);
        assert_eq!((&*nobody.user(), told(&rules, &nobody)[0].1.as_str()), ("", ""));
    }

    #[test]
    fn tokens_are_marked_and_an_assertion_is_added() {
        let templates = "headers: [{name: X-Token, value: '{{.AccessToken}}'}, {name: X-Mail, value: '{{.Claims.email}}'}]";
        let tokens = TemplateTokens { access_token: "opaque".into(), id_token: "".into() };
        let rules = rules(templates);
        let principal = rules.judge(&alice("alice@x"), Some(&tokens));
        let headers = rules.headers(&principal);
        let find =
            |name: &str| headers.iter().find(|(known, _)| known.name() == name).map(|(_, value)| value);
        assert_eq!(find("x-token").unwrap(), "opaque");
        assert!(find("x-token").unwrap().is_sensitive() && !find("x-mail").unwrap().is_sensitive());
        let asserting = IdentityHeaders {
            names: Arc::new(Names(vec![(TitledName::new(X_FORWARDED_USER), Told::Assertion)])),
            ..IdentityHeaders::default()
        };
        assert_eq!(asserting.iter().count(), 0);
        let asserting = asserting.with_assertion(HeaderValue::from_static("signed"));
        assert_eq!(asserting.iter().next().unwrap().1, "signed");
    }

    #[test]
    fn the_level_of_a_login_is_kept_where_it_is_asked_for() {
        let claims = alice("alice@x");
        assert_eq!(*rules("").judge(&claims, None).level(), Level::UNKNOWN);
    }
}
