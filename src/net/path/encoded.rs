//! Which percent-encoded characters a path may hold.

/// `encodedCharacters`: the escapes that are allowed in a path. At an entry point everything is allowed unless set
/// to false ([`EncodedCharacters::ALL`]); in the middleware nothing is unless set to true
/// ([`EncodedCharacters::NONE`]). A path that holds one that is not allowed is answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedCharacters {
    /// `%2F`
    pub slash: bool,
    /// `%5C`
    pub back_slash: bool,
    /// `%00`
    pub null: bool,
    /// `%3B`
    pub semicolon: bool,
    /// `%25`
    pub percent: bool,
    /// `%3F`
    pub question_mark: bool,
    /// `%23`
    pub hash: bool,
}

impl EncodedCharacters {
    /// Everything allowed.
    pub const ALL: Self = Self::same(true);
    /// Nothing allowed.
    pub const NONE: Self = Self::same(false);

    const fn same(allowed: bool) -> Self {
        Self {
            slash: allowed,
            back_slash: allowed,
            null: allowed,
            semicolon: allowed,
            percent: allowed,
            question_mark: allowed,
            hash: allowed,
        }
    }

    /// Whether `path` (normalised, so with upper-case digits) holds only escapes that are allowed.
    pub fn allow(&self, path: &str) -> bool {
        *self == Self::ALL || path.split('%').skip(1).all(|piece| self.allows_escape(piece.as_bytes()))
    }

    fn allows_escape(&self, behind_percent: &[u8]) -> bool {
        match behind_percent {
            [b'2', b'F' | b'f', ..] => self.slash,
            [b'5', b'C' | b'c', ..] => self.back_slash,
            [b'0', b'0', ..] => self.null,
            [b'3', b'B' | b'b', ..] => self.semicolon,
            [b'2', b'5', ..] => self.percent,
            [b'3', b'F' | b'f', ..] => self.question_mark,
            [b'2', b'3', ..] => self.hash,
            _ => true,
        }
    }
}
