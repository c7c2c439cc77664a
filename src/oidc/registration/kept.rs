//! A registered client as the store has it.

use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use super::answer::Registered;
use crate::oidc::client_auth::{ClientAuth, Credentials};
use crate::oidc::clock::{from_unix_millis, unix_millis};

/// How long a client is kept whose secret has no end.
const ENDLESS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Before its end a secret is replaced by a tenth of its life, within these.
const LEAST_MARGIN: Duration = Duration::from_secs(300);
const MOST_MARGIN: Duration = Duration::from_secs(24 * 3600);

/// A client that the provider refuses is replaced no sooner than this after its registration; each time that happens
/// within a day the pause doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A client, when it was registered, and how many before it the provider has refused one soon after another.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) client: Registered,
    /// The one before it, whose secret has not ended yet: the refresh tokens of older sessions are that one's.
    pub(super) former: Option<Registered>,
    pub(super) registered: SystemTime,
    pub(super) refusals: u32,
}

#[derive(Deserialize)]
struct Written {
    client: WrittenClient,
    former: Option<WrittenClient>,
    registered: u64,
    refusals: u32,
}

#[derive(Deserialize)]
struct WrittenClient {
    id: String,
    secret: Option<SecretText>,
    end: Option<u64>,
    method: String,
    access_token: Option<SecretText>,
    client_uri: Option<Url>,
}

/// Text that becomes a secret as soon as it is read.
#[derive(Deserialize)]
#[serde(from = "String")]
struct SecretText(SecretString);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

impl Kept {
    /// What the store holds; none if it is not of this version.
    pub(super) fn read(plain: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(plain).ok()?;
        Some(Self {
            client: written.client.read()?,
            former: written.former.and_then(WrittenClient::read),
            registered: from_unix_millis(written.registered),
            refusals: written.refusals,
        })
    }

    pub(super) fn to_plain(&self) -> Zeroizing<Vec<u8>> {
        let text = |secret: &Option<SecretString>| secret.as_ref().map(|s| s.expose_secret().to_owned());
        let client = |client: &Registered| {
            json!({
                "id": client.id, "secret": text(&client.secret), "end": client.end.map(unix_millis),
                "method": client.method.name(), "access_token": text(&client.access_token),
                "client_uri": client.client_uri,
            })
        };
        let written = json!({
            "client": client(&self.client), "former": self.former.as_ref().map(client),
            "registered": unix_millis(self.registered), "refusals": self.refusals,
        });
        Zeroizing::new(written.to_string().into_bytes())
    }

    /// Until when the store keeps it.
    pub(super) fn expires(&self) -> SystemTime {
        self.client.end.unwrap_or(self.registered + ENDLESS)
    }

    /// When another client takes its place; none: never, by itself. `refused`: the provider does not know it.
    pub(super) fn due(&self, refused: bool) -> Option<SystemTime> {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.refusals.min(16)).min(LONGEST_PAUSE);
        let of_refusal = refused.then(|| self.registered + pause);
        [of_refusal, self.client.end.map(|end| end - self.margin(end))].into_iter().flatten().min()
    }

    fn margin(&self, end: SystemTime) -> Duration {
        let life = end.duration_since(self.registered).unwrap_or_default();
        (life / 10).clamp(LEAST_MARGIN, MOST_MARGIN).min(life / 2)
    }

    /// What becomes of the clients when another takes the place of the present one: the former one from then on, whose
    /// secret still holds, and those that nobody needs.
    pub(super) fn give_way(self, refused: bool, now: SystemTime) -> (Option<Registered>, Vec<Registered>) {
        let useful = !refused && !self.client.is_over(now);
        let (former, spent) = if useful { (Some(self.client), None) } else { (None, Some(self.client)) };
        (former, spent.into_iter().chain(self.former).collect())
    }

    /// How many clients were refused before the one that takes its place.
    pub(super) fn refusals_of_next(&self, refused: bool, now: SystemTime) -> u32 {
        let soon = now.duration_since(self.registered).is_ok_and(|age| age < DAY);
        if refused && soon { self.refusals.saturating_add(1) } else { 0 }
    }
}

impl Registered {
    /// Whether its secret has ended.
    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.end.is_some_and(|end| end <= now)
    }

    /// What it proves itself with.
    pub(super) fn credentials(&self, template: &Credentials) -> Credentials {
        Credentials {
            id: self.id.clone(),
            secret: self.secret.clone(),
            method: Some(self.method),
            ..template.clone()
        }
    }
}

impl WrittenClient {
    fn read(self) -> Option<Registered> {
        Some(Registered {
            id: self.id,
            secret: self.secret.map(|text| text.0),
            end: self.end.map(from_unix_millis),
            method: ClientAuth::named(&self.method)?,
            access_token: self.access_token.map(|text| text.0),
            client_uri: self.client_uri,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        from_unix_millis(1_800_000_000_000 + seconds * 1000)
    }

    fn kept(end: Option<u64>, refusals: u32) -> Kept {
        let client = Registered {
            id: "c".to_owned(),
            secret: Some("s".into()),
            end: end.map(at),
            method: ClientAuth::SecretJwt,
            access_token: Some("manage".into()),
            client_uri: Url::parse("https://i/c").ok(),
        };
        Kept { former: Some(client.clone()), client, registered: at(0), refusals }
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let before = kept(Some(100), 3);
        let after = Kept::read(&before.to_plain()).unwrap();
        assert_eq!(after.to_plain(), before.to_plain());
        assert_eq!(after.client.secret.as_ref().unwrap().expose_secret(), "s");
        assert_eq!(after.former.as_ref().map(|former| former.id.as_str()), Some("c"));
        assert_eq!((after.registered, after.refusals, after.client.end), (at(0), 3, Some(at(100))));
        assert!(Kept::read(b"{}").is_none());
        assert!(!format!("{before:?}").contains("manage"));
    }

    #[test]
    fn a_secret_is_replaced_in_time() {
        let due = |life| kept(Some(life), 0).due(false).unwrap();
        assert_eq!(due(100), at(50), "half of a short life");
        assert_eq!(due(2000), at(1700), "five minutes");
        assert_eq!(due(100_000), at(90_000), "a tenth");
        assert_eq!(due(100 * 86_400), at(99 * 86_400), "a day");
        assert_eq!(kept(None, 0).due(false), None);
        let client = kept(Some(100), 0).client;
        assert!(client.is_over(at(100)) && !client.is_over(at(99)));
    }

    #[test]
    fn refused_clients_are_replaced_ever_more_slowly() {
        let due = |refusals| kept(None, refusals).due(true).unwrap();
        assert_eq!((due(0), due(1), due(3), due(40)), (at(60), at(120), at(480), at(3600)));
        assert_eq!(kept(Some(100), 5).due(true), Some(at(50)), "whichever comes first");
        assert_eq!(kept(None, 1).refusals_of_next(true, at(100)), 2);
        assert_eq!(kept(None, 1).refusals_of_next(true, at(90_000)), 0);
        assert_eq!(kept(None, 1).refusals_of_next(false, at(100)), 0);
    }
}
