//! One OIDC middleware, compiled: what becomes of each request.

mod core;
mod own;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;
use tokio::sync::Semaphore;

use super::asked::Asked;
use super::attempt::AttemptSeals;
use super::bearer::Bearer;
use super::carry::CarryMemos;
use super::cause::Cause;
use super::claims::Claims;
use super::client_auth::{AssertionError, KeyFault};
use super::cookie::{CookieError, Cookies, OwnCookies};
use super::events::Events;
use super::fetch::TrustError;
use super::identity_assertion::Assertions;
use super::introspected::Activity;
use super::limits::LoginRate;
use super::principal::{IdentityHeaders, Principal, Rules, TemplateTokens};
use super::provider::{Provider, Providers};
use super::refresh::{Freshness, RefreshGrant, RefreshSettings, Refresher, fresh_now};
use super::seal::SealError;
use super::security_headers::SecurityHeaders;
use super::session::{
    KeyError, Lifetimes, Lookup, PolicyId, SessionEntry, SessionId, SessionInUse, SessionKeys, Sessions,
};
use super::settings::Settings;
use super::turns::take_turn;
use super::used::UsedStates;
use super::{AuditEvent, Decision, Directory, Identity, Member, RequestParts, backchannel};
use crate::net::Scheme;
pub(super) use core::Core;
use core::scope_of;

/// What all policies share, and what survives a reload.
#[derive(Clone)]
pub struct Deps {
    /// Sessions of the process.
    pub sessions: Sessions,
    /// Providers in use.
    pub providers: Arc<Providers>,
    /// The policies that live.
    pub directory: Arc<Directory>,
    /// Login answers that were used.
    pub used: Arc<UsedStates>,
    /// Observer.
    pub events: Arc<dyn Events>,
    /// Runs what must outlive its request.
    pub runtime: tokio::runtime::Handle,
}

