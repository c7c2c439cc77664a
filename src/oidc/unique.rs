//! JSON objects of signed tokens, in which no name may come twice: readers disagree on which of the
//! two counts (RFC 7519, section 4; RFC 8725, section 2.6).

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// The members of an object; a name that comes twice is a fault.
pub(super) struct Members(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Read)
    }
}

struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Members;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Map::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a name comes twice"));
            }
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn each_name_once() {
        let read = |text: &str| serde_json::from_str::<Members>(text).map(|members| members.0.len());
        assert_eq!(read("{\"a\": 1, \"b\": {\"a\": 2}}").unwrap(), 2);
        for bad in ["{\"a\": 1, \"a\": 1}", "{\"a\": 1, \"\\u0061\": 2}", "[]", "5", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
