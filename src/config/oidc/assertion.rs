//! What tells a service who the user is, signed.

use crate::schema;

schema! {
    /// A signed assertion of identity for the service (native): the block itself is the switch.
    pub struct IdentityAssertion {
        /// Header that it is sent in.
        "header" => header: String = "X-Portcullis-Jwt-Assertion".to_owned(),
        /// Its `iss`: by what services know this edge.
        "issuer" => issuer: String,
        /// Its `aud`: the services that it is for.
        "audience" => audience: Vec<String>,
        /// How long one holds, in seconds.
        "lifetime" => lifetime: i64 = 60,
        /// Claims beside the usual ones.
        "claims" => claims: Vec<String>,
        /// Path of the public keys; `jwks` in the callback's folder if not written.
        "jwksPath" => jwks_path: Option<String>,
    }
    required: ["issuer", "audience"],
}
