//! The texts of a session in as little memory as is worth the work: names as they are, the rest compressed.
//!
//! Claims are short, but half of them is known beforehand (the names of members), or comes again (the address in the
//! user's name, the subject). A refresh token is random, in a text of six bits a byte, or a signed JSON text.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lz4_flex::block::{compress_with_dict, decompress_with_dict};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::record::SessionRecord;

/// What claims and refresh tokens of most providers contain. It lives in memory only, so it may be changed.
const KNOWN: &[u8] = br#"{"typ":"Refresh","alg":"HS512","RS256","kid":"","jti":"","azp":"","scope":"openid profile email offline_access","session_state":"","auth_time":17,"exp":17,"iat":17,"nbf":17,"nonce":"","at_hash":"","acr":"1","amr":["pwd","mfa"],"realm_access":{"roles":["default-roles-","offline_access","uma_authorization"]},"resource_access":{"account":{"roles":["manage-account","manage-account-links","view-profile"]}},"roles":["admin","user"],"oid":"","tid":"","upn":"","ver":"2.0","picture":"https://","locale":"en","updated_at":17,"{"aud":"","email":"@example.com","email_verified":true,"family_name":"","given_name":"","groups":["/","],"iss":"https://","name":"","preferred_username":"","sid":"","sub":""}"#;

/// Names, claims and refresh token of a record.
///
/// The names come first, as text. The block after them holds the claims (JSON) and the packed token, compressed with a
/// dictionary of [`KNOWN`] and the names. All of it is overwritten when it is dropped, for the token's sake.
pub(super) struct Compact {
    bytes: SecretSlice<u8>,
    /// Where the names end.
    subject: u32,
    identifier: u32,
    sid: u32,
    /// How long the claims are, and the claims and the token.
    claims: u32,
    plain: u32,
    /// Whether the identifier is the subject, and so is not there again.
    same: bool,
    has_sid: bool,
}

impl Compact {
    pub(super) fn of(record: &SessionRecord) -> Self {
        let mut names = record.subject.as_bytes().to_vec();
        let subject = short(names.len());
        let same = record.identifier == record.subject;
        names.extend_from_slice(if same { b"" } else { record.identifier.as_bytes() });
        let identifier = short(names.len());
        names.extend_from_slice(record.sid.as_deref().unwrap_or_default().as_bytes());
        let sid = short(names.len());
        let mut plain = Zeroizing::new(serde_json::to_vec(&record.claims).unwrap_or_default());
        let claims = short(plain.len());
        if let Some(token) = &record.refresh_token {
            pack(token.expose_secret(), &mut plain);
        }
        let block = Zeroizing::new(compress_with_dict(&plain, &dictionary(&names)));
        let bytes = [names.as_slice(), block.as_slice()].concat().into();
        let (plain, has_sid) = (short(plain.len()), record.sid.is_some());
        Self { bytes, subject, identifier, sid, claims, plain, same, has_sid }
    }

    pub(super) fn subject(&self) -> &str {
        self.text(0, self.subject)
    }

    pub(super) fn identifier(&self) -> &str {
        if self.same { self.subject() } else { self.text(self.subject, self.identifier) }
    }

    pub(super) fn sid(&self) -> Option<&str> {
        self.has_sid.then(|| self.text(self.identifier, self.sid))
    }

    /// Parses the claims.
    pub(super) fn claims(&self) -> Map<String, Value> {
        let plain = self.plain();
        let (claims, _) = plain.split_at_checked(long(self.claims)).unwrap_or_default();
        serde_json::from_slice(claims).unwrap_or_default()
    }

    pub(super) fn refresh_token(&self) -> Option<SecretString> {
        let plain = self.plain();
        let (_, token) = plain.split_at_checked(long(self.claims)).unwrap_or_default();
        (!token.is_empty()).then(|| unpack(token)).flatten()
    }

    fn plain(&self) -> Zeroizing<Vec<u8>> {
        let (names, block) = self.bytes.expose_secret().split_at_checked(long(self.sid)).unwrap_or_default();
        // What we compressed is never damaged.
        Zeroizing::new(decompress_with_dict(block, long(self.plain), &dictionary(names)).unwrap_or_default())
    }

    fn text(&self, from: u32, to: u32) -> &str {
        let bytes = self.bytes.expose_secret().get(long(from)..long(to)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

fn dictionary(names: &[u8]) -> Vec<u8> {
    [KNOWN, names].concat()
}

/// Lengths take four bytes: records are bounded far below that.
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

    #[test]
    fn names_claims_and_token_come_back() {
        for (identifier, sid, token) in
            [("bob", Some("s"), Some("a.b")), ("alice", None, None), ("", Some(""), Some(""))]
        {
            let mut record = testing::record();
            record.identifier = identifier.into();
            record.sid = sid.map(Into::into);
            record.refresh_token = token.map(Into::into);
            let compact = Compact::of(&record);
            assert_eq!((compact.subject(), compact.identifier(), compact.sid()), ("alice", identifier, sid));
            assert_eq!(compact.claims(), record.claims);
            assert_eq!(compact.refresh_token().as_ref().map(ExposeSecret::expose_secret), token);
        }
    }

    #[test]
    fn usual_claims_shrink_to_less_than_half() {
        let mut record = testing::record();
        record.subject = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6".into();
        record.claims = serde_json::json!({
            "aud": "app", "email": "alice@example.com", "email_verified": true, "family_name": "Example",
            "given_name": "Alice", "groups": ["/staff", "/staff/accounting"], "iss": "https://op.example",
            "name": "Alice Example", "preferred_username": "alice", "sid": "op-session-1", "sub": &*record.subject,
        })
        .as_object()
        .unwrap()
        .clone();
        record.refresh_token = None;
        let text = serde_json::to_vec(&record.claims).unwrap().len();
        let compact = Compact::of(&record);
        let block = compact.bytes.expose_secret().len() - long(compact.sid);
        assert!(block < text / 2, "{block} of {text}");
    }

    proptest! {
        #[test]
        fn any_token_comes_back(token in "([A-Za-z0-9_-]{0,9}|.{0,4}|[.]){0,6}") {
            prop_assert_eq!(round_trip(&token), token);
        }
    }
}
