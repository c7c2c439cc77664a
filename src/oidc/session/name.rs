//! A name that the provider gave: a UUID, which takes less than half of its text, or any text.

use std::ops::Deref;

use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// A name as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept<'a> {
    /// As most providers write one: in lower case, with hyphens.
    Uuid(Uuid),
    Text(&'a str),
}

impl<'a> Kept<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let uuid = Uuid::try_parse(text).ok();
        // Any other spelling would not come back.
        let same = uuid.filter(|uuid| uuid.hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH]) == text);
        same.map_or(Self::Text(text), Self::Uuid)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Uuid(uuid) => uuid.as_bytes(),
            Self::Text(text) => text.as_bytes(),
        }
    }

    /// Its length and its kind in one number.
    pub(super) fn shape(&self) -> usize {
        self.bytes().len() << 1 | usize::from(matches!(self, Self::Uuid(_)))
    }

    /// How many bytes a name of that shape takes.
    pub(super) fn length(shape: usize) -> usize {
        shape >> 1
    }

    /// What has these bytes and that shape.
    pub(super) fn read(bytes: &'a [u8], shape: usize) -> Option<Self> {
        if shape & 1 == 1 {
            Uuid::from_slice(bytes).ok().map(Self::Uuid)
        } else {
            std::str::from_utf8(bytes).ok().map(Self::Text)
        }
    }
}

/// A name to be read. No allocation.
pub struct Name<'a>(Inner<'a>);

enum Inner<'a> {
    Uuid([u8; Hyphenated::LENGTH]),
    Text(&'a str),
}

impl<'a> From<Kept<'a>> for Name<'a> {
    fn from(kept: Kept<'a>) -> Self {
        match kept {
            Kept::Text(text) => Self(Inner::Text(text)),
            Kept::Uuid(uuid) => {
                let mut text = [0; Hyphenated::LENGTH];
                uuid.hyphenated().encode_lower(&mut text);
                Self(Inner::Uuid(text))
            }
        }
    }
}

impl Default for Name<'_> {
    fn default() -> Self {
        Self(Inner::Text(""))
    }
}

impl Deref for Name<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Inner::Uuid(text) => std::str::from_utf8(text).unwrap_or_default(),
            Inner::Text(text) => text,
        }
    }
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_as_it_was_and_a_uuid_takes_sixteen_bytes() {
        for (text, length) in [
            ("f81d4fae-7dec-11d0-a765-00a0c91e6bf6", 16),
            ("F81D4FAE-7dec-11d0-a765-00a0c91e6bf6", 36),
            ("f81d4fae7dec11d0a76500a0c91e6bf6", 32),
            ("{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}", 38),
            ("alice", 5),
            ("", 0),
            ("b\u{e9}a", 4),
        ] {
            let kept = Kept::of(text);
            assert_eq!((kept.bytes().len(), Kept::length(kept.shape())), (length, length));
            assert_eq!(Kept::read(kept.bytes(), kept.shape()), Some(kept));
            assert_eq!(&*Name::from(kept), text);
        }
        assert_eq!(Kept::read(b"short", Kept::Uuid(Uuid::nil()).shape()), None);
        assert_eq!(&*Name::default(), "");
    }
}
