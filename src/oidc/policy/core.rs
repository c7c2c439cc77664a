//! The part of a policy that outlives requests and reloads.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::oidc::claims::Claims;
use crate::oidc::client::Client;
use crate::oidc::clock::Clock;
use crate::oidc::events::Events;
use crate::oidc::provider::Provider;
use crate::oidc::session::{ScopeId, Sessions};
use crate::oidc::settings::Settings;
use crate::oidc::throttle::Throttle;
use crate::oidc::userinfo::Wish;
use crate::oidc::{Deps, Directory, Member, registration};

/// The part of a policy that a refresh needs, which outlives requests and reloads.
pub(in crate::oidc) struct Core {
    pub(in crate::oidc) name: Arc<str>,
    pub(in crate::oidc) settings: Settings,
    pub(in crate::oidc) provider: Arc<Provider>,
    pub(in crate::oidc) client: Client,
    pub(in crate::oidc) scope: ScopeId,
    /// Who else uses its sessions.
    pub(in crate::oidc) directory: Arc<Directory>,
    pub(in crate::oidc) events: Arc<dyn Events>,
    pub(in crate::oidc) clock: Arc<dyn Clock>,
    /// Whether the log has been told that logins come without a refresh token.
    pub(in crate::oidc) told_unrefreshable: AtomicBool,
    /// Log lines about refreshes that fail.
    pub(in crate::oidc) failed_refreshes: Throttle,
    /// Log lines about requests that an outage or a flood refuses.
    pub(in crate::oidc) refusals: Throttle,
}

impl Core {
    pub(super) fn new(
        name: &str,
        settings: Settings,
        provider: Arc<Provider>,
        sessions: &Sessions,
        deps: &Deps,
    ) -> Self {
        let (issuer, client) = scope_of(&settings);
        let scope = ScopeId::new(issuer, &client);
        let client = match &settings.registration {
            None => Client::Fixed(Arc::new(settings.credentials.clone())),
            Some(registration) => {
                let at = registration::Place { provider: &provider, sessions, scope };
                Client::Registered(provider.registrations().get(&settings, registration, at))
            }
        };
        Self {
            name: name.into(),
            client,
            scope,
            provider,
            directory: Arc::clone(&deps.directory),
            events: Arc::clone(&deps.events),
            clock: Arc::clone(sessions.clock()),
            told_unrefreshable: AtomicBool::new(false),
            failed_refreshes: Throttle::default(),
            refusals: Throttle::default(),
            settings,
        }
    }

    /// Whether userinfo is to be asked for what these claims leave out: for this policy, also when it has been replaced
    /// meanwhile, or for another one that shares its sessions.
    pub(in crate::oidc) fn wants_userinfo(&self, claims: &Claims) -> bool {
        Wish::of(&self.settings).is_open(claims) || self.directory.wants_userinfo(&self.scope, claims)
    }

    /// What the directory knows of its policy.
    pub(super) fn member(&self, sessions: &Sessions) -> Member {
        Member {
            name: Arc::clone(&self.name),
            issuer: self.provider.issuer().to_owned(),
            scope: self.scope,
            sessions: sessions.clone(),
            wish: Wish::of(&self.settings),
        }
    }
}

/// The issuer and the client that sessions belong to. The slash at the end may be only ours or only the provider's; a session
/// must not depend on whether the metadata is known yet.
pub(super) fn scope_of(settings: &Settings) -> (&str, Cow<'_, str>) {
    (settings.issuer.trim_end_matches('/'), settings.client_name())
}
