//! Bytes in pieces that are as large as those of the allocator.

use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

/// A piece of memory as it is to be had: mimalloc, as jemalloc, has four sizes to each doubling, so that a value of any
/// size wastes a tenth on average. What goes beyond a size is a piece of its own, where that takes less.
///
/// All of it is overwritten when it is dropped.
pub(super) struct Pieces {
    first: SecretSlice<u8>,
    rest: SecretSlice<u8>,
}

impl Pieces {
    /// The first `whole` bytes are not parted.
    pub(super) fn of(bytes: &[u8], whole: usize) -> Self {
        let (first, rest) = bytes.split_at_checked(split(bytes.len(), whole)).unwrap_or((bytes, &[]));
        Self { first: first.to_vec().into(), rest: rest.to_vec().into() }
    }

    /// The first bytes, at least as many as are not parted.
    pub(super) fn first(&self) -> &[u8] {
        self.first.expose_secret()
    }

    pub(super) fn all(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.first.expose_secret(), self.rest.expose_secret()].concat())
    }
}

/// Where so many bytes are parted.
fn split(length: usize, whole: usize) -> usize {
    let first = size_within(length);
    let parted = first + size_for(length - first);
    if first >= whole && parted < size_for(length) { first } else { length }
}

/// The largest size that so many bytes fill.
fn size_within(length: usize) -> usize {
    length - length % step(length)
}

/// The smallest size that takes so many bytes.
fn size_for(length: usize) -> usize {
    length.next_multiple_of(step(length))
}

fn step(length: usize) -> usize {
    let doubling = length.max(64).ilog2();
    1 << (doubling - 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_those_of_the_allocator() {
        let sizes = [
            16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024,
            1280,
        ];
        for (size, next) in sizes.iter().zip(sizes.iter().skip(1)) {
            assert_eq!((size_within(*size), size_for(*size)), (*size, *size));
            assert_eq!((size_within(*size + 1), size_for(*size + 1)), (*size, *next));
            assert_eq!(size_within(*next - 1), *size);
        }
        assert_eq!((size_within(0), size_for(0), size_within(15), size_for(15)), (0, 0, 0, 16));
    }

    #[test]
    fn little_is_wasted() {
        for length in 128..10_000 {
            let first = split(length, 0);
            let taken = size_for(first) + size_for(length - first);
            assert!(taken - length <= 15 + length / 32, "{length} takes {taken}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back_and_their_head_is_whole(length in 0_usize..3000, whole in 0_usize..3000) {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let pieces = Pieces::of(&bytes, whole);
            prop_assert_eq!(&**pieces.all(), &bytes[..]);
            prop_assert!(pieces.first().len() >= whole.min(length));
            prop_assert!(bytes.starts_with(pieces.first()));
        }
    }
}
