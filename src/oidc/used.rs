//! States that have been used: a login answer counts once.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Most states that are remembered. Only a state that we sealed ourselves gets here, so a flood of
/// them costs its sender as many whole logins.
const MOST: usize = 65_536;

/// Remembers used states for as long as their attempts could live.
#[derive(Debug, Default)]
pub struct UsedStates(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: HashSet<[u8; 32]>,
    /// With the end of each: not all policies have one `max_age`.
    order: VecDeque<(SystemTime, [u8; 32])>,
}

impl UsedStates {
    /// Whether `state` was used lately.
    pub fn contains(&self, state: &str) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hash(state).is_some_and(|hash| inner.known.contains(&hash))
    }

    /// Marks `state` as used; whether this is the first time.
    pub fn claim(&self, state: &str, now: SystemTime, max_age: Duration) -> bool {
        let Some(hash) = hash(state) else { return false };
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((end, old)) = inner.order.front().copied() {
            if now <= end && inner.order.len() < MOST {
                break;
            }
            inner.order.pop_front();
            inner.known.remove(&old);
        }
        if !inner.known.insert(hash) {
            return false;
        }
        inner.order.push_back((now + max_age, hash));
        true
    }
}

fn hash(state: &str) -> Option<[u8; 32]> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, state.as_bytes()).as_ref().first_chunk().copied()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_with_short_logins_forgets_nothing_of_another() {
        let used = UsedStates::default();
        let (now, short, long) = (SystemTime::UNIX_EPOCH, Duration::from_secs(60), Duration::from_secs(1800));
        assert!(used.claim("long", now, long));
        assert!(used.claim("short", now + short * 2, short));
        assert!(!used.claim("long", now + short * 3, long));
    }

    #[test]
    fn each_state_once_and_bounded() {
        let used = UsedStates::default();
        let (now, age) = (SystemTime::UNIX_EPOCH, Duration::from_secs(600));
        assert!(used.claim("a", now, age));
        assert!(!used.claim("a", now + age, age));
        assert!(used.claim("b", now + age * 2, age));
        assert_eq!(used.0.lock().unwrap().known.len(), 1);
        for n in 0..MOST + 10 {
            used.claim(&n.to_string(), now + age * 2, age);
        }
        let inner = used.0.lock().unwrap();
        assert!(inner.known.len() <= MOST && inner.order.len() == inner.known.len());
    }
}
