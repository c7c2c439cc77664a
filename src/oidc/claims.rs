//! Claims of a user: what the provider said, read by name.

use serde_json::{Map, Value};

/// Claims about one user, from the ID token and, where it was asked, from userinfo.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

/// Claims of the protocol itself, which userinfo never overrides (OpenID Connect Core, section 2).
const PROTOCOL: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "azp",
    "exp",
    "iat",
    "nbf",
    "nonce",
    "at_hash",
    "c_hash",
    "sid",
    "auth_time",
    "acr",
    "amr",
    "jti",
];

impl Claims {
    /// Wraps the members of a JSON object.
    pub fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// The members.
    pub fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The claim whose name is `name` literally (names may be URLs), else the one at the dotted
    /// path `name`. A JSON null counts as missing.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| self.at(name.split('.'))).filter(|value| !value.is_null())
    }

    /// The claim at `path`, one member name at a time.
    pub fn at<'a>(&self, path: impl Iterator<Item = &'a str>) -> Option<&Value> {
        let mut path = path;
        let mut value = self.0.get(path.next()?)?;
        for segment in path {
            value = value.as_object()?.get(segment)?;
        }
        Some(value)
    }

    /// A claim that is text and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The strings of a claim: of a list, or the one that it is. Anything else is ignored.
    pub fn strings(&self, name: &str) -> Vec<&str> {
        match self.get(name) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The subject: what the provider calls the user.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// Who the user is to services and gates: the claim `name`, else `sub`. Login and refresh use
    /// this same rule.
    pub fn identifier(&self, name: &str) -> Option<&str> {
        self.text(name).or_else(|| self.subject())
    }

    /// Adds what `other` has and this lacks; protocol claims are never taken over.
    pub fn fill_from(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            let missing = self.0.get(name).is_none_or(Value::is_null);
            if missing && !PROTOCOL.contains(&name.as_str()) {
                self.0.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        Claims::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn literal_names_win_over_paths() {
        let claims = claims(json!({
            "https://x.example/roles": ["a"], "realm_access": {"roles": ["b"]}, "a.b": "literal", "a": {"b": "nested"}
        }));
        assert_eq!(claims.strings("https://x.example/roles"), ["a"]);
        assert_eq!(claims.strings("realm_access.roles"), ["b"]);
        assert_eq!(claims.strings("a.b"), ["literal"]);
        assert!(claims.strings("a").is_empty());
        assert!(claims.get("realm_access.none.deeper").is_none());
    }

    #[test]
    fn strings_ignore_the_rest() {
        let claims = claims(json!({"groups": ["a", 1, null, {"x": 1}, "b"], "role": "one", "n": 5}));
        assert_eq!(claims.strings("groups"), ["a", "b"]);
        assert_eq!(claims.strings("role"), ["one"]);
        assert!(claims.strings("n").is_empty());
    }

    #[test]
    fn identifier_falls_back_to_sub() {
        let with = claims(json!({"sub": "s", "email": "e@x"}));
        let without = claims(json!({"sub": "s", "email": ""}));
        assert_eq!(with.identifier("email"), Some("e@x"));
        assert_eq!(without.identifier("email"), Some("s"));
    }

    #[test]
    fn userinfo_fills_but_never_overrides() {
        let mut token = claims(json!({"sub": "s", "name": "token", "email": null}));
        token.fill_from(&claims(json!({"sub": "other", "name": "info", "email": "e@x", "sid": "forged"})));
        assert_eq!(token, claims(json!({"sub": "s", "name": "token", "email": "e@x"})));
    }
}
