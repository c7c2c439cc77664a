//! Clients that are no browsers: access tokens in the `Authorization` header (RFC 6750, RFC 9068).
//!
//! A token is judged once: signature, rules and gates, or introspection. What came of it is kept
//! under a hash of the token, so that a hot token costs a hash and a look-up.

mod access_token;
mod answer;
mod counters;
mod credential;
mod failures;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use secrecy::SecretString;
use smallvec::SmallVec;

use super::claims::Claims;
use super::client_auth::Credentials;
use super::clock::unix_millis;
use super::events::Events;
use super::id_token::TokenError;
use super::introspection::{Verdict, introspect};
use super::policy::{Core, Policy};
use super::principal::{Principal, Rules, TemplateTokens};
use super::provider::Source;
use super::settings::{BearerSettings, Settings};
use super::{AuditEvent, Decision, Identity, RequestParts};
use access_token::AccessToken;
use counters::Counters;
use credential::Credential;
use failures::Failures;

/// See [`fuzzing::bearer_token`](super::fuzzing::bearer_token).
#[cfg(feature = "fuzzing")]
pub(super) fn shown(headers: &http::HeaderMap) -> Option<Option<&str>> {
    Credential::of(headers).map(|credential| match credential {
        Credential::Token(token) => Some(token),
        Credential::Malformed => None,
    })
}

/// Memory of verdicts that are kept, in bytes.
const MEMORY: u64 = 32 << 20;

/// The longest that a verdict is kept: a key that the provider withdraws stops counting by then.
const LONGEST: Duration = Duration::from_secs(300);

const NO_CLIENT: &str = "the client is not registered yet";

/// What one policy knows of access tokens.
pub(super) struct Bearer {
    settings: BearerSettings,
    rules: Rules,
    /// Hash of all inputs of a verdict but the client and the token.
    inputs: Context,
    known: Cache<[u8; 32], Known, Bytes>,
    failures: Failures,
    counters: Counters,
}

