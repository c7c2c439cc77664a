//! Durations as Traefik reads them.

use std::time::Duration;

/// What Go's durations can hold, some 292 years. No clock that one is added to comes near its end.
const LONGEST: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

/// Reads a bare whole number as seconds, anything else as Go's `time.ParseDuration` does.
///
/// Negative durations are refused, as no setting of ours has a meaning for one, and so are those that Go cannot hold.
pub fn parse(text: &str) -> Option<Duration> {
    read(text.trim()).filter(|duration| *duration <= LONGEST)
}

fn read(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(letters)?;
        let seconds = number.parse::<f64>().ok()? * unit_in_seconds(unit)?;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}

fn unit_in_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("250ms", 250),
            ("1m30s", 90_000),
            ("1h2m3.5s", 3_723_500),
            ("0", 0),
            ("1.5s", 1500),
            ("2562047h", 9_223_369_200_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "0.5",
            "-3s",
            "3 s",
            "s",
            "3d",
            "1..5s",
            "9999999999999999999999s",
            "1h-",
            "2562048h",
            "9223372037",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parts_add_up(hours in 0_u64..10_000, minutes in 0_u64..600, millis in 0_u64..1_000_000) {
            let text = format!("{hours}h{minutes}m{millis}ms");
            let expected = Duration::from_millis(hours * 3_600_000 + minutes * 60_000 + millis);
            prop_assert_eq!(parse(&text), Some(expected));
        }

        #[test]
        fn any_text_is_judged(text in "[+-]?([0-9.]{0,24}(ns|us|µs|ms|[smhd])?){0,4}") {
            if let Some(duration) = parse(&text) {
                prop_assert_eq!(parse(&format!(" {text} ")), Some(duration));
            }
        }
    }
}
