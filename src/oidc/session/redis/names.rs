//! The names of keys.
//!
//! Every key belongs to one of sixteen buckets by the first half-byte of what it is about, and its hash tag is the
//! bucket: `portcullis:{7}:s:…`. So a session, the list of all sessions of its bucket and the bucket's feed of
//! changes lie in one slot of a cluster, and one script changes them together.

use std::fmt::Write as _;

use crate::oidc::session::{IndexKey, PARTS, SessionKey};

/// How many buckets there are: the store's parts.
pub(super) const BUCKETS: usize = PARTS;

/// Which of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bucket(u8);

impl Bucket {
    /// For what is about no key.
    pub(super) const FIRST: Self = Self(0);

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..).take(BUCKETS).map(Self)
    }

    pub(super) fn of(bytes: &[u8; 32]) -> Self {
        let [first, ..] = bytes;
        Self(first >> 4)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Makes names below one prefix.
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The hash of a session.
    pub(super) fn session(&self, key: &SessionKey) -> String {
        self.long(Bucket::of(key.bytes()), 's', key.bytes())
    }

    /// The sorted set of sessions with one `sid` or `sub`, by expiry.
    pub(super) fn index(&self, index: &IndexKey) -> String {
        self.long(Bucket::of(index.bytes()), 'i', index.bytes())
    }

    /// The sorted set of all sessions of a bucket, by expiry.
    pub(super) fn all(&self, bucket: Bucket) -> String {
        self.short(bucket, 'a')
    }

    /// The stream of changes of a bucket.
    pub(super) fn feed(&self, bucket: Bucket) -> String {
        self.short(bucket, 'c')
    }

    /// Written to see whether writing works.
    pub(super) fn probe(&self, bucket: Bucket) -> String {
        self.short(bucket, 'h')
    }

    fn short(&self, bucket: Bucket, kind: char) -> String {
        format!("{}{{{:x}}}:{kind}", self.prefix, bucket.0)
    }

    fn long(&self, bucket: Bucket, kind: char, bytes: &[u8; 32]) -> String {
        let mut name = self.short(bucket, kind);
        name.push(':');
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::session::contract::{index, key};

    #[test]
    fn what_changes_together_has_one_hash_tag() {
        let names = Names::new("p:");
        let bucket = Bucket::of(key(0x7f).bytes());
        assert_eq!(names.all(bucket), "p:{7}:a");
        assert_eq!(names.feed(bucket), "p:{7}:c");
        assert!(names.session(&key(0x7f)).starts_with("p:{7}:s:7f7f"));
        assert!(names.index(&index(0xa0)).starts_with("p:{a}:i:a0a0"));
        assert_eq!(Bucket::all().count(), BUCKETS);
    }
}
