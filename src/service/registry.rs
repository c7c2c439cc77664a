//! What outlives a reload: balancer positions, resolved names, and what the files of transports held.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Material;
use super::dns::Names;

/// State of services that a new configuration takes over from the old one.
///
/// Locked while a configuration is compiled, never by a request.
#[derive(Debug)]
pub struct Registries {
    names: Names,
    material: Material,
    positions: Mutex<HashMap<String, Weak<AtomicUsize>>>,
}

impl Registries {
    /// Registries that resolve names through `names`.
    pub fn new(names: Names) -> Self {
        Self { names, material: Material::default(), positions: Mutex::default() }
    }

    /// Host names and their addresses.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What the files of transports held last.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// The balancer position of the service `name`; the same one for as long as somebody holds it.
    ///
    /// A new one starts anywhere, so that many proxies do not all begin with the first server.
    pub(super) fn position(&self, name: &str) -> Arc<AtomicUsize> {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        positions.retain(|_, position| position.strong_count() > 0);
        if let Some(position) = positions.get(name).and_then(Weak::upgrade) {
            return position;
        }
        // `RandomState` is the standard library's source of randomness; 16 bits are plenty here.
        let start = RandomState::new().hash_one(name) & 0xffff;
        let position = Arc::new(AtomicUsize::new(usize::try_from(start).unwrap_or(0)));
        positions.insert(name.to_owned(), Arc::downgrade(&position));
        position
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[tokio::test]
    async fn a_position_is_kept_while_it_is_used() {
        let registries = Registries::new(Names::fixed([]));
        let first = registries.position("web@file");
        first.store(77_777, Ordering::Relaxed);
        assert_eq!(registries.position("web@file").load(Ordering::Relaxed), 77_777);
        assert_ne!(registries.position("api@file").load(Ordering::Relaxed), 77_777);
        drop(first);
        assert!(registries.position("web@file").load(Ordering::Relaxed) <= 0xffff);
    }
}
