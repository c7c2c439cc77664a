//! From written values to typed ones, collecting every fault on the way.
//!
//! [`schema!`](crate::config::schema) declares a block once: its fields, their names in
//! configuration, their defaults, the keys that are known but not supported yet, and from that
//! derives the struct, its `Default` and its [`Decode`].

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

pub use super::block::BlockKeys;
#[cfg(test)]
pub use super::block::Field;
use super::error::{ConfigError, ConfigErrors, is_within};
use super::value::{Entry, Node, Position, Value};

/// Decodes values and collects what is wrong with them.
#[derive(Debug, Default)]
pub struct Decoder {
    path: Vec<String>,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `decode` with `segment` added to the key path.
    pub fn at<T>(&mut self, segment: &str, decode: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment.to_owned());
        let value = decode(self);
        self.path.pop();
        value
    }

    /// The key path, with list positions in brackets.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for segment in &self.path {
            if !path.is_empty() && !segment.starts_with('[') {
                path.push('.');
            }
            path.push_str(segment);
        }
        path
    }

    /// Records a fault at the current key path.
    pub fn error(&mut self, at: &Position, message: impl Into<String>) {
        let path = self.path();
        self.errors.push(ConfigError { at: Some(at.clone()), path, message: message.into() });
    }

    /// Records something that loads but deserves the operator's attention.
    pub fn warn(&mut self, at: &Position, message: impl Into<String>) {
        let path = self.path();
        self.warnings.push(ConfigError { at: Some(at.clone()), path, message: message.into() });
    }

    /// Records that `node` is not `expected`, and yields nothing.
    pub fn expected<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        let found = match &node.value {
            Value::Scalar(text) => format!("`{}`", shorten(text)),
            _ => node.kind().to_owned(),
        };
        self.error(&node.at, format!("expected {expected}, found {found}"));
        None
    }

    /// Decodes one field; its value is `None` when it is absent or faulty.
    pub fn field<T: Decode>(&mut self, entry: &Entry, name: &str) -> Option<T> {
        self.at(name, |decoder| match entry.node.value {
            Value::Null => {
                T::without_value(&entry.node, decoder);
                None
            }
            _ => T::decode(&entry.node, decoder),
        })
    }

    /// How many faults were recorded so far.
    pub fn faults(&self) -> usize {
        self.errors.len()
    }

    /// Whether no fault was recorded so far in the block at the key path `block`.
    pub fn is_clean(&self, block: &str) -> bool {
        !self.errors.iter().any(|error| is_within(&error.path, block))
    }

    /// The faults, in the order of their places, and the warnings.
    pub fn told(mut self) -> (Vec<ConfigError>, Vec<ConfigError>) {
        self.errors.sort_by_key(|error| error.at.as_ref().map(|at| (at.line, at.column)));
        (self.errors, self.warnings)
    }

    /// `value` with the warnings when no fault was found.
    ///
    /// # Errors
    /// Every fault, in the order of their places.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<ConfigError>), ConfigErrors> {
        let (errors, warnings) = self.told();
        match value {
            Some(value) if errors.is_empty() => Ok((value, warnings)),
            _ => Err(ConfigErrors(errors)),
        }
    }
}

/// The beginning of a text, for messages.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A type that can be read from a written value.
pub trait Decode: Sized {
    /// Reads `node`, recording faults in `decoder`; `None` when nothing can be made of it.
    ///
    /// A block, list or map with a fault inside is still `Some`, without the faulty part, so that
    /// the checks after decoding can find the other faults in the same run. Whether the value may be
    /// used is for [`Decoder::finish`] to say.
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self>;

    /// Tells of a key that was written without a value, where its writer may have expected more than that it counts as
    /// absent.
    fn without_value(_: &Node, _: &mut Decoder) {}
}

