//! TLS versions and cipher suites under the names that Traefik logs: Go's.

const UNKNOWN: &str = "unknown";
const VERSIONS: [&str; 4] = ["1.0", "1.1", "1.2", "1.3"];

/// `1.2` or `1.3` for any usual spelling of the version, `unknown` otherwise.
pub(super) fn version(name: &str) -> &'static str {
    let digits = name.trim_start_matches("TLS").trim_start_matches(['v', ' ']);
    match digits {
        "1.3" | "1_3" | "13" => "1.3",
        "1.2" | "1_2" | "12" => "1.2",
        "1.1" | "1_1" | "11" => "1.1",
        "1.0" | "1_0" | "10" => "1.0",
        _ => UNKNOWN,
    }
}

/// The suites that rustls speaks, by IANA name. Go calls the two ChaCha20 suites of TLS 1.2 the same.
const CIPHERS: [&str; 9] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// The IANA name of a suite; rustls writes `TLS13_` where IANA writes `TLS_`.
pub(super) fn cipher(name: &str) -> &'static str {
    let tail = name.strip_prefix("TLS13_").or_else(|| name.strip_prefix("TLS_")).unwrap_or(name);
    CIPHERS.iter().find(|known| known.strip_prefix("TLS_") == Some(tail)).copied().unwrap_or(UNKNOWN)
}

/// Both names as one key of a metric slot.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn pack(version_name: &str, cipher_name: &str) -> u32 {
    let version = position(&VERSIONS, version(version_name));
    let cipher = position(&CIPHERS, cipher(cipher_name));
    ((version as u32) << 16) | cipher as u32
}

/// The names that [`pack`] was given.
pub(super) fn unpack(key: u32) -> (&'static str, &'static str) {
    let at = |table: &[&'static str], index: u32| table.get(index as usize).copied().unwrap_or(UNKNOWN);
    (at(&VERSIONS, key >> 16), at(&CIPHERS, key & 0xffff))
}

/// The index of `name`, or one past the end.
fn position(table: &[&str], name: &str) -> usize {
    table.iter().position(|known| *known == name).unwrap_or(table.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_version_agree() {
        for name in ["TLSv1_3", "TLSv1.3", "TLS 1.3", "1.3"] {
            assert_eq!(version(name), "1.3");
        }
        assert_eq!(version("TLSv1_2"), "1.2");
        assert_eq!(version("SSLv3"), "unknown");
    }

    #[test]
    fn rustls_names_become_iana_names() {
        assert_eq!(cipher("TLS13_AES_256_GCM_SHA384"), "TLS_AES_256_GCM_SHA384");
        assert_eq!(cipher("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(cipher("TLS_NULL"), "unknown");
    }

    #[test]
    fn keys_survive_packing() {
        let key = pack("TLSv1_2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
        assert_eq!(unpack(key), ("1.2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"));
        assert_eq!(unpack(pack("", "")), ("unknown", "unknown"));
    }
}
