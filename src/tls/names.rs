//! Names as Go writes them in configuration, and as IANA registers them, beside rustls' values.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{cipher_suite as suites, kx_group};
use rustls::{CipherSuite, ProtocolVersion, SupportedCipherSuite};

/// What a name in configuration stands for.
pub(super) enum Named<T> {
    /// We have it.
    Known(T),
    /// A real thing that rustls leaves out for being weak or rare. Leaving it out too never
    /// weakens a list.
    LeftOut,
    /// A cipher suite of TLS 1.3: always on, as in Go.
    AlwaysOn,
    /// No such thing.
    Unknown,
}

/// Suites of TLS 1.2 that Go knows and rustls does not.
const WEAK_SUITES: &[&str] = &[
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_FALLBACK_SCSV",
];

/// The cipher suite of a Go constant name.
pub(super) fn cipher_suite(name: &str) -> Named<SupportedCipherSuite> {
    let suite = match name {
        "TLS_AES_128_GCM_SHA256" | "TLS_AES_256_GCM_SHA384" | "TLS_CHACHA20_POLY1305_SHA256" => {
            return Named::AlwaysOn;
        }
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => {
            suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => {
            suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
        weak if WEAK_SUITES.contains(&weak) => return Named::LeftOut,
        _ => return Named::Unknown,
    };
    Named::Known(suite)
}

/// The key exchange group of a Go constant name or an RFC name.
pub(super) fn group(name: &str) -> Named<&'static dyn SupportedKxGroup> {
    let group = match name {
        "X25519" | "x25519" => kx_group::X25519,
        "CurveP256" | "secp256r1" => kx_group::SECP256R1,
        "CurveP384" | "secp384r1" => kx_group::SECP384R1,
        "X25519MLKEM768" | "x25519mlkem768" => kx_group::X25519MLKEM768,
        "SecP256r1MLKEM768" | "secp256r1mlkem768" => kx_group::SECP256R1MLKEM768,
        "CurveP521" | "secp521r1" | "SecP384r1MLKEM1024" | "secp384r1mlkem1024" => {
            return Named::LeftOut;
        }
        _ => return Named::Unknown,
    };
    Named::Known(group)
}

/// The name of a cipher suite in the IANA registry.
pub fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

/// `1.2` or `1.3`, as access logs write versions.
pub fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "1.2",
        ProtocolVersion::TLSv1_3 => "1.3",
        _ => "unknown",
    }
}
