//! The only door to random bits: of the operating system, or none.

use aws_lc_rs::rand;

/// The operating system's random generator failed.
#[derive(Debug, thiserror::Error)]
#[error("the random number generator of the operating system failed")]
pub struct RandomError;

/// Fresh random bytes, for ids, states, nonces.
///
/// # Errors
/// [`RandomError`] if the generator fails.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    #[cfg(test)]
    failing::admit()?;
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}

/// A generator that fails when a test says so.
#[cfg(test)]
pub(super) mod failing {
    use std::cell::Cell;

    use super::RandomError;

    thread_local! {
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// The generator fails on this thread while this lives, after it has been asked `left` times.
    pub struct Failing(());

    impl Failing {
        pub fn after(left: u32) -> Self {
            LEFT.set(Some(left));
            Self(())
        }
    }

    impl Drop for Failing {
        fn drop(&mut self) {
            LEFT.set(None);
        }
    }

    pub(super) fn admit() -> Result<(), RandomError> {
        let Some(left) = LEFT.get() else { return Ok(()) };
        LEFT.set(Some(left.checked_sub(1).ok_or(RandomError)?));
        Ok(())
    }
}
