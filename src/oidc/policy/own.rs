//! What belongs to a policy alone: paths, cookies, names of headers.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::Policy;
use crate::net::forwarded::{self, Forwarding};
use crate::oidc::RequestParts;
use crate::oidc::cookie::{self, CookieEdit, Cookies};
use crate::oidc::settings::Settings;
use crate::oidc::template::Template;

impl Policy {
    /// Whether the query of a request must not be written down: at the callback and at logouts it holds codes, states
    /// and session ids, and a state where a browser comes back from a logout.
    pub fn hides_query(&self, request: &RequestParts<'_>) -> bool {
        let (settings, path) = (&self.core.settings, request.path);
        let paths = [&settings.callback_path, &settings.logout_path];
        paths.into_iter().any(|own| own == path)
            || self.is_backchannel(path)
            || self.is_frontchannel(path)
            || self.logout_state(request).is_some()
    }

    /// Its cookies.
    pub fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    /// The cookies for the service: those that are not ours.
    pub(in crate::oidc) fn stripped(&self, request: &RequestParts<'_>) -> CookieEdit {
        self.own.edit(request.headers)
    }

    /// The value of a cookie; `None` also if it comes twice, for nobody can tell which is ours.
    pub(in crate::oidc) fn one_cookie<'r>(
        &self,
        request: &RequestParts<'r>,
        name: &'r str,
    ) -> Option<&'r str> {
        let mut values = cookie::values(request.headers, name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// A `Set-Cookie` value with the policy's attributes; its name and value are made by us.
    pub(in crate::oidc) fn set_cookie(
        &self,
        request: &RequestParts<'_>,
        name: &str,
        value: &str,
        age: Duration,
    ) -> Option<HeaderValue> {
        let mut header = self.cookies.set(name, value, Some(age), self.is_https(request)).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// A `Set-Cookie` value that removes a cookie.
    pub(in crate::oidc) fn clear_cookie(
        &self,
        request: &RequestParts<'_>,
        name: &str,
    ) -> Option<HeaderValue> {
        self.cookies.clear(name, self.is_https(request)).ok()
    }

    /// Names of the headers by which its templates and assertions tell a service about the user, beside
    /// [`IDENTITY_HEADERS`]. `Authorization` and forwarding headers are not among them: elsewhere they
    /// are the client's or a proxy's own.
    ///
    /// [`IDENTITY_HEADERS`]: crate::oidc::IDENTITY_HEADERS
    pub fn identity_names(&self) -> impl Iterator<Item = &HeaderName> {
        let about_user =
            |template: &Template| template.needs_tokens() || !template.needed_claims().is_empty();
        let shared = |name: &HeaderName| {
            *name == AUTHORIZATION || forwarded::classify(name.as_str()) != Forwarding::Other
        };
        let headers = self.core.settings.headers.iter();
        let of_templates = headers.filter(move |(name, template)| about_user(template) && !shared(name));
        of_templates.map(|(name, _)| name).chain(self.assertion_header())
    }
}

/// Names of the headers that the policy sets, whatever a client says under them.
pub(in crate::oidc) fn strip(settings: &Settings) -> Arc<[HeaderName]> {
    let assertion = settings.identity_assertion.iter().map(|assertion| assertion.header.clone());
    settings.headers.iter().map(|(name, _)| name.clone()).chain(assertion).collect()
}
