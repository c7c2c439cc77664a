//! Times as Go prints them.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::text::digits;

/// The local time zone, read once: the line for a request must not search `/usr/share/zoneinfo`.
pub(super) struct Clock(TimeZone);

impl Clock {
    /// The zone of `TZ` or `/etc/localtime`, else UTC.
    pub(super) fn system() -> Self {
        Self(TimeZone::system())
    }

    #[cfg(test)]
    pub(super) fn fixed(hours: i8) -> Self {
        Self(TimeZone::fixed(jiff::tz::offset(hours)))
    }

    fn local(&self, time: SystemTime) -> (DateTime, Offset) {
        let stamp = stamp(time);
        let offset = self.0.to_offset(stamp);
        (offset.to_datetime(stamp), offset)
    }

    /// `10/Nov/2009:14:00:00 -0900`, local.
    pub(super) fn clf_local(&self, time: SystemTime, out: &mut Vec<u8>) {
        clf(self.local(time), out);
    }

    /// RFC 3339, local, whole seconds.
    pub(super) fn rfc3339_local(&self, time: SystemTime, out: &mut Vec<u8>) {
        rfc3339(self.local(time), false, out);
    }

    /// RFC 3339, local, with nanoseconds as far as they matter.
    pub(super) fn rfc3339_local_nanos(&self, time: SystemTime, out: &mut Vec<u8>) {
        rfc3339(self.local(time), true, out);
    }
}

/// `10/Nov/2009:23:00:00 +0000`.
pub(super) fn clf_utc(time: SystemTime, out: &mut Vec<u8>) {
    clf(utc(time), out);
}

/// RFC 3339, UTC, with nanoseconds as far as they matter.
pub(super) fn rfc3339_utc_nanos(time: SystemTime, out: &mut Vec<u8>) {
    rfc3339(utc(time), true, out);
}

fn stamp(time: SystemTime) -> Timestamp {
    // Only a clock set beyond the year 9999 does not convert.
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn utc(time: SystemTime) -> (DateTime, Offset) {
    (Offset::UTC.to_datetime(stamp(time)), Offset::UTC)
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn clf((time, offset): (DateTime, Offset), out: &mut Vec<u8>) {
    let month = usize::try_from(time.month() - 1).ok().and_then(|index| MONTHS.get(index)).copied();
    number(time.day(), 2, out);
    out.push(b'/');
    out.extend_from_slice(month.unwrap_or("Jan").as_bytes());
    out.push(b'/');
    number(time.year(), 4, out);
    out.push(b':');
    clock(time, out);
    out.push(b' ');
    zone(offset, None, out);
}

fn rfc3339((time, offset): (DateTime, Offset), nanos: bool, out: &mut Vec<u8>) {
    number(time.year(), 4, out);
    out.push(b'-');
    number(time.month(), 2, out);
    out.push(b'-');
    number(time.day(), 2, out);
    out.push(b'T');
    clock(time, out);
    if nanos && time.subsec_nanosecond() != 0 {
        out.push(b'.');
        number(time.subsec_nanosecond(), 9, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    if offset.is_zero() { out.push(b'Z') } else { zone(offset, Some(b':'), out) }
}

fn clock(time: DateTime, out: &mut Vec<u8>) {
    number(time.hour(), 2, out);
    out.push(b':');
    number(time.minute(), 2, out);
    out.push(b':');
    number(time.second(), 2, out);
}

fn zone(offset: Offset, separator: Option<u8>, out: &mut Vec<u8>) {
    let minutes = offset.seconds() / 60;
    out.push(if minutes < 0 { b'-' } else { b'+' });
    number((minutes / 60).abs(), 2, out);
    out.extend(separator);
    number((minutes % 60).abs(), 2, out);
}

/// A number that is never negative here, padded with zeros.
fn number(value: impl Into<i64>, width: usize, out: &mut Vec<u8>) {
    digits(value.into().unsigned_abs(), width, out);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_look_as_go_prints_them() {
        // 2009-11-10 23:00:00 UTC, the example of Go's documentation.
        let time = UNIX_EPOCH + Duration::from_secs(1_257_894_000);
        let west = Clock::fixed(-9);
        assert_eq!(text(|out| clf_utc(time, out)), "10/Nov/2009:23:00:00 +0000");
        assert_eq!(text(|out| west.clf_local(time, out)), "10/Nov/2009:14:00:00 -0900");
        assert_eq!(text(|out| west.rfc3339_local(time, out)), "2009-11-10T14:00:00-09:00");
        assert_eq!(text(|out| Clock::fixed(0).rfc3339_local(time, out)), "2009-11-10T23:00:00Z");
        let later = time + Duration::from_nanos(120_000_100);
        assert_eq!(text(|out| rfc3339_utc_nanos(later, out)), "2009-11-10T23:00:00.1200001Z");
        assert_eq!(text(|out| rfc3339_utc_nanos(time, out)), "2009-11-10T23:00:00Z");
    }
}
