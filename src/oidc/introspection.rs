//! Token introspection (RFC 7662): is this token good, and what does it stand for?
//!
//! Answers are kept with the provider, so that all policies of a client share them and a reload
//! forgets none: while the token lives, but no longer than five minutes; a "no" for seconds only.
//! Whoever asks about a token that is being asked about waits for that answer, which comes even if the
//! first one who asked has left.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::claims::Claims;
use super::client_auth::Credentials;
use super::clock::unix_millis;
use super::fetch::FetchError;
use super::id_token;
use super::provider::{Provider, Source};
use super::throttle::{Throttle, warn_or_debug};
use super::token_endpoint::GrantError;

/// Answers that are kept, unless they are long.
const MOST: usize = 10_000;

/// Memory of answers that are kept, in bytes.
const MEMORY: u64 = 32 << 20;

/// The longest that a "yes" is believed.
const LONGEST: Duration = Duration::from_secs(300);

/// How long a "no" is believed.
const NEGATIVE: Duration = Duration::from_secs(10);

/// The pause after a call that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest wait for an answer, one's own or another's.
const PATIENCE: Duration = Duration::from_secs(12);

/// Calls to one provider at the same time, because of tokens of one [`Source`].
const MOST_CALLS: usize = 64;

/// Those of one source who wait for a call of theirs or of others; beyond it the answer is that nobody can say.
const MOST_WAITING: usize = 4_096;

/// What is known of a token.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It is good, and stands for these claims.
    Active(Arc<Claims>),
    /// It is not: expired, revoked, never issued, or not for us.
    Inactive,
    /// The provider gave no answer; for the log.
    Unknown(Arc<str>),
}

/// A verdict and its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What is known.
    pub verdict: Verdict,
    /// How long, in milliseconds since 1970.
    pub until: u64,
    /// About how many bytes of memory it takes.
    weight: u64,
}

impl Answer {
    fn new(verdict: Verdict, until: u64) -> Self {
        Self { verdict, until, weight: 256 }
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<[u8; 32], Answer> for Bytes {
    fn weight(&self, _: &[u8; 32], answer: &Answer) -> u64 {
        answer.weight
    }
}

/// The answers of one provider.
pub struct Introspections {
    answers: Cache<[u8; 32], Answer, Bytes>,
    /// Of sessions. Strangers with tokens of their own making must not keep them from an answer.
    sessions: Places,
    /// Of tokens that anybody may have sent.
    strangers: Places,
    /// Log lines about calls that fail.
    failures: Throttle,
}

/// The room for questions of one source.
struct Places {
    calls: Semaphore,
    waiting: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self { calls: Semaphore::new(MOST_CALLS), waiting: Arc::new(Semaphore::new(MOST_WAITING)) }
    }
}

impl Default for Introspections {
    fn default() -> Self {
        let (sessions, strangers) = (Places::default(), Places::default());
        let answers = Cache::with_weighter(MOST, MEMORY, Bytes);
        Self { answers, sessions, strangers, failures: Throttle::default() }
    }
}

impl Introspections {
    fn places(&self, source: Source) -> &Places {
        match source {
            Source::Provider => &self.sessions,
            Source::Anybody => &self.strangers,
        }
    }
}

impl std::fmt::Debug for Introspections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introspections").field("len", &self.answers.len()).finish()
    }
}

/// What the provider knows of `token`, asked as this client. `source`: who has brought it.
pub async fn introspect(
    credentials: &Arc<Credentials>,
    provider: &Arc<Provider>,
    token: &SecretString,
    source: Source,
    now: SystemTime,
) -> Answer {
    let known = provider.introspections();
    let (key, millis) = (key(credentials, token), unix_millis(now));
    if let Some(answer) = known.answers.get(&key).filter(|answer| millis < answer.until) {
        return answer;
    }
    let unknown = |why: &str| Answer::new(Verdict::Unknown(why.into()), millis);
    let Ok(place) = Arc::clone(&known.places(source).waiting).try_acquire_owned() else {
        return unknown("too many tokens are being introspected");
    };
    let (credentials, provider) = (Arc::clone(credentials), Arc::clone(provider));
    let question = Question { credentials, provider, token: token.clone(), source, now };
    // A task of its own: clients that leave must not make the others start over.
    let runtime = question.provider.runtime().clone();
    let task = runtime.spawn(async move {
        let _place = place;
        tokio::time::timeout(PATIENCE, question.answer(&key)).await.ok()
    });
    task.await.ok().flatten().unwrap_or_else(|| unknown("no answer in time"))
}

/// Every input of an answer that is not the provider's own: who asks, and about what.
fn key(credentials: &Credentials, token: &SecretString) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    for part in [credentials.id.as_str(), token.expose_secret()] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut key = [0; 32];
    key.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    key
}

/// One token, and who asks about it.
struct Question {
    credentials: Arc<Credentials>,
    provider: Arc<Provider>,
    token: SecretString,
    source: Source,
    now: SystemTime,
}

