//! The start of a login: a sealed attempt for the browser, and the way to the provider.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use openidconnect::core::CoreAuthenticationFlow;
use openidconnect::{CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope};
use smallvec::SmallVec;

use super::attempt::{self, Attempt, seconds};
use super::authorize::StepUp;
use super::cause::Cause;
use super::client_auth::Credentials;
use super::metadata::Metadata;
use super::policy::Policy;
use super::settings::Settings;
use super::turns::take_turn;
use super::{RequestParts, page, pushed, return_target, token_endpoint};
use crate::net::LocalResponse;

/// How long a login waits for the very first discovery.
const PATIENCE: Duration = Duration::from_secs(10);

/// Live attempts of one browser.
const MOST_ATTEMPTS: usize = 8;

/// Bytes of all attempts' cookies together, which leaves room for the session's below 4 KB.
const MOST_BYTES: usize = 3_700;

/// How much longer the browser keeps an attempt than it is good: whoever comes too late starts over where they were.
const LATE_TIME: Duration = Duration::from_secs(3_600);

/// How long the browser remembers where a login led.
const SPENT_TIME: Duration = Duration::from_secs(300);

/// This many logins within [`ROUND_TIME`] seconds, and still logged out: that is a loop.
const MOST_ROUNDS: u32 = 10;
const ROUND_TIME: u64 = 60;

/// Parameters of the authorization request that configuration cannot set.
pub(super) const OURS: &[&str] = &[
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
];

impl Policy {
    /// Sends the browser to the provider.
    pub(super) async fn start_login(&self, request: &RequestParts<'_>, now: SystemTime) -> LocalResponse {
        match self.try_login(request, now).await {
            Ok(response) => {
                self.core.events.login_started(&self.core.name);
                response
            }
            Err(cause) => self.refuse(request, &cause, "/", SmallVec::new()),
        }
    }

    async fn try_login(&self, request: &RequestParts<'_>, now: SystemTime) -> Result<LocalResponse, Cause> {
        take_turn().await;
        if self.rounds(request, now).is_some_and(|rounds| rounds.count >= MOST_ROUNDS) {
            return Err(Cause::Loop);
        }
        self.rate.admit(request.client, now).map_err(Cause::TooMany)?;
        let metadata = self.core.provider.metadata_within(PATIENCE).await.ok_or(Cause::Unavailable)?;
        let attempt = new_attempt(self.target(request), now)?;
        self.send_to_provider(request, &metadata, attempt, now).await
    }

    /// The provider refuses `offline_access` to this user or this client: once more without it. Keycloak gives it only
    /// to users with the role of that name, and refresh tokens without it.
    pub(super) async fn login_without_offline_access(
        &self,
        request: &RequestParts<'_>,
        metadata: &Metadata,
        target: &str,
        now: SystemTime,
    ) -> Result<LocalResponse, Cause> {
        let attempt = new_attempt(target.to_owned(), now)?.without_offline_access();
        self.send_to_provider(request, metadata, attempt, now).await
    }

    async fn send_to_provider(
        &self,
        request: &RequestParts<'_>,
        metadata: &Metadata,
        attempt: Attempt,
        now: SystemTime,
    ) -> Result<LocalResponse, Cause> {
        if self.core.settings.pkce_required && metadata.lacks_s256 {
            return Err(Cause::Pkce);
        }
        let client = self.core.client.within(PATIENCE).await.ok_or(Cause::Unavailable)?;
        let attempt = attempt.with_step_up(self.core.settings.step_up.clone());
        let (attempt, cookies) = self.keep_attempt(request, attempt, now)?;
        let settings = &self.core.settings;
        let redirect_uri = self.redirect_uri(request);
        let mut location = authorization_url(settings, &client.id, metadata, &attempt, &redirect_uri)?;
        if settings.pushed_authorization.applies(metadata) {
            location = self.push(&client, metadata, &location).await?;
        }
        let mut response = page::redirect(location.as_str())
            .ok_or(Cause::Internal("the authorization URL is no header value"))?;
        for cookie in cookies {
            response = response.with_header(http::header::SET_COOKIE, cookie);
        }
        Ok(response)
    }

    /// Another login in place of one that took too long.
    pub(super) async fn login_again(
        &self,
        request: &RequestParts<'_>,
        expired: &Attempt,
        now: SystemTime,
    ) -> Result<LocalResponse, Cause> {
        self.rate.admit(request.client, now).map_err(Cause::TooMany)?;
        let metadata = self.core.provider.metadata_within(PATIENCE).await.ok_or(Cause::Unavailable)?;
        let attempt = new_attempt(expired.target().to_owned(), now)?.instead_of(expired);
        let response = self.send_to_provider(request, &metadata, attempt, now).await?;
        self.core.events.login_started(&self.core.name);
        Ok(response)
    }

