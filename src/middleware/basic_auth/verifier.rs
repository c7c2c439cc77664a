//! Checks passwords off the runtime's threads, and remembers the right ones.
//!
//! A browser sends its password with every request, and bcrypt is slow on purpose: each right password is verified
//! once. What is remembered is an HMAC under a key that dies with the process, so no password is kept.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OnceCell, Semaphore};

use super::hash::Hash;

/// How many right passwords are remembered; then forgotten all at once.
const REMEMBERED: usize = 1024;

/// Bounds the verifications at one time in the whole process, so that a flood of passwords cannot take every core.
static RUNNING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = crate::net::cores();
    Arc::new(Semaphore::new(cores))
});

type Tag = [u8; 32];
type Verdict = Arc<OnceCell<bool>>;

pub(super) struct Verifier {
    key: hmac::Key,
    right: ArcSwap<HashSet<Tag>>,
    /// Equal pairs that are being checked share one verification. Only requests that miss `right` come here.
    in_flight: Mutex<HashMap<Tag, Verdict>>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    pub(super) fn new() -> Result<Self, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            key: key.map_err(|_| "no randomness".to_owned())?,
            right: ArcSwap::default(),
            in_flight: Mutex::default(),
        })
    }

    /// Whether `password` fits `hash`, which belongs to `user` or is a decoy for it.
    pub(super) async fn check(&self, user: &str, password: &SecretString, hash: &Arc<Hash>) -> bool {
        let tag = self.tag(user, password.expose_secret());
        if self.right.load().contains(&tag) {
            return true;
        }
        let flight = Flight::join(self, tag);
        let right = *flight.verdict.get_or_init(|| verify(Arc::clone(hash), password.clone())).await;
        if right {
            self.remember(tag);
        }
        right
    }

    fn tag(&self, user: &str, password: &str) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        // A user name holds no colon (RFC 7617, section 2), so the pair cannot be read in two ways.
        for part in [user, ":", password] {
            context.update(part.as_bytes());
        }
        context.sign().as_ref().try_into().unwrap_or_default()
    }

    fn remember(&self, tag: Tag) {
        self.right.rcu(|right| {
            let mut right = if right.len() < REMEMBERED { HashSet::clone(right) } else { HashSet::new() };
            right.insert(tag);
            right
        });
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Tag, Verdict>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's part in a shared verification; the last one to leave, also by being cancelled, clears it away.
struct Flight<'a> {
    verifier: &'a Verifier,
    tag: Tag,
    verdict: Verdict,
}

impl<'a> Flight<'a> {
    fn join(verifier: &'a Verifier, tag: Tag) -> Self {
        let verdict = Arc::clone(verifier.in_flight().entry(tag).or_default());
        Self { verifier, tag, verdict }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut in_flight = self.verifier.in_flight();
        // The map's own and this one.
        if Arc::strong_count(&self.verdict) == 2 {
            in_flight.remove(&self.tag);
        }
    }
}

async fn verify(hash: Arc<Hash>, password: SecretString) -> bool {
    let Ok(permit) = Arc::clone(&RUNNING).acquire_owned().await else { return false };
    let task = tokio::task::spawn_blocking(move || {
        let right = hash.verify(password.expose_secret());
        // Held to here, so that a request that is given up does not free a place that is still taken.
        drop(permit);
        right
    });
    task.await.unwrap_or(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    fn hash(password: &str) -> Arc<Hash> {
        Arc::new(Hash::parse(&bcrypt::hash(password, 4).unwrap()))
    }

    #[tokio::test]
    async fn right_passwords_are_remembered_and_wrong_ones_are_not() {
        let (verifier, hash) = (Verifier::new().unwrap(), hash("a"));
        assert!(verifier.check("u", &"a".into(), &hash).await);
        assert!(!verifier.check("u", &"b".into(), &hash).await);
        assert_eq!(verifier.right.load().len(), 1);
        // The remembered verdict belongs to this pair only.
        assert!(verifier.check("u", &"a".into(), &Arc::new(Hash::Unknown)).await);
        assert!(!verifier.check("v", &"a".into(), &Arc::new(Hash::Unknown)).await);
    }

    #[tokio::test]
    async fn equal_pairs_in_flight_are_checked_once_and_leave_nothing_behind() {
        let (verifier, hash) = (Verifier::new().unwrap(), hash("a"));
        let wrong = SecretString::from("b");
        let first = Flight::join(&verifier, verifier.tag("u", "b"));
        let checks = (0..100).map(|_| verifier.check("u", &wrong, &hash));
        assert!(join_all(checks).await.iter().all(|right| !right));
        // Every one of them took the verdict of the flight that was there before.
        assert_eq!(first.verdict.get(), Some(&false));
        drop(first);
        assert!(verifier.in_flight().is_empty());
    }

    #[tokio::test]
    async fn a_cancelled_check_leaves_nothing_behind() {
        let (verifier, hash) = (Verifier::new().unwrap(), hash("a"));
        let password = SecretString::from("a");
        // With every place taken, the check has to wait.
        let cores = crate::net::cores();
        let taken = RUNNING.acquire_many(cores.try_into().unwrap()).await.unwrap();
        let check = verifier.check("u", &password, &hash);
        assert!(futures_util::FutureExt::now_or_never(check).is_none());
        assert!(verifier.in_flight().is_empty());
        drop(taken);
    }

    #[test]
    fn memory_is_bounded() {
        let verifier = Verifier::new().unwrap();
        for at in 0..3 * REMEMBERED {
            verifier.remember(verifier.tag("u", &at.to_string()));
            assert!(verifier.right.load().len() <= REMEMBERED);
        }
    }
}
