//! The subject of a client's certificate, as Go prints it: Traefik's logs and their readers know no other form.

use std::fmt::Write as _;

use x509_parser::x509::X509Name;

/// Attributes with a name, in the order in which they are printed.
const NAMED: [(&str, &str); 9] = [
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.3", "CN"),
    ("2.5.4.11", "OU"),
    ("2.5.4.10", "O"),
    ("2.5.4.17", "POSTALCODE"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.6", "C"),
];
/// Attributes of which the last one counts.
const SINGLE: [&str; 2] = ["SERIALNUMBER", "CN"];

/// The subject of the certificate `der`, as Go's `pkix.Name` prints it: RFC 4514, but with its attributes in a
/// fixed order. `None` if `der` is no certificate.
pub fn subject(der: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(print(certificate.subject()))
}

fn print(name: &X509Name<'_>) -> String {
    let attributes: Vec<(String, &str)> = name
        .iter_attributes()
        .filter_map(|attribute| Some((attribute.attr_type().to_id_string(), attribute.as_str().ok()?)))
        .collect();
    let mut parts: Vec<String> = Vec::new();
    for (oid, name) in NAMED {
        let values = attributes.iter().filter(|(kind, _)| kind == oid);
        let mut values: Vec<String> = values.map(|(_, value)| format!("{name}={}", escaped(value))).collect();
        if SINGLE.contains(&name) {
            values = values.pop().into_iter().collect();
        }
        if !values.is_empty() {
            parts.push(values.join("+"));
        }
    }
    let is_named = |kind: &str| NAMED.iter().any(|(oid, _)| *oid == kind);
    let others = attributes.iter().rev().filter(|(kind, _)| !is_named(kind));
    parts.extend(others.map(|(kind, value)| format!("{kind}=#{}", encoded(value))));
    parts.join(",")
}

/// RFC 4514, section 2.4.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (index, c) in value.chars().enumerate() {
        let special = match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => index == 0 || index == last,
            '#' => index == 0,
            _ => false,
        };
        if special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A string in DER, as hexadecimal digits: PrintableString where that can hold it, else UTF8String.
fn encoded(value: &str) -> String {
    let printable = value.bytes().all(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b));
    let mut out = String::from(if printable { "13" } else { "0c" });
    let length = value.len().to_be_bytes();
    let significant = length.iter().skip_while(|byte| **byte == 0);
    // Writing to a string cannot fail.
    if value.len() > 127 {
        let _ = write!(out, "{:02x}", 0x80 | significant.clone().count());
    }
    if value.is_empty() {
        out.push_str("00");
    }
    for byte in significant.chain(value.as_bytes()) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn of(attributes: &[(DnType, &str)]) -> String {
        let mut name = DistinguishedName::new();
        for (kind, value) in attributes {
            name.push(kind.clone(), *value);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        subject(certificate.der()).unwrap()
    }

    #[test]
    fn attributes_have_gos_order() {
        let email = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        let name = [
            (DnType::CountryName, "FR"),
            (DnType::CommonName, "client"),
            (email, "a@b.test"),
            (DnType::OrganizationName, "Org, Inc."),
            (DnType::OrganizationalUnitName, "dev"),
        ];
        assert_eq!(
            of(&name),
            "CN=client,OU=dev,O=Org\\, Inc.,C=FR,1.2.840.113549.1.9.1=#0c086140622e74657374"
        );
    }

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(of(&[(DnType::CommonName, " #a b+c\\ ")]), "CN=\\ #a b\\+c\\\\\\ ");
        assert_eq!(of(&[(DnType::CommonName, "#1")]), "CN=\\#1");
        assert_eq!(of(&[]), "");
    }

    #[test]
    fn values_without_a_name_are_encoded() {
        assert_eq!(encoded("ab"), "13026162");
        assert_eq!(encoded(""), "1300");
        assert_eq!(encoded("é"), "0c02c3a9");
        assert!(encoded(&"a".repeat(200)).starts_with("1381c861"));
        assert!(encoded(&"a".repeat(300)).starts_with("1382012c61"));
    }

    #[test]
    fn what_is_no_certificate_has_no_subject() {
        assert_eq!(subject(b"nonsense"), None);
    }
}
