//! What every session store must do: one suite, run against each.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, SystemTime};

use super::id::{IndexKey, SessionKey};
use super::store::{CasOutcome, LeaseOutcome, OwnerId, SessionStore, StoreError, Stored};
use crate::oidc::clock::from_unix_millis;

pub(crate) fn key(n: u8) -> SessionKey {
    SessionKey([n; 32])
}

pub(crate) fn index(n: u8) -> IndexKey {
    IndexKey([n; 32])
}

/// In the future: Redis drops by itself what expired.
pub(crate) fn at(seconds: u64) -> SystemTime {
    from_unix_millis(4_000_000_000_000 + seconds * 1000)
}

pub(crate) fn row(generation: u64) -> Stored {
    Stored { generation, expires: at(1000), sid: Some(index(200)), sub: index(201), sealed: vec![7; 50_000] }
}

/// Runs the suite on an empty store.
pub(crate) async fn check(store: &dyn SessionStore) {
    rows_round_trip(store).await;
    marks_round_trip(store).await;
    swap_goes_by_generation(store).await;
    indexes_follow_the_rows(store).await;
    leases_exclude(store).await;
    keys_do_not_run_together(store).await;
    ends_move_forward_only(store).await;
    pages_hold_sessions_only(store).await;
    expired_rows_go(store).await;
    assert_eq!(store.count().await.unwrap(), 0);
    store.health().await.unwrap();
}

async fn rows_round_trip(store: &dyn SessionStore) {
    assert_eq!(store.load(&key(1)).await.unwrap(), None);
    assert_eq!(store.count().await.unwrap(), 0);
    store.insert(&key(1), row(0)).await.unwrap();
    assert_eq!(store.load(&key(1)).await.unwrap(), Some(row(0)));
    let again = store.insert(&key(1), row(5)).await;
    assert!(matches!(again, Err(StoreError::Exists)), "{again:?}");
    assert_eq!(store.load(&key(1)).await.unwrap(), Some(row(0)));
    assert!(store.delete(&key(1)).await.unwrap());
    assert!(!store.delete(&key(1)).await.unwrap());
    assert_eq!(store.load(&key(1)).await.unwrap(), None);
}

/// A row that is no session: nothing is sealed in it, no `sid` names it, and it is its own subject.
async fn marks_round_trip(store: &dyn SessionStore) {
    let mark = Stored { sid: None, sub: index(1), sealed: Vec::new(), ..row(1_800_000_000_123) };
    store.insert(&key(1), mark.clone()).await.unwrap();
    assert_eq!(store.load(&key(1)).await.unwrap(), Some(mark));
    assert!(store.delete(&key(1)).await.unwrap());
}

async fn swap_goes_by_generation(store: &dyn SessionStore) {
    store.insert(&key(1), row(0)).await.unwrap();
    let swap = async |expected, new| store.compare_and_swap(&key(1), expected, row(new)).await.unwrap();
    assert_eq!(swap(0, 1).await, CasOutcome::Swapped);
    assert_eq!(swap(0, 1).await, CasOutcome::Conflict(1));
    assert_eq!(swap(2, 3).await, CasOutcome::Conflict(1));
    assert_eq!(store.load(&key(1)).await.unwrap(), Some(row(1)));
    store.delete(&key(1)).await.unwrap();
    assert_eq!(swap(1, 2).await, CasOutcome::Gone);
    assert_eq!(store.load(&key(1)).await.unwrap(), None, "a swap revives nothing");
}

async fn indexes_follow_the_rows(store: &dyn SessionStore) {
    let other = Stored { sid: None, ..row(0) };
    store.insert(&key(1), row(0)).await.unwrap();
    store.insert(&key(2), other.clone()).await.unwrap();
    store.insert(&key(3), Stored { sub: index(9), ..other }).await.unwrap();
    assert_eq!(store.by_sid(&index(200)).await.unwrap(), [key(1)]);
    let mut of_sub = store.by_sub(&index(201)).await.unwrap();
    of_sub.sort();
    assert_eq!(of_sub, [key(1), key(2)]);
    assert!(store.by_sid(&index(201)).await.unwrap().is_empty());
    let moved = Stored { sid: Some(index(4)), ..row(1) };
    store.compare_and_swap(&key(1), 0, moved).await.unwrap();
    assert!(store.by_sid(&index(200)).await.unwrap().is_empty());
    assert_eq!(store.by_sid(&index(4)).await.unwrap(), [key(1)]);
    for n in 1..=3 {
        store.delete(&key(n)).await.unwrap();
    }
    assert!(store.by_sub(&index(201)).await.unwrap().is_empty());
}

/// Keys that begin and end alike, and hold what a store may put between its parts (N72 of `docs/attacks.md`).
async fn keys_do_not_run_together(store: &dyn SessionStore) {
    let mut keys = Vec::new();
    for place in [0, 15, 31] {
        for byte in *b"{}*\0\n\xff " {
            let mut bytes = [b':'; 32];
            bytes[place] = byte;
            keys.push(SessionKey(bytes));
        }
    }
    let number = |n: usize| u64::try_from(n).unwrap();
    for (n, key) in keys.iter().enumerate() {
        store.insert(key, row(number(n))).await.unwrap();
    }
    for (n, key) in keys.iter().enumerate() {
        let owner = OwnerId([u8::try_from(n).unwrap(); 16]);
        let lease = store.lease(key, owner, number(n), at(0), Duration::from_secs(15));
        assert_eq!(lease.await.unwrap(), LeaseOutcome::Granted, "{n}: nobody else has this one");
        assert_eq!(store.load(key).await.unwrap(), Some(row(number(n))));
    }
    for (n, key) in keys.iter().enumerate() {
        assert!(store.delete(key).await.unwrap());
        assert_eq!(store.count().await.unwrap(), number(keys.len() - n - 1));
    }
}

