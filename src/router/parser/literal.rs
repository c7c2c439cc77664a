//! Go's string literals.

/// Where in the literal, and why.
type LiteralError = (usize, String);

/// Reads the literal at the start of `text`: its value, and how many bytes it took.
pub(super) fn parse(text: &str) -> Result<(String, usize), LiteralError> {
    match text.bytes().next() {
        Some(b'`') => raw(text),
        Some(b'"') => interpreted(text),
        Some(b'\'') => fail(0, "single quotes do not make a string; use back-ticks or double quotes"),
        None => fail(0, "the rule ends inside an argument list"),
        _ => fail(0, "expected a string in back-ticks or double quotes"),
    }
}

fn fail<T>(at: usize, message: &str) -> Result<T, LiteralError> {
    Err((at, message.to_owned()))
}

/// Between back-ticks; carriage returns are dropped, as Go does.
fn raw(text: &str) -> Result<(String, usize), LiteralError> {
    let body = text.strip_prefix('`').unwrap_or(text);
    let Some((value, _)) = body.split_once('`') else { return fail(0, "the string is never closed") };
    Ok((value.replace('\r', ""), value.len() + 2))
}

/// Between double quotes, with Go's escapes.
fn interpreted(text: &str) -> Result<(String, usize), LiteralError> {
    let mut value = Vec::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, next)) = chars.next() {
        match next {
            '"' => {
                return match String::from_utf8(value) {
                    Ok(value) => Ok((value, at + 1)),
                    Err(_) => fail(0, "the string is not valid UTF-8"),
                };
            }
            '\n' => return fail(at, "a line break in a double-quoted string"),
            '\\' => escape(&mut chars, &mut value).map_err(|message| (at, message))?,
            _ => push(&mut value, next),
        }
    }
    fail(0, "the string is never closed")
}

fn push(value: &mut Vec<u8>, next: char) {
    value.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
}

/// What follows a backslash.
fn escape(chars: &mut impl Iterator<Item = (usize, char)>, value: &mut Vec<u8>) -> Result<(), String> {
    let Some((_, kind)) = chars.next() else { return Err("the string is never closed".to_owned()) };
    let simple = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => byte(number(chars, 0, 2, 16))?,
        '0'..='7' => byte(number(chars, kind.to_digit(8).unwrap_or(0), 2, 8))?,
        'u' => return character(number(chars, 0, 4, 16), value),
        'U' => return character(number(chars, 0, 8, 16), value),
        _ => {
            return Err(format!(
                "unknown escape `\\{kind}`; write `\\\\` for a backslash, or use back-ticks"
            ));
        }
    };
    value.push(simple);
    Ok(())
}

/// Exactly `digits` more digits.
fn number(
    chars: &mut impl Iterator<Item = (usize, char)>,
    start: u32,
    digits: usize,
    radix: u32,
) -> Option<u32> {
    (0..digits).try_fold(start, |value, _| {
        let digit = chars.next()?.1.to_digit(radix)?;
        value.checked_mul(radix)?.checked_add(digit)
    })
}

fn byte(number: Option<u32>) -> Result<u8, String> {
    number.and_then(|number| u8::try_from(number).ok()).ok_or_else(|| "bad numeric escape".to_owned())
}

fn character(number: Option<u32>, value: &mut Vec<u8>) -> Result<(), String> {
    let character = number.and_then(char::from_u32).ok_or_else(|| "bad Unicode escape".to_owned())?;
    push(value, character);
    Ok(())
}
