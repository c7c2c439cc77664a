//! What belongs together of a block. Each part tries all of its keys, so that all faults are named at once.

use std::time::Duration;

use http::HeaderName;
use secrecy::SecretString;

use super::super::{
    AssertionSettings, BearerSettings, CookieSettings, Credentials, GateSettings, LogoutChannels, PostLogout,
    ProviderSettings, PushedAuthorization, RegistrationSettings, SessionEndpoints, SessionSettings, StepUp,
    StoreSettings, UserInfo, check,
};
use super::Builder;
use super::registration::OwnPaths;
use crate::oidc::excluded::ExcludedPaths;
use crate::oidc::profile::Profile;
use crate::oidc::security_headers::SecurityHeaders;
use crate::oidc::template::Template;

/// Who we are, and at whose place.
pub(super) struct Party {
    pub(super) issuer: String,
    pub(super) credentials: Credentials,
    pub(super) key: SecretString,
    pub(super) previous_keys: Vec<SecretString>,
}

/// How the provider is asked for a login.
pub(super) struct LoginRequest {
    pub(super) profile: Profile,
    pub(super) provider: ProviderSettings,
    pub(super) allowed_tenants: Vec<String>,
    pub(super) scopes: Vec<String>,
    pub(super) offline_access: bool,
    pub(super) pushed_authorization: PushedAuthorization,
    pub(super) auth_params: Vec<(String, String)>,
    pub(super) max_age: Duration,
    pub(super) rate: u32,
}

/// Who may pass.
pub(super) struct Access {
    pub(super) excluded: ExcludedPaths,
    pub(super) user_info: UserInfo,
    pub(super) gate: GateSettings,
    pub(super) step_up: Option<StepUp>,
    pub(super) bearer: Option<BearerSettings>,
}

/// What is kept of a login.
pub(super) struct Keeping {
    pub(super) session: SessionSettings,
    pub(super) cookies: CookieSettings,
    pub(super) store: Option<StoreSettings>,
}

/// What the service and the browser are told.
pub(super) struct Told {
    pub(super) headers: Vec<(HeaderName, Template)>,
    pub(super) security_headers: Option<SecurityHeaders>,
}

/// The paths that are ours, no two of them the same, and what is told to others of them.
pub(super) struct Places {
    pub(super) callback_path: String,
    pub(super) logout_path: String,
    pub(super) post_logout: Option<PostLogout>,
    pub(super) channels: LogoutChannels,
    pub(super) session_endpoints: Option<SessionEndpoints>,
    pub(super) identity_assertion: Option<AssertionSettings>,
    pub(super) registration: Option<RegistrationSettings>,
}

impl Builder<'_> {
    pub(super) fn party(&mut self) -> Option<Party> {
        let issuer = self.issuer();
        let credentials = self.client();
        let key = self.key();
        let previous_keys = self.previous_keys();
        Some(Party { issuer: issuer?, credentials: credentials?, key: key?, previous_keys: previous_keys? })
    }

    pub(super) fn login_request(&mut self) -> Option<LoginRequest> {
        let profile = self.profile();
        let assumed = profile.unwrap_or_default();
        let pushed_authorization = self.pushed_authorization();
        let allowed_tenants = self.allowed_tenants(assumed);
        let (scopes, offline_access) = self.scopes(assumed);
        let max_age = self.login_max_age();
        let rate = self.login_rate();
        let provider = self.provider(assumed);
        Some(LoginRequest {
            profile: profile?,
            provider: provider?,
            allowed_tenants: allowed_tenants?,
            scopes,
            offline_access,
            pushed_authorization: pushed_authorization?,
            auth_params: self.auth_params(assumed),
            max_age: max_age?,
            rate: rate?,
        })
    }

    /// What was written in either place, then what the provider needs by its nature. A parameter must not come twice (RFC
    /// 6749, section 3.1).
    fn auth_params(&mut self, profile: Profile) -> Vec<(String, String)> {
        let block = self.block;
        for name in block.auth_params.keys().filter(|name| block.extra_auth_params.contains_key(*name)) {
            self.error("authParams", format!("`{name}` is written in `extraAuthParams`, too"));
        }
        let mut params: Vec<_> = block.extra_auth_params.clone().into_iter().collect();
        params.extend(block.auth_params.clone());
        for (name, value) in profile.auth_params() {
            if !params.iter().any(|(known, _)| known == name) {
                params.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        params
    }

    pub(super) fn access(&mut self) -> Option<Access> {
        let audiences = self.audiences();
        let user_info = self.user_info();
        let excluded = self.excluded();
        let gate = self.gate();
        let step_up = self.step_up();
        let bearer = self.bearer();
        audiences?;
        Some(Access {
            excluded: excluded?,
            user_info: user_info?,
            gate: gate?,
            step_up: step_up?,
            bearer: bearer?,
        })
    }

    pub(super) fn keeping(&mut self) -> Option<Keeping> {
        let session = self.session();
        let cookies = self.cookies();
        let store = self.store();
        Some(Keeping { session: session?, cookies: cookies?, store: store? })
    }

    pub(super) fn told(&mut self) -> Option<Told> {
        let headers = self.headers();
        let security_headers = self.security_headers();
        Some(Told { headers: headers?, security_headers })
    }

    /// Where the browser sends no cookie nobody has a session, and no login comes back.
    pub(super) fn refuse_places_without_cookies(&mut self, path: &str, places: &Places) {
        let callback = if self.block.callback_url.is_some() { "callbackURL" } else { "redirectUrl" };
        let endpoints = places.session_endpoints.as_ref();
        let needing = [
            (callback, Some(&places.callback_path)),
            ("logoutURL", self.block.logout_url.is_some().then_some(&places.logout_path)),
            ("frontchannelLogoutURL", places.channels.front.as_ref()),
            ("sessionEndpoints", endpoints.map(|endpoints| &endpoints.session)),
        ];
        for (key, place) in needing {
            if let Some(place) = place.filter(|place| !check::is_within(path, place)) {
                self.error(
                    key,
                    format!("`{place}` is not below `cookiePath`, which is `{path}`: no cookie comes there"),
                );
            }
        }
    }

    /// `credentials`: whose registration tells the provider of the paths.
    pub(super) fn places(&mut self, credentials: Option<&Credentials>) -> Option<Places> {
        let post_logout = self.post_logout();
        let (callback_path, logout_path) = self.paths()?;
        let own = [callback_path.as_str(), logout_path.as_str()];
        let channels = self.channels(own);
        let session_endpoints = self.session_endpoints(&callback_path, own, channels.as_ref());
        let endpoints = session_endpoints.as_ref().and_then(Option::as_ref);
        let identity_assertion = self.assertion_of_identity(own, channels.as_ref(), endpoints);
        let told = OwnPaths {
            callback: &callback_path,
            post_logout: post_logout.as_ref().and_then(Option::as_ref),
            channels: channels.as_ref(),
        };
        let registration = self.registration(credentials?, told);
        Some(Places {
            post_logout: post_logout?,
            channels: channels?,
            session_endpoints: session_endpoints?,
            identity_assertion: identity_assertion?,
            registration: registration?,
            callback_path,
            logout_path,
        })
    }
}
