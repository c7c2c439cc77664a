use http::header::COOKIE;
use proptest::prelude::*;

use super::*;

fn cookies() -> Cookies {
    Cookies::new("pc_", None, None).unwrap().for_client("ab12cd34")
}

fn lines(sealed: &[u8], generation: u64) -> (SessionId, Vec<String>) {
    let id = SessionId::random().unwrap();
    let lines = cookies().carry(id, generation, sealed, Duration::from_secs(86_400), true).unwrap();
    let headers = request(&of(&lines.lines));
    assert_eq!(*cookies().chunks(&headers, true).presented().unwrap().text(), *lines.text.as_bytes());
    (id, of(&lines.lines))
}

fn of(lines: &[HeaderValue]) -> Vec<String> {
    lines.iter().map(|line| line.to_str().unwrap().to_owned()).collect()
}

/// As a browser sends them.
fn request(lines: &[String]) -> HeaderMap {
    let pairs: Vec<&str> = lines.iter().map(|line| line.split(';').next().unwrap()).collect();
    HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&pairs.join("; ")).unwrap())])
}

fn presented(lines: &[String]) -> Option<(SessionId, u64, Vec<u8>)> {
    let headers = request(lines);
    let presented = cookies().chunks(&headers, true).presented()?;
    Some((presented.id, presented.generation, presented.sealed()?))
}

/// Bytes of which no two pieces are alike.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n * 31 + n / 251) % 256).unwrap()).collect()
}

#[test]
fn sizes_around_the_edges_of_chunks_come_back_within_the_limit() {
    let mut counts = Vec::new();
    for length in (1..60).chain(2_700..2_900).chain([3_999, 4_000, 4_001, 5_700, 8_000, 14_000]) {
        let sealed = bytes(length);
        let (id, lines) = lines(&sealed, 1_234);
        assert!(lines.iter().all(|line| line.len() <= LONGEST_COOKIE));
        assert_eq!(presented(&lines), Some((id, 1_234, sealed)), "{length}");
        let full = lines.iter().rev().skip(1).all(|line| line.len() == LONGEST_COOKIE);
        assert!(full, "only the last one has room");
        counts.push(lines.len());
    }
    assert_eq!((counts.iter().min(), counts.iter().max()), (Some(&1), Some(&MOST_CHUNKS)));
    let attributes = "; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure";
    let (_, lines) = lines(&bytes(5_000), 0);
    assert!(lines.iter().enumerate().all(|(index, line)| {
        line.starts_with(&format!("__Host-pc_session_ab12cd34_{index}=")) && line.ends_with(attributes)
    }));
}

#[test]
fn too_large_a_session_is_refused_whole() {
    for length in [15_000, 40_000, 400_000] {
        let id = SessionId::random().unwrap();
        let result = cookies().carry(id, 0, &bytes(length), Duration::ZERO, false);
        assert!(matches!(result, Err(ChunkError::TooLarge(_))), "{length}");
    }
}

#[test]
fn only_whole_and_single_sets_count() {
    let (_, good) = lines(&bytes(8_000), 7);
    assert_eq!(good.len(), 3);
    for missing in 0..3 {
        let mut lines = good.clone();
        lines.remove(missing);
        assert_eq!(presented(&lines), None, "without {missing}");
    }
    for twice in 0..3 {
        let mut lines = good.clone();
        lines.push(good[twice].clone());
        assert_eq!(presented(&lines), None, "{twice} twice");
    }
    let (_, newer) = lines(&bytes(8_000), 8);
    for other in 0..3 {
        let mut lines = good.clone();
        lines[other] = newer[other].clone();
        assert_eq!(presented(&lines), None, "{other} of another generation");
    }
    // In another order they are cut in the same way, and what is left over does not matter.
    let mut odd: Vec<String> = good.iter().rev().cloned().collect();
    odd.push(newer[2].replace("_2=", "_3="));
    assert_eq!(presented(&odd), presented(&good));
    let swapped: Vec<String> = good
        .iter()
        .map(|line| line.replace("_1=", "_x=").replace("_2=", "_1=").replace("_x=", "_2="))
        .collect();
    assert_ne!(presented(&swapped), presented(&good), "and the seal is broken");
}

#[test]
fn odd_heads_are_none() {
    let (id, _) = lines(b"x", 0);
    let id = id.to_text();
    let value = |value: &str| vec![format!("__Host-pc_session_ab12cd34_0={value}; Path=/")];
    assert!(presented(&value(&format!("{id}.0.1.AAAA"))).is_some());
    let odd = [
        format!("{id}.0.0.AAAA"),
        format!("{id}.0.6.AAAA"),
        format!("{id}.0.01.AAAA"),
        format!("{id}.0.1000000000.AAAA"),
        format!("{id}.0.2.AAAA"),
        format!("{id}.00.1.AAAA"),
        format!("{id}.+1.1.AAAA"),
        format!("{id}.18446744073709551616.1.AAAA"),
        format!("{id}.-1.1.AAAA"),
        format!("{id}.0.1.A A"),
        format!("{id}.0.1.AAAA="),
        format!("{id}.0.1"),
        format!("x{id}.0.1.AAAA"),
        format!("{id}.0.1.{}", "A".repeat(4_000)),
        String::new(),
        "...".to_owned(),
    ];
    for odd in odd {
        assert_eq!(presented(&value(&odd)), None, "{odd}");
    }
    let named = |name: &str| vec![format!("{name}={id}.0.1.AAAA; Path=/")];
    for name in ["pc_session_ab12cd34_0", "__Host-pc_session_0", "__Host-pc_session_ab12cd34_00"] {
        assert_eq!(presented(&named(name)), None, "{name}");
    }
}

#[test]
fn what_is_no_text_is_no_session() {
    let (id, _) = lines(b"x", 0);
    let name = "__Host-pc_session_ab12cd34";
    let parsed = |rest: &[u8]| {
        let value = [format!("{name}_0={}.0.1.AAAA", id.to_text()).as_bytes(), rest].concat();
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(&value).unwrap())]);
        cookies().chunks(&headers, true).presented().and_then(|presented| presented.sealed())
    };
    assert!(parsed(b"").is_some() && parsed(b"AAAA").is_some());
    assert_eq!(parsed(b"\xff\xfeAA"), None);
    // Nor may it hide one that comes twice.
    assert_eq!(parsed(format!("; {name}_0=\u{ff}").as_bytes()), None);
}

proptest! {
    #[test]
    fn anything_is_presented_or_not_without_panic(values in prop::collection::vec("[A-Za-z0-9._-]{0,80}", 0..7)) {
        let lines: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(index, value)| format!("__Host-pc_session_ab12cd34_{index}={value}; Path=/"))
            .collect();
        if let Some((_, _, sealed)) = presented(&lines) {
            prop_assert!(sealed.len() <= MOST_CHUNKS * LONGEST_COOKIE);
        }
    }
}