fn scalar<'a>(node: &'a Node, decoder: &mut Decoder, expected: &str) -> Option<&'a str> {
    match &node.last().value {
        Value::Scalar(text) if is_reference(text) => {
            decoder.error(&node.at, UNRESOLVED);
            None
        }
        Value::Scalar(text) => Some(text),
        _ => decoder.expected(node, expected),
    }
}

const UNRESOLVED: &str = "`urn:k8s:secret:…` names a secret that only Traefik in Kubernetes looks up, and would be taken \
    as it stands; write the value itself, or in a dynamic file `{{ env \"NAME\" }}` with the secret in the environment";

/// Whether `text` is how Traefik's users write a secret of Kubernetes. Taken literally it would be a key that everybody
/// can guess.
fn is_reference(text: &str) -> bool {
    const PREFIX: &str = "urn:k8s:secret:";
    text.trim_start().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

impl Decode for String {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        scalar(node, decoder, "text").map(str::to_owned)
    }
}

impl Decode for SecretString {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.last().value {
            Value::Scalar(text) if is_reference(text) => {
                decoder.error(&node.at, UNRESOLVED);
                None
            }
            Value::Scalar(text) => Some(SecretString::from(text.clone())),
            _ => {
                decoder.error(&node.at, format!("expected text, found {}", node.kind()));
                None
            }
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        // Go's strconv.ParseBool, which Traefik uses.
        match scalar(node, decoder, "true or false")? {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
            _ => decoder.expected(node, "true or false"),
        }
    }
}

macro_rules! decode_number {
    ($($type:ty => $expected:literal),* $(,)?) => {$(
        impl Decode for $type {
            fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
                let text = scalar(node, decoder, $expected)?;
                match text.trim().parse() {
                    Ok(number) => Some(number),
                    Err(_) => decoder.expected(node, $expected),
                }
            }
        }
    )*};
}

decode_number! {
    i64 => "a whole number",
    u64 => "a whole number that is not negative",
    u32 => "a whole number that is not negative",
    u16 => "a whole number from 0 to 65535",
    usize => "a whole number that is not negative",
    f64 => "a number",
}

impl Decode for Duration {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        const EXPECTED: &str = "a duration such as 30 (seconds), 250ms or 1m30s";
        match super::duration::parse(scalar(node, decoder, EXPECTED)?) {
            Some(duration) => Some(duration),
            None => decoder.expected(node, EXPECTED),
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        T::decode(node, decoder).map(Some)
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        T::decode(node, decoder).map(Box::new)
    }
}

impl<T: Decode> Decode for Vec<T> {
    /// A list; also one scalar, split at commas as Traefik does.
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let split: Vec<Node>;
        let items = match &node.value {
            Value::List(items) => items,
            // A variable or flag can say "none" in no other way.
            Value::Scalar(text) if text.is_empty() && node.at.line == 0 => {
                split = Vec::new();
                &split
            }
            Value::Scalar(text) => {
                split = at_commas(text, &node.at).collect();
                &split
            }
            Value::Repeated(nodes) => {
                let texts = nodes.iter().filter_map(|node| match &node.value {
                    Value::Scalar(text) => Some(at_commas(text, &node.at)),
                    _ => None,
                });
                split = texts.flatten().collect();
                &split
            }
            _ => return decoder.expected(node, "a list"),
        };
        let decoded = items.iter().enumerate().filter_map(|(index, item)| {
            decoder.at(&format!("[{index}]"), |decoder| T::decode(item, decoder))
        });
        Some(decoded.collect())
    }
}

fn at_commas<'a>(text: &'a str, at: &'a Position) -> impl Iterator<Item = Node> + 'a {
    text.split(',').map(|part| Node { value: Value::Scalar(part.trim().to_owned()), at: at.clone() })
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            return decoder.expected(node, "a mapping");
        };
        let decoded = entries
            .iter()
            .filter_map(|entry| decoder.field(entry, &entry.key).map(|value| (entry.key.clone(), value)));
        Some(decoded.collect())
    }
}

