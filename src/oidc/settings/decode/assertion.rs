//! A signed assertion of identity for the service.

use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::Builder;
use crate::oidc::identity_assertion::{DEFAULT_HEADER, RESERVED};
use crate::oidc::identity_headers::{is_identity_header, same_header};
use crate::oidc::settings::{AssertionSettings, LogoutChannels, SessionEndpoints, check};

/// Seconds that an assertion may hold. It is used until half of them are over.
const LIFE: std::ops::RangeInclusive<i64> = 10..=3600;

impl Builder<'_> {
    /// Outer none: it is faulty. Inner none: none is sent. `own`, `channels` and `endpoints` hold the paths that the policy
    /// answers already.
    pub(super) fn assertion_of_identity(
        &mut self,
        own: [&str; 2],
        channels: Option<&LogoutChannels>,
        endpoints: Option<&SessionEndpoints>,
    ) -> Option<Option<AssertionSettings>> {
        let Some(block) = &self.block.identity_assertion else { return Some(None) };
        let header = self.assertion_header(&block.header);
        let issuer = match check::audience(&block.issuer) {
            Ok(()) if block.issuer.trim().is_empty() => Err("is required".to_owned()),
            result => result.map(|()| block.issuer.clone()),
        };
        let issuer = self.checked("identityAssertion.issuer", issuer);
        let audience = match block.audience.iter().find_map(|audience| check::audience(audience).err()) {
            Some(fault) => Err(fault),
            None if block.audience.iter().all(|audience| audience.trim().is_empty()) => {
                Err("is required: the services that the assertion is for".to_owned())
            }
            None => Ok(block.audience.clone()),
        };
        let audience = self.checked("identityAssertion.audience", audience);
        let life = LIFE.contains(&block.lifetime).then(|| Duration::from_secs(block.lifetime.unsigned_abs()));
        let life = life.ok_or_else(|| format!("must be {} to {} seconds", LIFE.start(), LIFE.end()));
        let life = self.checked("identityAssertion.lifetime", life);
        if let Some(name) = block.claims.iter().find(|name| RESERVED.contains(&name.as_str())) {
            self.error("identityAssertion.claims", format!("`{name}` is set here, whatever the claim says"));
            return None;
        }
        let jwks_path = self.jwks_path(block.jwks_path.as_deref(), own, channels, endpoints);
        Some(Some(AssertionSettings {
            header: header?,
            issuer: issuer?,
            audience: audience?,
            life: life?,
            claims: block.claims.clone(),
            jwks_path: jwks_path?,
        }))
    }

    /// One that nothing else sets.
    fn assertion_header(&mut self, name: &str) -> Option<HeaderName> {
        const KEY: &str = "identityAssertion.header";
        let parsed = self.header_name(KEY, name)?;
        let templates = self.block.headers.iter().map(|header| header.name.as_str());
        let mut others = templates.chain(self.block.forward_headers.keys().map(String::as_str));
        let taken = others.any(|other| same_header(other, name))
            || is_identity_header(name) && !same_header(name, DEFAULT_HEADER)
            || parsed == AUTHORIZATION;
        if taken {
            self.error(KEY, format!("`{name}` has another meaning already"));
            return None;
        }
        Some(parsed)
    }

    fn jwks_path(
        &mut self,
        written: Option<&str>,
        own: [&str; 2],
        channels: Option<&LogoutChannels>,
        endpoints: Option<&SessionEndpoints>,
    ) -> Option<String> {
        const KEY: &str = "identityAssertion.jwksPath";
        let [callback, _] = own;
        let path = match written.filter(|text| !text.is_empty()) {
            Some(text) => self.checked(KEY, check::own_path(text))?,
            None => format!("{}/jwks", callback.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        let channels = channels.into_iter().flat_map(|channels| [&channels.back, &channels.front]).flatten();
        let endpoints = endpoints.into_iter().flat_map(|endpoints| [&endpoints.session, &endpoints.refresh]);
        let mut taken = channels.chain(endpoints).map(String::as_str).chain(own);
        if taken.any(|other| other == path) {
            self.error(KEY, format!("`{path}` is another endpoint's already"));
            return None;
        }
        Some(path)
    }
}