impl Question {
    /// By the provider, unless somebody asks already.
    async fn answer(&self, key: &[u8; 32]) -> Answer {
        let (answers, millis) = (&self.provider.introspections().answers, unix_millis(self.now));
        answers.remove_if(key, |answer| answer.until <= millis);
        match answers.get_value_or_guard_async(key).await {
            Ok(answer) => answer,
            Err(seat) => {
                let answer = self.ask().await;
                // It fails only if the entry was removed meanwhile: then the next one asks again.
                let _ = seat.insert(answer.clone());
                answer
            }
        }
    }

    async fn ask(&self) -> Answer {
        /// What a claim takes in memory, beside its text.
        const SPREAD: u64 = 4;
        let mut length = 0;
        let (verdict, until) = match self.call().await {
            Ok((members, bytes)) => {
                length = bytes as u64;
                judge(Claims::new(members), &self.provider, self.now)
            }
            Err(error) => {
                let admitted = self.provider.introspections().failures.admit(self.now);
                warn_or_debug!(
                    admitted,
                    issuer = self.provider.issuer(), cause = %error, "a token was not introspected"
                );
                (Verdict::Unknown(error.to_string().into()), self.now + PAUSE)
            }
        };
        let outcome = match verdict {
            Verdict::Active(_) => "active",
            Verdict::Inactive => "inactive",
            Verdict::Unknown(_) => "unavailable",
        };
        self.provider.events().introspected(self.provider.issuer(), outcome);
        let weight = if matches!(verdict, Verdict::Active(_)) { length * SPREAD } else { 0 };
        let answer = Answer::new(verdict, unix_millis(until));
        Answer { weight: answer.weight + weight, ..answer }
    }

    /// The members of an answer, and how many bytes it had.
    async fn call(&self) -> Result<(Map<String, Value>, usize), Failure> {
        let Self { credentials, provider, token, .. } = self;
        let metadata = provider.metadata().ok_or(Failure::NeverReached)?;
        let endpoint = metadata.introspection_endpoint.as_ref().ok_or(Failure::NoEndpoint)?;
        let form = [("token", token.expose_secret()), ("token_type_hint", "access_token")];
        let places = provider.introspections().places(self.source);
        let _seat = places.calls.acquire().await.map_err(|_| Failure::NeverReached)?;
        let proof = credentials.proof(&metadata).await.map_err(GrantError::from)?;
        let request = proof.post(endpoint, &form).map_err(|error| GrantError::Request(error.to_string()))?;
        let answer = provider.fetch().call(request).await?;
        if answer.status.as_u16() != 200 {
            return Err(Failure::Status(answer.status.as_u16()));
        }
        let members: super::unique::Members =
            serde_json::from_slice(&answer.body).map_err(|_| Failure::Malformed)?;
        if members.0.get("active").is_some_and(Value::is_boolean) {
            Ok((members.0, answer.body.len()))
        } else {
            Err(Failure::Malformed)
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the OpenID provider was never reached")]
    NeverReached,
    #[error("the OpenID provider names no introspection endpoint; set introspectionURL")]
    NoEndpoint,
    #[error("introspection: {0}")]
    Request(#[from] GrantError),
    #[error("introspection: {0}")]
    Fetch(#[from] FetchError),
    #[error("introspection: HTTP status {0}")]
    Status(u16),
    #[error("introspection: the answer is none of RFC 7662")]
    Malformed,
}

/// Whether an answer stands for a token of this issuer that lives now, and for how long it counts.
fn judge(claims: Claims, provider: &Provider, now: SystemTime) -> (Verdict, SystemTime) {
    let no = (Verdict::Inactive, now + NEGATIVE);
    let active = claims.members().get("active").and_then(Value::as_bool) == Some(true);
    let metadata = provider.metadata();
    let ours = |issuer: &str| id_token::check_issuer(&claims, issuer).is_ok();
    let foreign = claims.get("iss").is_some() && !metadata.is_some_and(|metadata| ours(&metadata.issuer));
    let (Ok(expiry), Ok(not_before)) = (id_token::time(&claims, "exp"), id_token::time(&claims, "nbf"))
    else {
        return no;
    };
    let early = not_before.is_some_and(|start| start > now + id_token::SKEW);
    if !active || foreign || early || expiry.is_some_and(|end| end <= now) {
        tracing::debug!(issuer = provider.issuer(), active, foreign, early, "inactive token");
        return no;
    }
    let longest = now + LONGEST;
    let until = expiry.map_or(longest, |end| end.min(longest));
    (Verdict::Active(Arc::new(claims)), until)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn long_answers_do_not_fill_the_memory() {
        let known = Introspections::default();
        for number in 0..200_u64 {
            let mut key = [0; 32];
            key.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
            let answer = Answer { weight: 4 << 20, ..Answer::new(Verdict::Inactive, 0) };
            known.answers.insert(key, answer);
        }
        assert!(known.answers.weight() <= MEMORY, "{}", known.answers.weight());
    }
}