/// Whether a block may be written empty: the reading of Traefik's `object†`.
///
/// `true` (or `{}`) is the block with its defaults; any other scalar leaves it absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Presence<T>(pub Option<T>);

impl<T> Default for Presence<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Presence<T> {
    /// The block, where it is present.
    pub fn as_ref(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T: Decode + Default> Decode for Presence<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.last().value {
            Value::Scalar(text) => {
                let is_present = text.eq_ignore_ascii_case("true");
                if !is_present && !text.eq_ignore_ascii_case("false") {
                    let message =
                        format!("`{}` counts as absent, as in Traefik: write true or false", shorten(text));
                    decoder.warn(&node.at, message);
                }
                Some(Self(is_present.then(T::default)))
            }
            Value::Map(entries) if entries.is_empty() => Some(Self(Some(T::default()))),
            _ => T::decode(node, decoder).map(|block| Self(Some(block))),
        }
    }

    fn without_value(node: &Node, decoder: &mut Decoder) {
        decoder.warn(
            &node.at,
            "without a value it counts as absent, as in Traefik: write `{}` for its defaults",
        );
    }
}

/// Declares a block of configuration.
///
/// ```text
/// schema! {
///     /// What the block is.
///     pub struct Log {
///         /// What the field is.
///         "level" => level: String = "ERROR".to_owned(),
///         /// A field whose default is that of its type.
///         "filePath" => file_path: Option<String>,
///     }
///     required: ["level"],
///     not supported yet: ["otlp"],
///     refused: { "udp" => "why it cannot be honoured" },
///     without effect: { "old" => "why that is harmless" },
/// }
/// ```
/// The lists are optional, in this order. A key that no field and no list has is refused with the
/// nearest name. An empty mapping is refused as Traefik does, unless the field that holds the block
/// is a [`Presence`].
#[macro_export]
macro_rules! schema {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ $key:literal => $field:ident : $type:ty $(= $default:expr)? , )*
        }
        $(required: [$($required:literal),* $(,)?],)?
        $(not supported yet: [$($later:literal),* $(,)?],)?
        $(refused: { $($refused:literal => $reason:literal),* $(,)? },)?
        $(without effect: { $($idle:literal => $why:literal),* $(,)? },)?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $name { $( $(#[doc = $doc])+ pub $field: $type, )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::schema!(@default $type $(, $default)?), )* }
            }
        }

        impl $name {
            /// Every key of this block that has a field.
            pub const KEYS: &'static [&'static str] = &[$($key),*];
            /// Every key of this block and what becomes of it.
            pub const BLOCK: $crate::config::decode::BlockKeys = $crate::config::decode::BlockKeys {
                known: Self::KEYS,
                required: &[$($($required),*)?],
                later: &[$($($later),*)?],
                refused: &[$($(($refused, $reason)),*)?],
                idle: &[$($(($idle, $why)),*)?],
            };
            /// The fields for the documentation.
            #[cfg(test)]
            pub const FIELDS: &'static [$crate::config::decode::Field] = &[$($crate::config::decode::Field {
                key: $key,
                kind: stringify!($type),
                default: stringify!($($default)?),
                what: concat!($($doc),+),
            }),*];
        }

        impl $crate::config::decode::Decode for $name {
            fn decode(
                node: &$crate::config::value::Node,
                decoder: &mut $crate::config::decode::Decoder,
            ) -> Option<Self> {
                let mut block = Self::default();
                for entry in Self::BLOCK.check(node, decoder)? {
                    $( if entry.key.eq_ignore_ascii_case($key) {
                        if let Some(value) = decoder.field(entry, $key) {
                            block.$field = value;
                        }
                        continue;
                    } )*
                }
                Some(block)
            }
        }
    };
    (@default $type:ty, $default:expr) => { $default };
    (@default $type:ty) => { <$type>::default() };
}
