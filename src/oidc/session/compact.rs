//! The texts of a session in as little memory as is worth the work: names at hand, the rest compressed.
//!
//! Claims are short, but most of them is known beforehand (the names of members, what other sessions say as well) or comes
//! again (the address in the user's name, the subject). A refresh token is random, in a text of six bits a byte, or a
//! signed JSON text.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lz4_flex::block::{compress_with_dict, decompress_with_dict};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::dictionary::Dictionary;
use super::name::{Kept, Name};
use super::pieces::Pieces;
use super::record::SessionRecord;

/// Names, claims and refresh token of a record.
///
/// First the lengths, then the names. The block after them holds the claims (JSON) and the packed token, compressed
/// with the dictionary and the names.
pub(super) struct Compact {
    bytes: Pieces,
    dictionary: Arc<Dictionary>,
}

/// Where what is.
struct Places {
    subject: Place,
    /// The subject's, if they are one.
    identifier: Place,
    sid: Option<Place>,
    /// Where the names end.
    names: usize,
    /// How long the claims are, and the claims and the token.
    claims: usize,
    plain: usize,
}

#[derive(Clone)]
struct Place {
    range: Range<usize>,
    shape: usize,
}

impl Place {
    fn name<'a>(&self, bytes: &'a [u8]) -> Option<Kept<'a>> {
        Kept::read(bytes.get(self.range.clone())?, self.shape)
    }
}

impl Compact {
    pub(super) fn of(record: &SessionRecord, dictionary: Arc<Dictionary>) -> Self {
        let subject = Some(Kept::of(&record.subject));
        let own = Some(&record.identifier).filter(|identifier| **identifier != record.subject);
        let identifier = own.map(|identifier| Kept::of(identifier));
        let sid = record.sid.as_deref().map(Kept::of);
        let mut plain = Zeroizing::new(serde_json::to_vec(&record.claims).unwrap_or_default());
        let claims = plain.len();
        if let Some(token) = &record.refresh_token {
            pack(token.expose_secret(), &mut plain);
        }
        let names = [subject, identifier, sid];
        let block = Zeroizing::new(compress_with_dict(&plain, &dictionary.with(&spelled(names))));
        let mut head = Vec::with_capacity(128);
        // One more than it is, as 0 is none.
        names.iter().for_each(|name| push_length(name.map_or(0, |name| name.shape() + 1), &mut head));
        push_length(claims, &mut head);
        push_length(plain.len(), &mut head);
        names.iter().flatten().for_each(|name| head.extend_from_slice(name.bytes()));
        let all = Zeroizing::new([head.as_slice(), block.as_slice()].concat());
        Self { bytes: Pieces::of(&all, head.len()), dictionary }
    }

    pub(super) fn subject(&self) -> Name<'_> {
        self.name(|places| Some(places.subject)).map(Name::from).unwrap_or_default()
    }

    pub(super) fn identifier(&self) -> Name<'_> {
        self.name(|places| Some(places.identifier)).map(Name::from).unwrap_or_default()
    }

    pub(super) fn sid(&self) -> Option<Name<'_>> {
        self.name(|places| places.sid).map(Name::from)
    }

    /// Parses the claims.
    pub(super) fn claims(&self) -> Map<String, Value> {
        let (plain, length) = self.plain();
        let (claims, _) = plain.split_at_checked(length).unwrap_or_default();
        serde_json::from_slice(claims).unwrap_or_default()
    }

    pub(super) fn refresh_token(&self) -> Option<SecretString> {
        let (plain, length) = self.plain();
        let (_, token) = plain.split_at_checked(length).unwrap_or_default();
        (!token.is_empty()).then(|| unpack(token)).flatten()
    }

    /// Claims and token, and how long the claims are.
    fn plain(&self) -> (Zeroizing<Vec<u8>>, usize) {
        let bytes = self.bytes.all();
        let plain = places(&bytes).and_then(|places| {
            let own = Some(&places.identifier).filter(|identifier| identifier.range != places.subject.range);
            let names = [Some(&places.subject), own, places.sid.as_ref()];
            let names = names.map(|place| place.and_then(|place| place.name(&bytes)));
            let dictionary = self.dictionary.with(&spelled(names));
            // What we compressed is never damaged.
            let plain = decompress_with_dict(bytes.get(places.names..)?, places.plain, &dictionary).ok()?;
            Some((Zeroizing::new(plain), places.claims))
        });
        plain.unwrap_or_default()
    }

    fn name(&self, of: impl FnOnce(Places) -> Option<Place>) -> Option<Kept<'_>> {
        let bytes = self.bytes.first();
        of(places(bytes)?)?.name(bytes)
    }
}

