//! What the operator writes: types, defaults, and decoding that names file, line and key.
//!
//! Static configuration ([`static_config`]) is read at start from a file, flags or the environment;
//! dynamic configuration ([`dynamic`]) comes from the providers and changes while running. Both
//! follow Traefik v3.7's schema. Every key of that schema is honoured, refused by name, or warned
//! about; nothing is silently ignored. No behaviour lives here.

pub mod address;
mod block;
pub mod decode;
pub mod duration;
pub mod dynamic;
pub mod entry_point;
pub mod error;
pub mod load;
pub mod located;
pub mod middleware;
pub mod oidc;
pub mod oidc_options;
pub mod outline;
pub mod pem;
pub mod places;
pub mod session_store;
pub mod source;
pub mod static_config;
pub mod telemetry;
pub mod tls;
#[cfg(test)]
mod traefik_keys;
pub mod validate;
pub mod value;

pub use crate::schema;
pub use decode::{Decode, Decoder, Presence};
pub use error::{ConfigError, ConfigErrors, Fault, Faults};
pub use load::{Decoded, Draft, Loaded, decode_dynamic, draft_static, load_static};
pub use located::Located;
pub use outline::Outline;
pub use static_config::StaticConfig;
