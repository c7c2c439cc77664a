use super::*;
use crate::oidc::session::contract::{self, at, key, row};

#[tokio::test]
async fn keeps_the_contract() {
    contract::check(&CookieStore::new(100)).await;
}

#[tokio::test]
async fn an_offer_adds_or_replaces_what_is_older_and_revives_nothing() {
    let store = CookieStore::new(100);
    let offer = |row| store.offer(&key(1), row).unwrap();
    assert!(offer(row(3)));
    assert!(offer(row(2)));
    assert_eq!(store.load(&key(1)).await.unwrap().unwrap().generation, 3);
    assert!(offer(Stored { expires: at(1500), ..row(4) }));
    assert_eq!(store.load(&key(1)).await.unwrap(), Some(Stored { expires: at(1500), ..row(4) }));
    store.delete(&key(1)).await.unwrap();
    assert!(!offer(row(5)));
    assert_eq!(store.load(&key(1)).await.unwrap(), None);
    store.purge_expired(at(1499)).await.unwrap();
    assert!(!offer(row(5)), "a cookie of it may still be shown");
    store.purge_expired(at(1500)).await.unwrap();
    assert!(offer(row(5)), "none can be good any more");
}

#[tokio::test]
async fn marks_and_sessions_do_not_crowd_each_other_out() {
    let store = CookieStore::new(16);
    let at_place = |n: u16| {
        let mut bytes = [0xdd; 32];
        bytes.iter_mut().zip(n.to_be_bytes()).for_each(|(to, from)| *to = from);
        SessionKey::from_bytes(bytes)
    };
    let mark = |key: &SessionKey| Stored { sub: IndexKey::from_bytes(*key.bytes()), ..row(0) };
    store.offer(&key(1), row(1)).unwrap();
    let most = u16::try_from(16 * OTHERS).unwrap();
    for n in 0..most {
        store.insert(&at_place(n), mark(&at_place(n))).await.unwrap();
    }
    assert!(store.insert(&at_place(most), mark(&at_place(most))).await.is_err());
    store.insert(&key(2), row(0)).await.unwrap();
    assert!(store.holds(&key(1), 1) && store.holds(&key(2), 1));
    assert!(store.load(&at_place(0)).await.unwrap().is_some());
    assert!(store.delete(&at_place(0)).await.unwrap());
    assert!(store.ended.is_empty(), "a mark is no session that could be shown again");
    assert_eq!(store.list(None, 100).await.unwrap().len(), 2);
}

fn many(n: u64) -> SessionKey {
    let mut bytes = [0xee; 32];
    bytes.iter_mut().zip(n.to_be_bytes()).for_each(|(to, from)| *to = from);
    SessionKey::from_bytes(bytes)
}

#[tokio::test]
async fn what_a_refresh_needs_stays_and_has_a_bound_too() {
    let store = CookieStore::new(16);
    for n in 0..32 {
        assert!(store.offer(&many(n), row(1)).unwrap());
        store.pin(&many(n));
    }
    let refused = store.offer(&many(32), row(1));
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert!(store.insert(&many(32), row(1)).await.is_err());
    assert!(store.offer(&many(3), row(2)).unwrap(), "what is here needs no room");
    store.purge_expired(at(5000)).await.unwrap();
    assert_eq!(store.rows.len(), 32, "a refresh may prolong it");
    (0..32).for_each(|n| store.unpin(&many(n)));
    assert!(store.offer(&many(32), row(1)).unwrap());
    assert!(store.rows.len() < 32);
}

#[tokio::test]
async fn stays_bounded_and_keeps_the_used_the_leased_and_marks() {
    let store = CookieStore::new(64);
    let mark = Stored { sealed: Vec::new(), sub: IndexKey::from_bytes(*key(1).bytes()), ..row(7) };
    store.insert(&key(1), mark).await.unwrap();
    store.offer(&key(2), row(1)).unwrap();
    store.lease(&key(2), OwnerId([1; 16]), 1, at(0), Duration::from_secs(15)).await.unwrap();
    store.offer(&key(3), row(1)).unwrap();
    for n in 0..1000 {
        assert!(store.offer(&many(n), row(0)).unwrap());
        assert!(store.holds(&key(3), n + 1));
        assert!(store.rows.len() <= 64 + 1);
    }
    for n in 1..=3 {
        assert!(store.load(&key(n)).await.unwrap().is_some(), "{n}");
    }
    for n in 0..2000 {
        store.delete(&many(n)).await.unwrap();
    }
    assert!(store.ended.len() <= 64 * ENDS);
}

#[test]
fn what_is_lowest_goes_before_what_is_as_low_as_many() {
    for at in 0..16 {
        let mut numbers = [7; 16];
        numbers[at] = 3;
        let mut spare = Spare::eighth(numbers.to_vec());
        let taken: Vec<usize> = (0..16).filter(|at| spare.takes(numbers[*at])).collect();
        assert_eq!((taken.len(), taken.contains(&at)), (2, true), "{taken:?}");
    }
    for few in 1..8 {
        let mut spare = Spare::eighth(vec![7; few]);
        assert_eq!((0..few).filter(|_| spare.takes(7)).count(), 1);
    }
    assert!(!Spare::eighth(Vec::new()).takes(0));
}
