//! What the provider remembers: logins, codes, grants and the tokens of each grant.
//!
//! A grant is one consent of one person to one client. Tokens name their grant; ending the grant ends them all,
//! which is how the reuse of a spent refresh token (RFC 9700 section 4.14.2) or of a spent code (RFC 6749
//! section 4.1.2) takes the whole family with it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::keys::{self, CryptoError};
use super::options::Rotation;

/// Life of an authorization code.
const CODE_LIFE: Duration = Duration::from_secs(60);
/// Life of a login at the provider.
const LOGIN_LIFE: Duration = Duration::from_secs(86_400);
/// More refresh tokens than this are never held; the demo is no store.
const MOST_TOKENS: usize = 200_000;

/// Milliseconds since 1970.
pub(super) type Millis = u64;

/// `time` as the ledger counts it.
pub(super) fn millis(time: SystemTime) -> Millis {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn after(now: Millis, life: Duration) -> Millis {
    now.saturating_add(u64::try_from(life.as_millis()).unwrap_or(u64::MAX))
}

/// Why a grant is refused; the text is for people, [`Refusal::code`] for the protocol.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the code is unknown or expired")]
    UnknownCode,
    #[error("the code was used before; its tokens are void now")]
    SpentCode,
    #[error("the code belongs to another client or redirect_uri")]
    ForeignCode,
    #[error("the code verifier does not match the challenge")]
    WrongVerifier,
    #[error("the refresh token is unknown, expired or revoked")]
    UnknownRefresh,
    #[error("the refresh token was used before")]
    SpentRefresh,
    #[error("the refresh token was used before; the session's tokens are void now")]
    SpentRefreshEndsGrant,
    #[error("too many tokens are held")]
    Full,
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl Refusal {
    /// `error` of RFC 6749 section 5.2.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Full => "temporarily_unavailable",
            Self::Crypto(_) => "server_error",
            _ => "invalid_grant",
        }
    }
}

/// Somebody is logged in at the provider, in one browser.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) sid: String,
    pub(super) since: Millis,
}

/// One consent: what tokens are issued for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Grant {
    pub(super) client: String,
    /// The client itself, where it acts for nobody.
    pub(super) user: String,
    /// Empty where nobody is logged in.
    pub(super) sid: String,
    pub(super) scope: String,
    pub(super) auth_time: Millis,
    /// Whom access tokens are for; they are JWTs then.
    #[serde(default)]
    pub(super) audience: Option<String>,
}

impl Grant {
    /// Whether a client acts for itself and not for a person.
    pub(super) fn is_machine(&self) -> bool {
        self.sid.is_empty()
    }
}

/// An authorization code and what it is bound to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Code {
    pub(super) grant: Grant,
    pub(super) nonce: Option<String>,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct IssuedCode {
    code: Code,
    expires: Millis,
    /// The grant that came of it, once it was used.
    spent_for: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Token {
    grant: String,
    expires: Millis,
    spent: bool,
}

/// What the token endpoint is shown with a code.
pub(super) struct Redemption<'a> {
    pub(super) code: &'a str,
    pub(super) client: &'a str,
    pub(super) redirect_uri: &'a str,
    pub(super) verifier: &'a str,
}

/// How long new tokens live.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lives {
    pub(super) access: Duration,
    /// None: no refresh token.
    pub(super) refresh: Option<Duration>,
}

/// New tokens of a grant.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) refresh: Option<String>,
}

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Ledger {
    logins: HashMap<String, Login>,
    codes: HashMap<String, IssuedCode>,
    grants: HashMap<String, Grant>,
    access: HashMap<String, Token>,
    refresh: HashMap<String, Token>,
    #[serde(skip)]
    swept: Millis,
}

impl Ledger {
    /// Remembers a login; the returned value is the browser's cookie.
    pub(super) fn log_in(&mut self, user: &str, now: Millis) -> Result<(String, Login), Refusal> {
        let login = Login { user: user.to_owned(), sid: keys::random_text()?, since: now };
        let cookie = keys::random_text()?;
        self.make_room(now)?;
        self.logins.insert(cookie.clone(), login.clone());
        Ok((cookie, login))
    }

    pub(super) fn login(&self, cookie: &str) -> Option<&Login> {
        self.logins.get(cookie)
    }

    /// Ends the login of a `sid` and every grant that came of it.
    pub(super) fn log_out(&mut self, sid: &str) -> Option<Login> {
        self.grants.retain(|_, grant| grant.sid != sid);
        let cookie = self.logins.iter().find(|(_, login)| login.sid == sid)?.0.clone();
        self.logins.remove(&cookie)
    }

    pub(super) fn issue_code(&mut self, code: Code, now: Millis) -> Result<String, Refusal> {
        self.make_room(now)?;
        let value = keys::random_text()?;
        let issued = IssuedCode { code, expires: after(now, CODE_LIFE), spent_for: None };
        self.codes.insert(value.clone(), issued);
        Ok(value)
    }