/// Why a policy cannot be made; its routes are closed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The provider's certificate authorities cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The key that signs client assertions cannot be used.
    #[error(transparent)]
    Client(#[from] AssertionError),
    /// The session key cannot be used.
    #[error("sessionEncryptionKey: {0}")]
    Key(#[from] KeyError),
    /// The cookies cannot be made as configured.
    #[error(transparent)]
    Cookie(#[from] CookieError),
    /// The keys of assertions cannot be derived.
    #[error("identityAssertion: {0}")]
    Assertion(#[from] KeyFault),
    /// The crypto library refuses.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A compiled policy. Cheap to make; make a new one at each reload.
pub struct Policy {
    pub(super) core: Arc<Core>,
    pub(super) sessions: Sessions,
    pub(super) cookies: Cookies,
    own: OwnCookies,
    pub(super) attempts: AttemptSeals,
    pub(super) used: Arc<UsedStates>,
    pub(super) runtime: tokio::runtime::Handle,
    id: PolicyId,
    /// How long it lets sessions last, whoever made them.
    pub(super) lifetimes: Lifetimes,
    /// What browsers carry, if sessions live there.
    pub(super) carried: Option<CarryMemos>,
    /// Names the memos of introspection.
    pub(super) introspected: PolicyId,
    /// Names the memos of whom access tokens are for.
    pub(super) audience: PolicyId,
    pub(super) rules: Rules,
    pub(super) templates_need_tokens: bool,
    pub(super) strip: Arc<[HeaderName]>,
    pub(super) bearer: Option<Bearer>,
    pub(super) assertions: Option<Assertions>,
    no_headers: IdentityHeaders,
    pub(super) refresh: RefreshSettings,
    pub(super) grant: Arc<dyn RefreshGrant>,
    pub(super) backchannel_turns: Semaphore,
    _member: Arc<Member>,
    pub(super) rate: LoginRate,
}

impl Policy {
    /// Compiles `settings` under the middleware's `name`, and starts or finds its provider.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn new(name: &str, settings: Settings, deps: &Deps) -> Result<Self, PolicyError> {
        settings.credentials.load()?;
        let provider = deps.providers.get(&settings.issuer, &settings.provider)?;
        let sessions = deps.sessions.with_keys(Arc::new(session_keys(&settings)?));
        sessions.may_last(settings.session.max_age);
        let refresh = refresh_settings(&settings, &provider);
        let core = Arc::new(Core::new(name, settings, provider, &sessions, deps));
        let settings = &core.settings;
        let names = &settings.cookies;
        let cookies = Cookies::new(&names.prefix, names.domain.as_deref(), Some(&names.path))?
            .for_client(&core.scope.tag());
        let (issuer, client) = scope_of(settings);
        let scope_name = format!("{issuer} {client}");
        Ok(Self {
            own: OwnCookies::of([&cookies]),
            cookies,
            attempts: AttemptSeals::new(settings.ring(), &scope_name)?,
            used: Arc::clone(&deps.used),
            runtime: deps.runtime.clone(),
            id: PolicyId::next(),
            lifetimes: Lifetimes::new(settings.session.max_age, settings.session.idle_timeout),
            carried: sessions.in_browser().then(CarryMemos::new).transpose()?,
            introspected: PolicyId::next(),
            audience: PolicyId::next(),
            rules: Rules::new(settings),
            bearer: Bearer::new(&core.name, settings, &*core.events),
            templates_need_tokens: settings.headers_need_tokens(),
            assertions: Assertions::new(settings, &scope_name, core.clock.now())?,
            strip: own::strip(settings),
            no_headers: IdentityHeaders::default(),
            rate: LoginRate::new(settings.login_rate),
            refresh,
            grant: Arc::clone(&core) as Arc<dyn RefreshGrant>,
            _member: deps.directory.enter(core.member(&sessions)),
            backchannel_turns: Semaphore::new(backchannel::MOST_AT_ONCE),
            sessions,
            core,
        })
    }

    /// What becomes of a request. Waits only for the store, a refresh or the provider; a request
    /// with a live session waits for nothing. What such a request does not need is boxed, or it would
    /// have to make room for it.
    pub async fn decide(&self, request: &RequestParts<'_>, now: SystemTime) -> Decision {
        let request = Asked::new(request);
        let decision = self.judge(&request, now).await;
        match self.carry_memo(&request) {
            None => decision,
            Some(_) if Self::is_up_to_date(&request, &decision) => decision,
            Some(memo) => Box::pin(self.with_cookies(&request, decision, now, memo)).await,
        }
    }

    async fn judge(&self, request: &Asked<'_>, now: SystemTime) -> Decision {
        let settings = &self.core.settings;
        // A pre-flight carries no credentials, so nobody is asked to log in for it.
        let headers = self.security_headers();
        if let Some(answer) = headers.and_then(|headers| headers.preflight(request.method, request.headers)) {
            return Decision::Respond(answer);
        }
        if request.path == settings.logout_path {
            return Decision::Respond(Box::pin(self.logout(request, now)).await);
        }
        if request.path == settings.callback_path {
            return Decision::Respond(Box::pin(self.callback(request, now)).await);
        }
        if self.is_backchannel(request.path) {
            return Decision::Respond(Box::pin(self.backchannel_logout(request, now)).await);
        }
        if self.is_frontchannel(request.path) {
            return Decision::Respond(Box::pin(self.frontchannel_logout(request, now)).await);
        }
        if let Some(endpoint) = self.session_endpoint(request.path) {
            return Decision::Respond(Box::pin(self.answer_endpoint(endpoint, request, now)).await);
        }
        if let Some(answer) = self.public_keys(request, now) {
            return Decision::Respond(answer);
        }
        if let Some(answer) = self.returned_from_logout(request) {
            return Decision::Respond(answer);
        }
        if settings.excluded.contains(request.path) {
            return Decision::Forward(self.anonymous(request));
        }
        if self.token_first()
            && let Some(decision) = Box::pin(self.bearer(request, now)).await
        {
            return decision;
        }
        match self.usable_session(request, now).await {
            Found::Session(entry) => self.authorise(request, entry, now).await,
            Found::None => match Box::pin(self.bearer(request, now)).await {
                Some(decision) => decision,
                None => Decision::Respond(Box::pin(self.unauthenticated(request, now)).await),
            },
            Found::Wait(retry_after) => Decision::Respond(self.unavailable(request, retry_after)),
        }
    }

    /// What every answer of its routes carries.
    pub fn security_headers(&self) -> Option<&SecurityHeaders> {
        self.core.settings.security_headers.as_ref()
    }

    /// The session of the request, with good tokens, which are for the audience and active where that is asked for.
    async fn usable_session(&self, request: &Asked<'_>, now: SystemTime) -> Found {
        let settings = &self.core.settings;
        match self.session_of(request, now).await {
            Found::Session(entry) if settings.strict_audience || settings.require_introspection => {
                Box::pin(self.judge_token(request, entry, now)).await
            }
            found => found,
        }
    }

    /// The session, if it may be used with the access token that it has.
    async fn judge_token(&self, request: &Asked<'_>, entry: Arc<SessionEntry>, now: SystemTime) -> Found {
        let settings = &self.core.settings;
        if settings.strict_audience {
            match self.has_wanted_audience(&entry).await {
                Ok(true) => {}
                Ok(false) => return Found::None,
                Err(_) => return Found::Wait(Duration::from_secs(1)),
            }
        }
        if !settings.require_introspection {
            return Found::Session(entry);
        }
        match self.activity(request, &entry, now).await {
            Activity::Active => Found::Session(entry),
            Activity::NotActive => Found::None,
            Activity::StoreDown => Found::Wait(Duration::from_secs(1)),
        }
    }

    /// The session of the request, with good tokens.
    async fn session_of(&self, request: &Asked<'_>, now: SystemTime) -> Found {
        if let Some(memo) = self.carry_memo(request) {
            return self.usable_carried(request, now, memo).await;
        }
        let Some(id) = self.session_id(request) else { return Found::None };
        if let Some(entry) = self.sessions.lookup_cached(&id, &self.core.scope, now)
            && entry.lasts(&self.lifetimes, now)
            && let Some(Freshness::Valid | Freshness::ValidRefreshing) = fresh_now(&entry, now, &self.refresh)
        {
            self.sessions.used(&entry, &self.lifetimes, now);
            return Found::Session(entry);
        }
        Box::pin(self.fresh_session(request, &id, now)).await
    }

    /// The session, from the store if need be, refreshed if need be.
    async fn fresh_session(&self, request: &Asked<'_>, id: &SessionId, now: SystemTime) -> Found {
        take_turn().await;
        let found = self.sessions.lookup(id, &self.core.scope, now).await;
        let entry = match self.sessions.within(found, &self.lifetimes, now).await {
            Lookup::Live(entry) => entry,
            Lookup::None => return Found::None,
            Lookup::StoreDown => return Found::Wait(Duration::from_secs(1)),
        };
        self.sessions.used(&entry, &self.lifetimes, now);
        match self.refresher(request).ensure_fresh(&entry, now).await {
            Freshness::Valid | Freshness::ValidRefreshing | Freshness::Renewed => Found::Session(entry),
            Freshness::Unavailable { retry_after } => Found::Wait(retry_after),
            Freshness::Ended => Found::None,
        }
    }

    /// What refreshes its sessions.
    pub(super) fn refresher<'a>(&'a self, request: &RequestParts<'a>) -> Refresher<'a> {
        let request_id = request.request_id;
        Refresher { sessions: &self.sessions, settings: &self.refresh, grant: &self.grant, request_id }
    }

    pub(super) fn session_id(&self, request: &RequestParts<'_>) -> Option<SessionId> {
        let https = self.is_https(request);
        let named = |name| self.one_cookie(request, name).and_then(SessionId::parse);
        named(self.cookies.session_name(https)).or_else(|| named(self.cookies.plain_session_name(https)))
    }

    /// The session of the request if it is not over for this policy, whether its tokens are good or not.
    pub(super) async fn find_lasting_session(&self, request: &Asked<'_>, now: SystemTime) -> Lookup {
        let found = self.find_session(request, now).await;
        self.sessions.within(found, &self.lifetimes, now).await
    }

    /// The session of the request, whether its tokens are good or not, and whether or not this policy lets it last: to be ended.
    pub(super) async fn find_session(&self, request: &Asked<'_>, now: SystemTime) -> Lookup {
        if let Some(memo) = self.carry_memo(request) {
            return Box::pin(self.find_carried(request, now, memo)).await;
        }
        match self.session_id(request) {
            Some(id) => self.sessions.lookup(&id, &self.core.scope, now).await,
            None => Lookup::None,
        }
    }

    async fn authorise(
        &self,
        request: &RequestParts<'_>,
        entry: Arc<SessionEntry>,
        now: SystemTime,
    ) -> Decision {
        let principal = match self.principal(&entry).await {
            Ok(principal) => principal,
            Err(cause) => return Decision::Respond(self.refuse(request, &cause, "/", SmallVec::new())),
        };
        if let Err(denial) = principal.verdict {
            let user = &principal.user();
            self.audit(AuditEvent::Denied, request, Some(&entry), Some(user), Some(denial.as_str()));
            return Decision::Respond(self.deny(request, denial, user));
        }
        if let Some(step_up) = &self.core.settings.step_up
            && !step_up.is_met(principal.level(), now)
        {
            return Decision::Respond(Box::pin(self.stronger_login(request, step_up, now)).await);
        }
        Decision::Forward(Identity {
            headers: self.headers_for(&principal, now),
            request_target: self.request_target(request),
            strip: Arc::clone(&self.strip),
            user: Some(principal.user()),
            session: Some(SessionInUse { end: entry.absolute_end(&self.lifetimes), entry }),
            set_cookies: SmallVec::new(),
            cookie: self.stripped(request),
            strip_authorization: !self.core.settings.forward_authorization,
        })
    }

    /// The verdict on the session's user: kept for each generation, made once.
    ///
    /// # Errors
    /// [`Cause::Store`]: a template needs tokens, which only the store has.
    pub(super) async fn principal(&self, entry: &SessionEntry) -> Result<Arc<Principal>, Cause> {
        let generation = entry.profile().generation;
        if let Some(principal) = entry.memo::<Principal>(self.id, generation) {
            return Ok(principal);
        }
        if self.templates_need_tokens {
            return Box::pin(self.principal_by_tokens(entry, generation)).await;
        }
        let claims = Claims::new(entry.profile().claims());
        let principal = Arc::new(self.rules.judge(&claims, None));
        entry.set_memo(self.id, generation, Arc::clone(&principal));
        Ok(principal)
    }

    async fn principal_by_tokens(
        &self,
        entry: &SessionEntry,
        generation: u64,
    ) -> Result<Arc<Principal>, Cause> {
        let record = self.sessions.record(entry).await.map_err(|error| Cause::Store(error.to_string()))?;
        let record = record.ok_or_else(|| Cause::Store("the session has just ended".to_owned()))?;
        let tokens = TemplateTokens { access_token: record.access_token, id_token: record.id_token };
        let principal = Arc::new(self.rules.judge(&Claims::new(record.claims), Some(&tokens)));
        entry.set_lasting_memo(self.id, generation, Arc::clone(&principal));
        Ok(principal)
    }

    fn anonymous(&self, request: &RequestParts<'_>) -> Identity {
        Identity {
            headers: self.no_headers.clone(),
            request_target: None,
            strip: Arc::clone(&self.strip),
            user: None,
            session: None,
            set_cookies: SmallVec::new(),
            cookie: self.stripped(request),
            strip_authorization: false,
        }
    }

    pub(super) fn request_target(&self, request: &RequestParts<'_>) -> Option<HeaderValue> {
        if self.core.settings.minimal_headers {
            return None;
        }
        match request.query {
            None => HeaderValue::from_str(request.path).ok(),
            Some(query) => HeaderValue::try_from([request.path, query].join("?")).ok(),
        }
    }

    /// Whether the outside is https.
    pub(super) fn is_https(&self, request: &RequestParts<'_>) -> bool {
        self.core.settings.force_https || request.scheme == Scheme::Https
    }

    /// Scheme, host and port outside.
    pub(super) fn origin(&self, request: &RequestParts<'_>) -> String {
        let scheme = if self.is_https(request) { Scheme::Https } else { Scheme::Http };
        format!("{}://{}", scheme.as_str(), request.authority)
    }

    /// The middleware's name.
    pub fn name(&self) -> &str {
        &self.core.name
    }
}

/// The keys of sessions: the first seals, all open.
fn session_keys(settings: &Settings) -> Result<SessionKeys, KeyError> {
    let ring: Vec<_> = settings.ring().cloned().collect();
    SessionKeys::new(&ring)
}

/// When and how sessions are refreshed.
fn refresh_settings(settings: &Settings, provider: &Provider) -> RefreshSettings {
    RefreshSettings {
        grace: settings.session.refresh_grace,
        access_token_required: settings.strict_audience,
        max_token_age: settings.session.max_refresh_token_age,
        permits: Arc::clone(provider.grants()),
        ..RefreshSettings::default()
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("name", &self.core.name).finish_non_exhaustive()
    }
}

/// What a request's cookie stands for.
pub(super) enum Found {
    /// A session with good tokens.
    Session(Arc<SessionEntry>),
    /// None.
    None,
    /// A session that cannot be used for this long.
    Wait(Duration),
}
