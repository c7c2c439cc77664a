//! Writing numbers and escaped text into a line.

use http::HeaderName;

/// A number, padded with zeros to `width`.
pub(super) fn digits(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value).as_bytes();
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(text.len())));
    out.extend_from_slice(text);
}

/// Text for a CLF line. Quotes, backslashes and control characters are escaped as Apache does, so that
/// no client can forge a field or a line. (Traefik writes them as they are.)
pub(super) fn clf(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            0..=0x1f | 0x7f => out.extend([b'\\', b'x', hex(byte >> 4), hex(byte)]),
            _ => out.push(byte),
        }
    }
}

/// A JSON string with its quotes, escaped as Go's `encoding/json` does: `<`, `>` and `&` too.
pub(super) fn json(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    json_part(text, out);
    out.push(b'"');
}

/// The inside of a JSON string.
pub(super) fn json_part(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        json_valid(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(br"\ufffd");
        }
    }
}

fn json_valid(text: &str, out: &mut Vec<u8>) {
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(br#"\""#),
            '\\' => out.extend_from_slice(br"\\"),
            '\n' => out.extend_from_slice(br"\n"),
            '\r' => out.extend_from_slice(br"\r"),
            '\t' => out.extend_from_slice(br"\t"),
            '\u{8}' => out.extend_from_slice(br"\b"),
            '\u{c}' => out.extend_from_slice(br"\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => unicode_escape(character, out),
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn unicode_escape(character: char, out: &mut Vec<u8>) {
    let [_, _, high, low] = u32::from(character).to_be_bytes();
    out.extend([b'\\', b'u', hex(high >> 4), hex(high), hex(low >> 4), hex(low)]);
}

/// The lower four bits as a hexadecimal digit.
fn hex(nibble: u8) -> u8 {
    match nibble & 0xf {
        digit @ 0..=9 => b'0' + digit,
        letter => b'a' + letter - 10,
    }
}

/// A header name as Go spells it: `user-agent` becomes `User-Agent`.
pub(super) fn canonical(name: &HeaderName) -> impl Iterator<Item = u8> + '_ {
    let mut start = true;
    name.as_str().bytes().map(move |byte| {
        let byte = if start { byte.to_ascii_uppercase() } else { byte };
        start = byte == b'-';
        byte
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_clf_field_cannot_be_left() {
        assert_eq!(text(|out| clf(b"a\"b\\c\r\n\x7f", out)), r#"a\"b\\c\x0d\x0a\x7f"#);
    }

    #[test]
    fn json_is_escaped_as_go_does() {
        assert_eq!(
            text(|out| json(b"/?a=1&b=<\"\\\n\x01\xff>", out)),
            r#""/?a=1\u0026b=\u003c\"\\\n\u0001\ufffd\u003e""#
        );
        assert_eq!(text(|out| json("ü\u{2028}".as_bytes(), out)), "\"ü\\u2028\"");
    }

    #[test]
    fn header_names_are_spelled_as_go_does() {
        let name = HeaderName::from_static("x-forwarded-for");
        assert_eq!(canonical(&name).collect::<Vec<_>>(), b"X-Forwarded-For");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_become_one_json_string(bytes: Vec<u8>) {
            let mut out = Vec::new();
            json(&bytes, &mut out);
            let back: String = serde_json::from_slice(&out).unwrap();
            if let Ok(text) = std::str::from_utf8(&bytes) {
                proptest::prop_assert_eq!(back, text);
            }
            proptest::prop_assert!(!out.contains(&b'\n'));
        }

        #[test]
        fn any_bytes_stay_in_one_clf_field(bytes: Vec<u8>) {
            let mut out = Vec::new();
            clf(&bytes, &mut out);
            let text = String::from_utf8_lossy(&out).replace(r"\\", "").replace("\\\"", "");
            let escapes = text.contains(['"', '\n', '\r', '\x1b']);
            proptest::prop_assert!(!escapes);
        }
    }
}
