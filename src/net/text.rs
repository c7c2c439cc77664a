//! Text that many share.

use std::ops::Deref;

use bytes::Bytes;

/// A text in memory that is shared: of its own, or a part of a larger one. A copy costs a count.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text(Bytes);

impl Text {
    /// What `bytes` say in UTF-8; nothing if they are not.
    pub fn of(bytes: Bytes) -> Self {
        if std::str::from_utf8(&bytes).is_ok() { Self(bytes) } else { Self::default() }
    }
}

impl Deref for Text {
    type Target = str;

    /// Looks at the bytes again, which for names is nothing beside writing them anywhere.
    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_larger_text_is_not_copied() {
        let whole = Bytes::from_static("alice, b\u{e9}a".as_bytes());
        let part = Text::of(whole.slice(7..));
        assert_eq!(&*part, "b\u{e9}a");
        assert_eq!(part.as_ptr(), whole.slice(7..).as_ptr());
        assert_eq!(&*Text::of(whole.slice(9..)), "", "the middle of a character");
        assert_eq!(part, Text::from("b\u{e9}a"));
        assert_eq!(format!("{part} {part:?}"), "b\u{e9}a \"b\u{e9}a\"");
    }
}