async fn leases_exclude(store: &dyn SessionStore) {
    let (a, b) = (OwnerId([1; 16]), OwnerId([2; 16]));
    let ttl = Duration::from_secs(15);
    let lease =
        async |owner, generation, now| store.lease(&key(1), owner, generation, at(now), ttl).await.unwrap();
    assert_eq!(lease(a, 0, 0).await, LeaseOutcome::Gone);
    store.insert(&key(1), row(0)).await.unwrap();
    assert_eq!(lease(a, 0, 0).await, LeaseOutcome::Granted);
    assert_eq!(lease(b, 0, 1).await, LeaseOutcome::Held(at(15)));
    assert_eq!(lease(a, 0, 2).await, LeaseOutcome::Granted, "its owner may renew it");
    assert_eq!(lease(b, 0, 16).await, LeaseOutcome::Held(at(17)));
    assert_eq!(lease(b, 0, 17).await, LeaseOutcome::Granted, "it ends by time");
    store.release(&key(1), a, at(18)).await.unwrap();
    assert_eq!(lease(a, 0, 18).await, LeaseOutcome::Held(at(32)), "another's is not given back");
    store.release(&key(1), b, at(20)).await.unwrap();
    assert_eq!(lease(a, 0, 19).await, LeaseOutcome::Held(at(20)));
    assert_eq!(lease(a, 0, 20).await, LeaseOutcome::Granted);
    store.compare_and_swap(&key(1), 0, row(1)).await.unwrap();
    assert_eq!(lease(b, 0, 21).await, LeaseOutcome::Moved(1));
    assert_eq!(lease(b, 1, 21).await, LeaseOutcome::Granted, "a swap ends the lease");
    store.delete(&key(1)).await.unwrap();
}

async fn ends_move_forward_only(store: &dyn SessionStore) {
    let (owner, ttl) = (OwnerId([1; 16]), Duration::from_secs(15));
    assert!(!store.extend(&key(1), at(3000)).await.unwrap());
    store.insert(&key(1), row(0)).await.unwrap();
    store.lease(&key(1), owner, 0, at(0), ttl).await.unwrap();
    assert!(store.extend(&key(1), at(3000)).await.unwrap());
    assert!(store.extend(&key(1), at(2000)).await.unwrap());
    assert_eq!(store.load(&key(1)).await.unwrap(), Some(Stored { expires: at(3000), ..row(0) }));
    let other = store.lease(&key(1), OwnerId([2; 16]), 0, at(1), ttl).await.unwrap();
    assert_eq!(other, LeaseOutcome::Held(at(15)), "a lease stays");
    assert_eq!(store.purge_expired(at(2999)).await.unwrap(), 0);
    assert_eq!(store.by_sid(&index(200)).await.unwrap(), [key(1)]);
    assert_eq!(store.by_sub(&index(201)).await.unwrap(), [key(1)]);
    assert_eq!(store.purge_expired(at(3000)).await.unwrap(), 1);
}

async fn pages_hold_sessions_only(store: &dyn SessionStore) {
    if let Err(StoreError::Unsupported(what)) = store.list(None, 1).await {
        println!("skipped: pages_hold_sessions_only: the store cannot {what}");
        return;
    }
    for n in [5, 1, 4, 2] {
        store.insert(&key(n), row(0)).await.unwrap();
    }
    store.insert(&key(3), Stored { sid: None, sub: index(3), ..row(0) }).await.unwrap();
    let page = async |after: Option<u8>, limit| {
        store
            .list(after.map(key).as_ref(), limit)
            .await
            .unwrap()
            .into_iter()
            .map(|(key, _)| key)
            .collect::<Vec<_>>()
    };
    assert_eq!(page(None, 3).await, [key(1), key(2), key(4)]);
    assert_eq!(page(Some(4), 3).await, [key(5)]);
    assert!(page(Some(5), 3).await.is_empty());
    assert_eq!(store.list(None, 1).await.unwrap(), [(key(1), at(1000))]);
    for n in 1..=5 {
        store.delete(&key(n)).await.unwrap();
    }
}

async fn expired_rows_go(store: &dyn SessionStore) {
    store.insert(&key(1), row(0)).await.unwrap();
    let later = Stored { expires: at(2000), ..row(0) };
    store.insert(&key(2), later).await.unwrap();
    assert_eq!(store.purge_expired(at(999)).await.unwrap(), 0);
    assert_eq!(store.purge_expired(at(1000)).await.unwrap(), 1);
    assert!(store.load(&key(1)).await.unwrap().is_none());
    assert!(store.load(&key(2)).await.unwrap().is_some());
    assert_eq!(store.purge_expired(at(5000)).await.unwrap(), 1);
}
