//! How the fields of a record are written: times and durations in milliseconds, texts and secrets as they are.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize, Serializer};

use crate::oidc::clock::{from_unix_millis, unix_millis};
use crate::oidc::session::ScopeId;

/// What has another form when it is written.
pub(super) trait Field {
    type Written<'a>: Serialize
    where
        Self: 'a;
    type Read: DeserializeOwned;

    fn written(&self) -> Self::Written<'_>;
    fn of(read: Self::Read) -> Self;
}

pub(super) fn serialize<S: Serializer>(field: &impl Field, to: S) -> Result<S::Ok, S::Error> {
    field.written().serialize(to)
}

pub(super) fn deserialize<'de, F: Field, D: Deserializer<'de>>(from: D) -> Result<F, D::Error> {
    serde::Deserialize::deserialize(from).map(F::of)
}

impl<F: Field> Field for Option<F> {
    type Written<'a>
        = Option<F::Written<'a>>
    where
        F: 'a;
    type Read = Option<F::Read>;

    fn written(&self) -> Self::Written<'_> {
        self.as_ref().map(F::written)
    }

    fn of(read: Self::Read) -> Self {
        read.map(F::of)
    }
}

impl Field for SystemTime {
    type Written<'a> = u64;
    type Read = u64;

    fn written(&self) -> u64 {
        unix_millis(*self)
    }

    fn of(read: u64) -> Self {
        from_unix_millis(read)
    }
}

impl Field for Duration {
    type Written<'a> = u64;
    type Read = u64;

    fn written(&self) -> u64 {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX)
    }

    fn of(read: u64) -> Self {
        Self::from_millis(read)
    }
}

impl Field for Arc<str> {
    type Written<'a> = &'a str;
    type Read = String;

    fn written(&self) -> &str {
        self
    }

    fn of(read: String) -> Self {
        read.into()
    }
}

impl Field for SecretString {
    type Written<'a> = &'a str;
    type Read = String;

    fn written(&self) -> &str {
        self.expose_secret()
    }

    fn of(read: String) -> Self {
        read.into()
    }
}

impl Field for ScopeId {
    type Written<'a> = &'a [u8; 16];
    type Read = [u8; 16];

    fn written(&self) -> &[u8; 16] {
        self.bytes()
    }

    fn of(read: [u8; 16]) -> Self {
        Self::from_bytes(read)
    }
}
