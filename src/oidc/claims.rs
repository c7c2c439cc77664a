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
    // Of Entra: whose user it is.
    "tid",
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
        let literal = self.0.get(name);
        let value = match literal {
            None if name.contains('.') => resolve(&self.0, &name.split('.').collect::<Vec<_>>()),
            _ => literal,
        };
        value.filter(|value| !value.is_null())
    }

    /// The claim at a compiled path. A JSON null counts as missing.
    pub fn find(&self, path: &ClaimPath) -> Option<&Value> {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        resolve(&self.0, &segments).filter(|value| !value.is_null())
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

    /// Takes over what another token says under these names.
    pub fn take_over(&mut self, names: &[&str], from: &Map<String, Value>) {
        for name in names {
            if let Some(value) = from.get(*name) {
                self.0.insert((*name).to_owned(), value.clone());
            }
        }
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

/// A claim's name as written in an expression: a dot leads into an object, `\.` is a dot of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath {
    name: String,
    segments: Vec<String>,
}

impl ClaimPath {
    /// Reads a name; every text is one.
    pub fn parse(name: &str) -> Self {
        let (mut segments, mut segment) = (Vec::new(), String::new());
        let mut chars = name.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' if matches!(chars.peek(), Some('.' | '\\')) => segment.extend(chars.next()),
                '.' => segments.push(std::mem::take(&mut segment)),
                _ => segment.push(c),
            }
        }
        segments.push(segment);
        Self { name: name.to_owned(), segments }
    }

    /// The name as written.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The longest member name that fits wins at each level, so that `https://x.example/access.roles`
/// is found although its host has dots too.
fn resolve<'a>(members: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    (1..=path.len()).rev().find_map(|length| {
        let (name, rest) = path.split_at_checked(length)?;
        let value = members.get(&name.join("."))?;
        if rest.is_empty() { Some(value) } else { resolve(value.as_object()?, rest) }
    })
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
    fn paths_through_names_with_dots() {
        let claims = claims(json!({
            "https://x.example/access": {"roles": ["a"], "b.c": {"d": "e"}}, "a\\": {"b": "slash"}, "x.y": "dotted"
        }));
        assert_eq!(claims.strings("https://x.example/access.roles"), ["a"]);
        assert_eq!(claims.strings("https://x.example/access.b.c.d"), ["e"]);
        let find = |name: &str| claims.find(&ClaimPath::parse(name)).and_then(Value::as_str);
        assert_eq!(find("x\\.y"), Some("dotted"));
        assert_eq!(find("a\\\\.b"), Some("slash"));
        assert_eq!(find("a\\.b"), None);
        assert_eq!(find("x.y."), None);
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