    /// The cookie that stays of an attempt which has led to a session: a browser that repeats the callback is sent
    /// where it went the first time. It is no longer than the attempt's was.
    pub(super) fn keep_target(
        &self,
        request: &RequestParts<'_>,
        name: &str,
        attempt: &Attempt,
    ) -> Option<HeaderValue> {
        let spent = attempt.clone().with_step_up(None).into_spent();
        match self.attempts.seal(&spent, name) {
            Ok(value) => self.set_cookie(request, name, &value, SPENT_TIME),
            Err(_) => self.clear_cookie(request, name),
        }
    }

    /// The cookies of attempts that have led to a session.
    pub(super) fn spent_attempts(&self, request: &RequestParts<'_>) -> Vec<String> {
        let https = self.is_https(request);
        let spent = |(id, value): (&str, &str)| {
            let name = self.cookies.login_name(https, id);
            self.attempts.open(&name, value).filter(Attempt::is_spent).map(|_| name)
        };
        let logins = self.cookies.logins(request.headers, https);
        logins.filter(|(id, _)| id.len() == attempt::NAME).take(MOST_ATTEMPTS).filter_map(spent).collect()
    }

    /// Sends the request ahead; the browser carries a reference to it.
    async fn push(
        &self,
        client: &Credentials,
        metadata: &Metadata,
        location: &url::Url,
    ) -> Result<url::Url, Cause> {
        let provider = &self.core.provider;
        let seat = tokio::time::timeout(PATIENCE, provider.pushes().acquire()).await;
        let _seat = seat.map_err(|_| Cause::Unavailable)?.map_err(|_| Cause::Unavailable)?;
        let pushed = pushed::push(client, metadata, provider.fetch(), location).await;
        pushed.map_err(|error| Cause::Pushed(self.core.noted(client, error)))
    }

    /// Where the browser goes after the login.
    pub(super) fn target(&self, request: &RequestParts<'_>) -> String {
        let forwarded = || {
            let value = request.headers.get("x-forwarded-uri")?.to_str().ok()?;
            return_target::is_strict(value).then(|| value.to_owned())
        };
        let believed = self.core.settings.trust_forwarded_uri && request.peer_trusted;
        let target = believed
            .then(forwarded)
            .flatten()
            .unwrap_or_else(|| return_target::remember(request.path, request.query));
        let path = target.split('?').next().unwrap_or_default();
        let own = [&self.core.settings.callback_path, &self.core.settings.logout_path];
        if own.iter().any(|own| *own == path) { "/".to_owned() } else { target }
    }

    /// The URL that the provider sends the browser back to.
    pub(super) fn redirect_uri(&self, request: &RequestParts<'_>) -> String {
        format!("{}{}", self.origin(request), self.core.settings.callback_path)
    }

    /// `Set-Cookie` values that add the attempt and drop what it leaves no room for. The target
    /// gives way first: a login that returns to `/` is better than none.
    fn keep_attempt(
        &self,
        request: &RequestParts<'_>,
        attempt: Attempt,
        now: SystemTime,
    ) -> Result<(Attempt, SmallVec<[HeaderValue; 2]>), Cause> {
        let https = self.is_https(request);
        let mut live = Vec::new();
        let mut cookies = SmallVec::new();
        for (id, value) in
            self.cookies.logins(request.headers, https).filter(|(id, _)| id.len() == attempt::NAME)
        {
            let name = self.cookies.login_name(https, id);
            match self.attempts.open(&name, value) {
                Some(attempt)
                    if !attempt.is_spent() && !attempt.is_over(now, self.core.settings.login_max_age) =>
                {
                    let bytes = name.len() + value.len() + 3;
                    live.push((attempt.started(), name, bytes));
                }
                _ => cookies.extend(self.clear_cookie(request, &name)),
            }
        }
        live.sort_unstable_by_key(|(started, _, _)| std::cmp::Reverse(*started));
        for (_, name, _) in live.iter().skip(MOST_ATTEMPTS - 1) {
            cookies.extend(self.clear_cookie(request, name));
        }
        live.truncate(MOST_ATTEMPTS - 1);

        let name = self.cookies.login_name(https, Attempt::cookie_id(&attempt.state()).unwrap_or_default());
        let seal = |attempt: &Attempt| {
            self.attempts.seal(attempt, &name).map_err(|_| Cause::Internal("sealing failed"))
        };
        let used: usize = live.iter().map(|(_, _, bytes)| bytes).sum();
        let (mut attempt, mut value) = (attempt.clone(), seal(&attempt)?);
        if used + name.len() + value.len() + 3 > MOST_BYTES {
            attempt = attempt.with_target("/");
            value = seal(&attempt)?;
        }
        let mut total = used + name.len() + value.len() + 3;
        while total > MOST_BYTES {
            let Some((_, oldest, bytes)) = live.pop() else { break };
            cookies.extend(self.clear_cookie(request, &oldest));
            total -= bytes;
        }
        let age = self.core.settings.login_max_age.saturating_add(LATE_TIME);
        cookies.extend(self.set_cookie(request, &name, &value, age));
        Ok((attempt, cookies))
    }

