//! A small map that grows rarely and is read by every request.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

/// Values by a packed key. Reading takes no lock; the first use of a key copies the table.
///
/// A route sees a handful of (method, protocol, status) combinations in its life, so the table stays
/// short and a sorted array beats any hash map.
pub(super) struct Slots<T> {
    table: ArcSwap<Vec<(u32, Arc<T>)>>,
    grow: Mutex<()>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self { table: ArcSwap::default(), grow: Mutex::new(()) }
    }

    /// Calls `with` on the value of `key`, which `make` creates on first use.
    pub(super) fn with<R>(&self, key: u32, make: impl FnOnce() -> T, with: impl FnOnce(&T) -> R) -> R {
        {
            let table = self.table.load();
            if let Some(value) = find(&table, key) {
                return with(value);
            }
        }
        with(&self.insert(key, make))
    }

    fn insert(&self, key: u32, make: impl FnOnce() -> T) -> Arc<T> {
        let _growing = self.grow.lock().unwrap_or_else(PoisonError::into_inner);
        let table = self.table.load_full();
        if let Some(value) = find(&table, key) {
            return Arc::clone(value);
        }
        let value = Arc::new(make());
        let mut table = Vec::clone(&table);
        let at = table.partition_point(|(known, _)| *known < key);
        table.insert(at, (key, Arc::clone(&value)));
        self.table.store(Arc::new(table));
        value
    }

    /// The table as it is now, ordered by key.
    pub(super) fn all(&self) -> Arc<Vec<(u32, Arc<T>)>> {
        self.table.load_full()
    }
}

fn find<T>(table: &[(u32, Arc<T>)], key: u32) -> Option<&Arc<T>> {
    let at = table.binary_search_by_key(&key, |(known, _)| *known).ok()?;
    table.get(at).map(|(_, value)| value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn threads_that_meet_on_new_keys_lose_no_count() {
        let slots = Slots::<AtomicU64>::new();
        thread::scope(|scope| {
            for worker in 0..8_u32 {
                let slots = &slots;
                scope.spawn(move || {
                    for round in 0..2_000_u32 {
                        let key = (round * 7 + worker) % 61;
                        slots.with(key, || AtomicU64::new(0), |n| n.fetch_add(1, Ordering::Relaxed));
                    }
                });
            }
        });
        let all = slots.all();
        assert_eq!(all.len(), 61);
        assert!(all.is_sorted_by_key(|(key, _)| *key));
        assert_eq!(all.iter().map(|(_, n)| n.load(Ordering::Relaxed)).sum::<u64>(), 16_000);
    }
}
