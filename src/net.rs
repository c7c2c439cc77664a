//! Addresses, headers and answers that every layer shares. Knows no other module.

pub mod cidr;
pub mod conn_info;
pub mod cut;
pub mod forwarded;
pub mod headers;
pub mod html;
pub mod internal;
pub mod path;
pub mod proxy_protocol;

mod host;
mod regexp;
mod response;
mod scheme;
mod text;
mod turns;

pub use cidr::IpSet;
pub use conn_info::{ConnControl, ConnInfo, TlsInfo};
pub use host::{canonical_host, is_authority, same_authority};
pub use regexp::{GoRegex, RegexError};
pub use response::{LocalResponse, Undo};
pub use scheme::Scheme;
pub use text::Text;
pub use turns::{Turns, cores};