/// A token that was accepted.
#[derive(Clone)]
struct Known {
    principal: Arc<Principal>,
    /// In milliseconds since 1970.
    until: u64,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<[u8; 32], Known> for Bytes {
    fn weight(&self, _: &[u8; 32], known: &Known) -> u64 {
        known.principal.weight() as u64
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    /// Not one credential of RFC 6750.
    #[error("malformed Authorization header")]
    Malformed,
    /// By its own content.
    #[error("access token: {0}")]
    Token(#[from] TokenError),
    /// An ID token, a logout token, or something else that the provider signs.
    #[error("{0} is no access token")]
    Kind(&'static str),
    /// Older than `maxTokenAgeSeconds`.
    #[error("older than maxTokenAgeSeconds")]
    TooOld,
    /// No name that may be shown to a service.
    #[error("the claim that names the client is missing, too long or holds unsafe characters")]
    Identifier,
    /// Not a JWT, and nobody may be asked what it stands for.
    #[error("an opaque token, which needs allowOpaqueTokens and requireTokenIntrospection")]
    Opaque,
    /// The provider says so.
    #[error("inactive by introspection")]
    Inactive,
    /// Nobody can say.
    #[error("{0}")]
    Unavailable(Arc<str>),
    /// Not looked at: the address has sent too many bad ones, and waits this long.
    #[error("too many access tokens of this address were refused")]
    TooMany(Duration),
}

impl Refusal {
    /// Whether the client is to blame.
    fn is_failure(&self) -> bool {
        !matches!(self, Self::Unavailable(_))
    }
}

impl Bearer {
    /// Compiles the bearer mode of a policy, if it is on.
    pub(super) fn new(policy: &str, settings: &Settings, events: &dyn Events) -> Option<Self> {
        let bearer = settings.bearer.clone()?;
        let mut own = settings.clone();
        own.gate.identifier_claim.clone_from(&bearer.identifier_claim);
        own.gate.domains_by_verified_email = true;
        let mut inputs = Context::new(&SHA256);
        let introspected = if settings.require_introspection { "introspected" } else { "" };
        for part in [settings.issuer.as_str(), &bearer.audience, introspected] {
            inputs.update(&(part.len() as u64).to_be_bytes());
            inputs.update(part.as_bytes());
        }
        Some(Self {
            rules: Rules::new(&own),
            inputs,
            known: Cache::with_weighter(10_000, MEMORY, Bytes),
            failures: Failures::new(bearer.failures),
            counters: Counters::new(events, policy),
            settings: bearer,
        })
    }

    fn key(&self, client_id: &str, token: &str) -> [u8; 32] {
        let mut digest = self.inputs.clone();
        digest.update(&(client_id.len() as u64).to_be_bytes());
        digest.update(client_id.as_bytes());
        digest.update(token.as_bytes());
        let mut key = [0; 32];
        key.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
        key
    }

    /// Who the token of this address stands for. One that was accepted before is known at once, whatever others of that
    /// address have sent.
    async fn check(
        &self,
        core: &Core,
        token: &str,
        address: IpAddr,
        now: SystemTime,
    ) -> Result<Arc<Principal>, Refusal> {
        let client = core.client().ok_or_else(|| Refusal::Unavailable(NO_CLIENT.into()))?;
        let key = self.key(&client.id, token);
        let millis = unix_millis(now);
        if let Some(known) = self.known.get(&key).filter(|known| millis < known.until) {
            return Ok(known.principal);
        }
        self.admit(address, millis)?;
        let (claims, until) = self.judge(core, &client, token, now).await?;
        let identifier = claims.text(&self.settings.identifier_claim).ok_or(Refusal::Identifier)?;
        if identifier.len() > self.settings.max_identifier || !is_safe(identifier) {
            return Err(Refusal::Identifier);
        }
        let tokens =
            TemplateTokens { access_token: token.into(), id_token: SecretString::from(String::new()) };
        let principal = Arc::new(self.rules.judge(&claims, Some(&tokens)));
        self.known.insert(key, Known { principal: Arc::clone(&principal), until });
        Ok(principal)
    }

    /// Whether the address may show what nobody knows yet.
    fn admit(&self, address: IpAddr, millis: u64) -> Result<(), Refusal> {
        self.failures.penalty(address, millis).map_or(Ok(()), |wait| Err(Refusal::TooMany(wait)))
    }

    /// The claims of a good token, and how long that may be believed.
    async fn judge(
        &self,
        core: &Core,
        client: &Arc<Credentials>,
        token: &str,
        now: SystemTime,
    ) -> Result<(Claims, u64), Refusal> {
        let longest = unix_millis(now + LONGEST);
        let own = match token.bytes().filter(|b| *b == b'.').count() {
            2 => Some(access_token::verify(token, &self.settings, core, client, now).await?),
            _ if self.settings.opaque => None,
            _ => return Err(Refusal::Opaque),
        };
        let until = own.as_ref().map_or(longest, |own| unix_millis(own.until).min(longest));
        if !core.settings.require_introspection {
            return own.map(|own| (own.claims, until)).ok_or(Refusal::Opaque);
        }
        let secret = SecretString::from(token);
        let answer = introspect(client, &core.provider, &secret, Source::Anybody, now).await;
        let until = until.min(answer.until);
        match (answer.verdict, own) {
            (Verdict::Active(answer), Some(AccessToken { claims, .. })) => {
                access_token::refuse_other_uses(&answer)?;
                Ok((claims, until))
            }
            (Verdict::Active(claims), None) => {
                access_token::check_introspected(&claims, &self.settings, core, client, now)?;
                Ok((Claims::clone(&claims), until))
            }
            (Verdict::Inactive, _) => Err(Refusal::Inactive),
            (Verdict::Unknown(reason), _) => Err(Refusal::Unavailable(reason)),
        }
    }
}

/// Whether a name can be neither a list of names nor something that looks like another one.
fn is_safe(identifier: &str) -> bool {
    super::identity_headers::single(identifier).is_some() && !identifier.contains([',', ';', '='])
}

impl Policy {
    /// What becomes of a request with a bearer token; `None` if it has none, or the mode is off.
    pub(super) async fn bearer(&self, request: &RequestParts<'_>, now: SystemTime) -> Option<Decision> {
        let bearer = self.bearer.as_ref()?;
        let credential = Credential::of(request.headers)?;
        let millis = unix_millis(now);
        let result = match credential {
            Credential::Token(token) => bearer.check(&self.core, token, request.client, now).await,
            Credential::Malformed => bearer.admit(request.client, millis).and(Err(Refusal::Malformed)),
        };
        Some(match result {
            Ok(principal) => {
                bearer.failures.forgive(request.client);
                self.authorise_client(request, bearer, &principal, now)
            }
            Err(Refusal::TooMany(wait)) => {
                (bearer.counters.throttled)();
                Decision::Respond(answer::slow_down(wait))
            }
            Err(refusal) => {
                if refusal.is_failure() {
                    (bearer.counters.refused)();
                    bearer.failures.count(request.client, millis);
                } else {
                    (bearer.counters.unavailable)();
                }
                Decision::Respond(self.refuse_token(request, bearer, &refusal))
            }
        })
    }

    /// The gates are those of sessions; the verdict was made with the token.
    fn authorise_client(
        &self,
        request: &RequestParts<'_>,
        bearer: &Bearer,
        principal: &Principal,
        now: SystemTime,
    ) -> Decision {
        if let Err(denial) = principal.verdict {
            (bearer.counters.denied)();
            return Decision::Respond(self.deny_client(request, bearer, denial, &principal.user()));
        }
        if let Some(step_up) = &self.core.settings.step_up
            && !step_up.is_met(principal.level(), now)
        {
            (bearer.counters.denied)();
            let (user, cause) = (principal.user(), Some("a stronger or more recent login is required"));
            self.audit(AuditEvent::Denied, request, None, Some(&user), cause);
            return Decision::Respond(answer::stronger(step_up, bearer.settings.challenge));
        }
        (bearer.counters.accepted)();
        Decision::Forward(Identity {
            headers: self.headers_for(principal, now),
            request_target: self.request_target(request),
            strip: Arc::clone(&self.strip),
            user: Some(principal.user()),
            session: None,
            set_cookies: SmallVec::new(),
            cookie: self.stripped(request),
            strip_authorization: bearer.settings.strip_authorization,
        })
    }

    /// Whether a 401 tells that bearer tokens are accepted here.
    pub(super) fn challenges(&self) -> bool {
        self.bearer.as_ref().is_some_and(|bearer| bearer.settings.challenge)
    }

    /// Whether a bearer token can be a login.
    pub fn takes_bearer_tokens(&self) -> bool {
        self.bearer.is_some()
    }

    /// Whether a token wins over a session.
    pub(super) fn token_first(&self) -> bool {
        self.bearer.as_ref().is_some_and(|bearer| bearer.settings.overrides_cookie)
    }
}