    /// How often this browser has logged in within the last minute.
    fn rounds(&self, request: &RequestParts<'_>, now: SystemTime) -> Option<Rounds> {
        let name = self.rounds_name(request);
        let value = self.one_cookie(request, &name)?;
        let (count, since) = value.split_once('.')?;
        let rounds = Rounds { count: count.parse().ok()?, since: since.parse().ok()? };
        (rounds.since <= seconds(now) && seconds(now) < rounds.since + ROUND_TIME).then_some(rounds)
    }

    /// The cookie that counts one more login.
    pub(super) fn count_round(&self, request: &RequestParts<'_>, now: SystemTime) -> Option<HeaderValue> {
        let before = self.rounds(request, now).unwrap_or(Rounds { count: 0, since: seconds(now) });
        let value = format!("{}.{}", before.count.saturating_add(1).min(MOST_ROUNDS), before.since);
        self.set_cookie(request, &self.rounds_name(request), &value, Duration::from_secs(ROUND_TIME))
    }

    /// The name of the cookie that counts logins. Attempts have longer ids.
    pub(super) fn rounds_name(&self, request: &RequestParts<'_>) -> String {
        self.cookies.login_name(self.is_https(request), "rounds")
    }
}

/// Logins of one browser. It is the browser's own business to lie about it.
struct Rounds {
    count: u32,
    since: u64,
}

fn new_attempt(target: String, now: SystemTime) -> Result<Attempt, Cause> {
    Attempt::new(target, now).map_err(|_| Cause::Internal("no random numbers"))
}

/// Whether `offline_access` is added of our own accord.
pub(super) fn adds_offline_access(settings: &Settings, metadata: &Metadata) -> bool {
    settings.offline_access
        && metadata.offers_offline_access()
        && !settings.scopes.iter().any(|s| s == "offline_access")
}

/// The authorization request (Core, section 3.1.2.1; RFC 7636).
fn authorization_url(
    settings: &Settings,
    client_id: &str,
    metadata: &Metadata,
    attempt: &Attempt,
    redirect_uri: &str,
) -> Result<url::Url, Cause> {
    let client = token_endpoint::client(client_id, metadata)?;
    let redirect = RedirectUrl::new(redirect_uri.to_owned())
        .map_err(|_| Cause::Internal("the redirect URI is no URL"))?;
    let client = client.disable_openid_scope().set_redirect_uri(redirect);
    let (state, nonce) = (CsrfToken::new(attempt.state()), Nonce::new(attempt.nonce()));
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(attempt.verifier()));
    let offline = adds_offline_access(settings, metadata) && !attempt.is_plain();
    let mut request = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || state, move || nonce)
        .set_pkce_challenge(challenge)
        .add_scopes(
            settings
                .scopes
                .iter()
                .cloned()
                .chain(offline.then(|| "offline_access".to_owned()))
                .map(Scope::new),
        );
    let audience = settings.audience.as_ref().filter(|audience| *audience != client_id);
    let mut named: Vec<&str> = OURS.to_vec();
    for (name, value) in [("audience", audience), ("resource", settings.resource.as_ref())] {
        if let Some(value) = value {
            named.push(name);
            request = request.add_extra_param(name, value.as_str());
        }
    }
    let step_up = attempt.step_up();
    let asked = [
        ("acr_values", step_up.and_then(StepUp::acr_values)),
        ("max_age", step_up.and_then(StepUp::max_age).map(|seconds| seconds.to_string())),
    ];
    for (name, value) in asked {
        if let Some(value) = value {
            named.push(name);
            request = request.add_extra_param(name, value);
        }
    }
    for (name, value) in settings.auth_params.iter().filter(|(name, _)| !named.contains(&name.as_str())) {
        request = request.add_extra_param(name.as_str(), value.as_str());
    }
    Ok(request.url().0)
}