/// The names as the claims spell them.
fn spelled(names: [Option<Kept<'_>>; 3]) -> Vec<u8> {
    let mut text = Vec::with_capacity(128);
    names.into_iter().flatten().for_each(|name| text.extend_from_slice(Name::from(name).as_bytes()));
    text
}

fn places(bytes: &[u8]) -> Option<Places> {
    let mut left = bytes;
    let [subject, identifier, sid, claims, plain] = [(); 5].map(|()| take_length(&mut left));
    let mut end = bytes.len() - left.len();
    let mut next = |shape: usize| {
        let start = end;
        end += Kept::length(shape);
        Place { range: start..end, shape }
    };
    let subject = subject?.checked_sub(1).map(&mut next)?;
    let identifier = identifier?.checked_sub(1).map(&mut next);
    let sid = sid?.checked_sub(1).map(&mut next);
    let identifier = identifier.unwrap_or_else(|| subject.clone());
    Some(Places { subject, identifier, sid, names: end, claims: claims?, plain: plain? })
}

/// Appends a length, seven bits a byte, the lowest first; all but the last have the eighth.
fn push_length(length: usize, into: &mut Vec<u8>) {
    let mut left = length;
    while left >= 0x80 {
        into.push(0x80 | (left & 0x7f) as u8);
        left >>= 7;
    }
    into.push(left as u8);
}

/// Takes what [`push_length`] appended.
fn take_length(from: &mut &[u8]) -> Option<usize> {
    let mut length = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

/// Lengths within a packed token take four bytes: tokens are bounded far below that.
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn long(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Appends a token, each part between dots that is base64url text as the bytes that it stands for.
///
/// A part is its length as text times two, plus one if it is text still; then its groups of four characters as three
/// bytes each, then what is left of it as text.
pub(super) fn pack(token: &str, into: &mut Vec<u8>) {
    // At once: a buffer that grows leaves copies of the token behind.
    into.reserve_exact(token.len() + 4 * (1 + token.matches('.').count()));
    for part in token.split('.') {
        let (quads, rest) = part.as_bytes().split_at(part.len() / 4 * 4);
        let start = into.len();
        into.extend_from_slice(&(short(part.len()) << 1).to_le_bytes());
        let bytes = start + 4;
        into.resize(bytes + quads.len() / 4 * 3, 0);
        let decoded = into
            .get_mut(bytes..)
            .is_some_and(|room| URL_SAFE_NO_PAD.decode_slice_unchecked(quads, room).is_ok());
        if decoded {
            into.extend_from_slice(rest);
        } else {
            into.truncate(start);
            into.extend_from_slice(&(short(part.len()) << 1 | 1).to_le_bytes());
            into.extend_from_slice(part.as_bytes());
        }
    }
}

/// The token that was packed.
pub(super) fn unpack(packed: &[u8]) -> Option<SecretString> {
    // As many as it can have at most, so that the text is not moved while it grows.
    let mut token = String::with_capacity(packed.len() / 3 * 4 + 4);
    let mut left = packed;
    while let Some((head, tail)) = left.split_first_chunk() {
        let head = u32::from_le_bytes(*head);
        let length = long(head >> 1);
        let quads = if head & 1 == 0 { length / 4 } else { 0 };
        let (bytes, tail) = tail.split_at_checked(quads * 3)?;
        let (rest, tail) = tail.split_at_checked(length - quads * 4)?;
        URL_SAFE_NO_PAD.encode_string(bytes, &mut token);
        token.push_str(std::str::from_utf8(rest).ok()?);
        if !tail.is_empty() {
            token.push('.');
        }
        left = tail;
    }
    Some(token.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::oidc::session::dictionary::Dictionaries;
    use crate::oidc::session::testing;
    use proptest::prelude::*;

    fn round_trip(token: &str) -> String {
        let mut packed = b"before".to_vec();
        pack(token, &mut packed);
        unpack(packed.strip_prefix(b"before").unwrap()).unwrap().expose_secret().to_owned()
    }

    #[test]
    fn tokens_of_any_shape_come_back() {
        for token in [
            "",
            ".",
            "..a",
            "abcd",
            "abcde.",
            "1.AX-_x.y",
            "1//0gAAAA",
            "a.\u{e9}bcd.ef gh",
            "eyJh.eyJi.c2ln",
        ] {
            assert_eq!(round_trip(token), token);
        }
    }

    #[test]
    fn base64url_takes_three_quarters() {
        let mut packed = Vec::new();
        pack(&format!("{}.{}", "Ab-_".repeat(50), "0xYz".repeat(100)), &mut packed);
        assert_eq!(packed.len(), 4 + 150 + 4 + 300);
    }

    fn dictionary(example: &SessionRecord) -> Arc<Dictionary> {
        Dictionaries::default().get(example)
    }

    #[test]
    fn names_claims_and_token_come_back() {
        let dictionary = dictionary(&testing::record());
        for (identifier, sid, token) in [
            ("bob", Some("s"), Some("a.b")),
            ("alice", None, None),
            ("", Some(""), Some("")),
            (&*"b".repeat(300), Some(&*"s".repeat(20_000)), Some(&*"t".repeat(70_000))),
        ] {
            let mut record = testing::record();
            record.identifier = identifier.into();
            record.sid = sid.map(Into::into);
            record.refresh_token = token.map(Into::into);
            let compact = Compact::of(&record, Arc::clone(&dictionary));
            let (subject, own) = (compact.subject(), compact.identifier());
            assert_eq!((&*subject, &*own, compact.sid().as_deref()), ("alice", identifier, sid));
            assert_eq!(compact.claims(), record.claims);
            assert_eq!(compact.refresh_token().as_ref().map(ExposeSecret::expose_secret), token);
        }
    }

    fn person(name: &str, subject: &str) -> SessionRecord {
        let mut record = testing::record();
        record.subject = subject.into();
        record.identifier = format!("{name}@example.com").into();
        record.claims = serde_json::json!({
            "aud": "app", "email": &*record.identifier, "email_verified": true, "family_name": "Example",
            "given_name": name, "groups": ["/staff", "/staff/accounting"], "iss": "https://op.example",
            "name": format!("{name} Example"), "preferred_username": name, "sub": subject,
        })
        .as_object()
        .unwrap()
        .clone();
        record.sid = None;
        record.refresh_token = None;
        record
    }

    /// How long claims and token are.
    fn block(compact: &Compact) -> usize {
        let bytes = compact.bytes.all();
        bytes.len() - places(&bytes).unwrap().names
    }

    #[test]
    fn usual_claims_shrink_to_less_than_half_and_with_an_example_to_less_than_a_third() {
        let alice = person("alice", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
        let bob = person("bob", "0c3b7fd2-58a1-4c6e-9d0e-6f1f0d7a2b11");
        let text = serde_json::to_vec(&bob.claims).unwrap().len();
        let alone = block(&Compact::of(&bob, dictionary(&testing::record())));
        assert!(alone < text / 2, "{alone} of {text}");
        let after = block(&Compact::of(&bob, dictionary(&alice)));
        assert!(after < text / 3, "{after} of {text}");
    }

    #[test]
    fn what_is_no_example_to_others_comes_back_as_well() {
        let mut strange = testing::record();
        strange.claims = serde_json::Map::new();
        let alice = person("alice", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
        assert_eq!(Compact::of(&alice, dictionary(&strange)).claims(), alice.claims);
        assert_eq!(Compact::of(&strange, dictionary(&alice)).claims(), strange.claims);
    }

    #[test]
    fn lengths_come_back() {
        let lengths = [0, 1, 127, 128, 300, 16_383, 16_384, usize::MAX];
        let mut bytes = Vec::new();
        lengths.iter().for_each(|length| push_length(*length, &mut bytes));
        let mut left = bytes.as_slice();
        assert_eq!(lengths.map(|_| take_length(&mut left).unwrap()), lengths);
        assert_eq!(take_length(&mut left), None);
        assert_eq!(take_length(&mut [0x80; 20].as_slice()), None);
    }

    proptest! {
        #[test]
        fn any_token_comes_back(token in "([A-Za-z0-9_-]{0,9}|.{0,4}|[.]){0,6}") {
            prop_assert_eq!(round_trip(&token), token);
        }
    }
}
