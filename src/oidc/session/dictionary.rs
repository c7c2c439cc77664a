//! What sessions of one kind say alike: the beginning of what their texts are compressed with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use super::record::SessionRecord;

/// What claims and refresh tokens of most providers contain. It lives in memory only, so it may be changed.
const KNOWN: &[u8] = br#"{"typ":"Refresh","alg":"HS512","RS256","kid":"","jti":"","azp":"","scope":"openid profile email offline_access","session_state":"","auth_time":17,"exp":17,"iat":17,"nbf":17,"nonce":"","at_hash":"","acr":"1","amr":["pwd","mfa"],"realm_access":{"roles":["default-roles-","offline_access","uma_authorization"]},"resource_access":{"account":{"roles":["manage-account","manage-account-links","view-profile"]}},"roles":["admin","user"],"oid":"","tid":"","upn":"","ver":"2.0","picture":"https://","locale":"en","updated_at":17,"{"aud":"","email":"@example.com","email_verified":true,"family_name":"","given_name":"","groups":["/","],"iss":"https://","name":"","preferred_username":"","sid":"","sub":""}"#;

/// The longest part of an example, in bytes: every text that is read is read with all of it.
const MOST: usize = 4096;

/// Each so manieth record is an example to those after it: what a provider says changes with its configuration and ours.
const RENEWED_EVERY: u64 = 1000;

/// [`KNOWN`], and an example: the claims of one session, and what its tokens say, without what makes them valid.
///
/// Issuer, audience, names of groups and most of the rest are alike in all sessions of one provider and client.
pub(super) struct Dictionary(SecretSlice<u8>);

impl Dictionary {
    fn of(example: &SessionRecord) -> Self {
        let mut texts = said_by_tokens(example);
        texts.push(Zeroizing::new(serde_json::to_vec(&example.claims).unwrap_or_default()));
        let parts: Vec<_> = [KNOWN].into_iter().chain(texts.iter().map(|text| start(text))).collect();
        Self(parts.concat().into())
    }

    /// With what a session knows of its own.
    pub(super) fn with(&self, names: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.0.expose_secret(), names].concat())
    }
}

fn start(text: &[u8]) -> &[u8] {
    text.get(..MOST).unwrap_or(text)
}

/// The parts of a signed refresh token that are JSON: header and payload, never the signature.
fn said_by_tokens(record: &SessionRecord) -> Vec<Zeroizing<Vec<u8>>> {
    let Some((signed, _)) =
        record.refresh_token.as_ref().and_then(|token| token.expose_secret().rsplit_once('.'))
    else {
        return Vec::new();
    };
    let parts = signed.split('.').filter_map(|part| URL_SAFE_NO_PAD.decode(part).ok().map(Zeroizing::new));
    parts.filter(|part| part.starts_with(b"{")).take(2).collect()
}

/// The dictionaries of sessions of one kind. Each lives as long as a session that was written with it.
#[derive(Default)]
pub(super) struct Dictionaries {
    asked: AtomicU64,
    newest: ArcSwapOption<Dictionary>,
}

impl Dictionaries {
    /// The one for a record: of an earlier one or, where that is long ago, of itself.
    pub(super) fn get(&self, record: &SessionRecord) -> Arc<Dictionary> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let known = self.newest.load_full();
        match known {
            Some(known) if !asked.is_multiple_of(RENEWED_EVERY) => known,
            _ => {
                let new = Arc::new(Dictionary::of(record));
                self.newest.store(Some(Arc::clone(&new)));
                new
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::oidc::session::testing;

    fn holds(dictionary: &Dictionary, text: &str) -> bool {
        let bytes = dictionary.with(b"");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    fn token(parts: &[&str]) -> String {
        parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect::<Vec<_>>().join(".")
    }

    #[test]
    fn an_example_tells_claims_and_payload_but_no_signature() {
        let mut record = testing::record();
        record.refresh_token = Some(token(&[r#"{"alg":"x"}"#, r#"{"mark":1}"#, r#"{"signature"}"#]).into());
        let dictionary = Dictionary::of(&record);
        assert!(holds(&dictionary, "alice@example.com"));
        assert!(holds(&dictionary, r#"{"mark":1}"#));
        assert!(!holds(&dictionary, "signature"));
    }

    #[test]
    fn opaque_tokens_are_no_example() {
        for opaque in ["{secret}".to_owned(), token(&["{secret}"]), format!("v1.{}", token(&["secret", "x"]))]
        {
            let mut record = testing::record();
            record.refresh_token = Some(opaque.into());
            assert!(!holds(&Dictionary::of(&record), "secret"));
        }
    }

    #[test]
    fn it_is_bounded() {
        let mut record = testing::record();
        record.claims.insert("groups".to_owned(), "x".repeat(100_000).into());
        let long = &*"{".repeat(9000);
        for (parts, texts) in [(&[long, "y"][..], 2), (&[long, long, "y"][..], 3), (&[long; 9][..], 3)] {
            record.refresh_token = Some(token(parts).into());
            let length = Dictionary::of(&record).with(b"names").len();
            assert_eq!(length, KNOWN.len() + texts * MOST + "names".len());
        }
    }

    #[test]
    fn it_is_made_anew_now_and_then() {
        let dictionaries = Dictionaries::default();
        let mut record = testing::record();
        let first = dictionaries.get(&record);
        record.claims.insert("groups".to_owned(), "new ones".into());
        for _ in 1..RENEWED_EVERY {
            assert!(Arc::ptr_eq(&dictionaries.get(&record), &first));
        }
        assert!(holds(&dictionaries.get(&record), "new ones") && !holds(&first, "new ones"));
    }
}