    /// Exchanges a code for a grant; returns the grant's id and the nonce of the authorization request.
    pub(super) fn redeem(
        &mut self,
        shown: &Redemption<'_>,
        now: Millis,
    ) -> Result<(String, Option<String>), Refusal> {
        self.make_room(now)?;
        let issued = self.codes.get_mut(shown.code).ok_or(Refusal::UnknownCode)?;
        if let Some(grant) = &issued.spent_for {
            self.grants.remove(grant);
            return Err(Refusal::SpentCode);
        }
        if issued.expires <= now {
            return Err(Refusal::UnknownCode);
        }
        if issued.code.grant.client != shown.client || issued.code.redirect_uri != shown.redirect_uri {
            return Err(Refusal::ForeignCode);
        }
        if keys::sha256_text(shown.verifier) != issued.code.challenge {
            return Err(Refusal::WrongVerifier);
        }
        let id = keys::random_text()?;
        issued.spent_for = Some(id.clone());
        self.grants.insert(id.clone(), issued.code.grant.clone());
        Ok((id, issued.code.nonce.clone()))
    }

    /// Uses a refresh token; returns the id of its grant.
    pub(super) fn refresh(
        &mut self,
        value: &str,
        client: &str,
        rotation: Rotation,
        now: Millis,
    ) -> Result<String, Refusal> {
        self.make_room(now)?;
        let token = self.refresh.get_mut(value).ok_or(Refusal::UnknownRefresh)?;
        let grant = self.grants.get(&token.grant).ok_or(Refusal::UnknownRefresh)?;
        if grant.client != client || token.expires <= now {
            return Err(Refusal::UnknownRefresh);
        }
        match (token.spent, rotation) {
            (true, Rotation::Strict) => {
                self.grants.remove(&token.grant);
                Err(Refusal::SpentRefreshEndsGrant)
            }
            (true, _) => Err(Refusal::SpentRefresh),
            (false, _) => {
                token.spent = rotation != Rotation::Off;
                Ok(token.grant.clone())
            }
        }
    }

    /// Remembers a grant that needs no code; returns its id.
    pub(super) fn open(&mut self, grant: Grant, now: Millis) -> Result<String, Refusal> {
        self.make_room(now)?;
        let id = keys::random_text()?;
        self.grants.insert(id.clone(), grant);
        Ok(id)
    }

    /// New tokens for a grant that [`Self::redeem`], [`Self::refresh`] or [`Self::open`] has just returned; `access`
    /// is the access token.
    pub(super) fn issue_tokens(
        &mut self,
        grant: &str,
        access: String,
        lives: Lives,
        now: Millis,
    ) -> Result<Tokens, Refusal> {
        let token = |life| Token { grant: grant.to_owned(), expires: after(now, life), spent: false };
        self.access.insert(access.clone(), token(lives.access));
        let refresh = match lives.refresh {
            Some(life) => {
                let value = keys::random_text()?;
                self.refresh.insert(value.clone(), token(life));
                Some(value)
            }
            None => None,
        };
        Ok(Tokens { access, refresh })
    }

    pub(super) fn grant(&self, id: &str) -> Option<&Grant> {
        self.grants.get(id)
    }

    /// The grant of a living access token.
    pub(super) fn by_access_token(&self, value: &str, now: Millis) -> Option<&Grant> {
        self.living_access_token(value, now).map(|(grant, _)| grant)
    }

    /// The grant of a living access token, and when that token ends.
    pub(super) fn living_access_token(&self, value: &str, now: Millis) -> Option<(&Grant, Millis)> {
        let token = self.access.get(value).filter(|token| token.expires > now)?;
        Some((self.grants.get(&token.grant)?, token.expires))
    }

    /// Takes a token of `client` back (RFC 7009): a refresh token ends its grant, an access token only itself.
    pub(super) fn revoke(&mut self, value: &str, client: &str) -> Option<Grant> {
        if let Some(token) = self.refresh.get(value) {
            let owned = self.grants.get(&token.grant).is_some_and(|g| g.client == client);
            return owned.then(|| self.grants.remove(&token.grant)).flatten();
        }
        let grant = self.grants.get(&self.access.get(value)?.grant)?;
        if grant.client == client {
            self.access.remove(value);
        }
        None
    }

    /// Ends every grant, as an administrator would; the logins stay.
    pub(super) fn end_all_grants(&mut self) {
        self.grants.clear();
    }

    /// Makes every living access token expire now.
    pub(super) fn expire_access_tokens(&mut self, now: Millis) {
        for token in self.access.values_mut() {
            token.expires = token.expires.min(now);
        }
    }

    fn make_room(&mut self, now: Millis) -> Result<(), Refusal> {
        if self.swept.saturating_add(1000) <= now {
            self.sweep(now);
        }
        let held = self.refresh.len().max(self.access.len()).max(self.logins.len());
        if held.max(self.codes.len()) < MOST_TOKENS { Ok(()) } else { Err(Refusal::Full) }
    }

    fn sweep(&mut self, now: Millis) {
        self.swept = now;
        self.codes.retain(|_, code| code.expires > now);
        self.logins.retain(|_, login| after(login.since, LOGIN_LIFE) > now);
        let grants = &self.grants;
        let lives = |token: &Token| token.expires > now && grants.contains_key(&token.grant);
        self.access.retain(|_, token| lives(token));
        self.refresh.retain(|_, token| lives(token));
        // A grant whose last token is gone can never be used again.
        let used: std::collections::HashSet<&String> =
            self.access.values().chain(self.refresh.values()).map(|token| &token.grant).collect();
        self.grants.retain(|id, _| used.contains(id));
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
