//! JSON lines with the keys that Traefik writes, sorted as its logger sorts them.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::policy::{Field, Mode, Policy};
use super::text::{self, canonical};
use super::time::{self, Clock};
use super::values::{self, REDACTED};
use crate::observe::record::RequestRecord;
use crate::observe::tls_names;

/// One object, without the line feed.
pub(super) fn write(
    record: &RequestRecord<'_>,
    count: u64,
    policy: &Policy,
    clock: &Clock,
    out: &mut Vec<u8>,
) {
    let mut object = Object { policy, out };
    object.out.push(b'{');
    object.client(record);
    object.sizes_and_times(record);
    object.request(record, count);
    object.route(record);
    object.start(record, clock);
    object.tls(record);
    object.headers("downstream_", record.response_headers);
    object.text(Field::EntryPointName, record.entry_point.as_bytes());
    object.raw_member("level", |out| out.extend_from_slice(b"\"info\""));
    object.raw_member("msg", |out| out.extend_from_slice(b"\"\""));
    object.headers("origin_", record.origin.and_then(|origin| origin.headers));
    object.headers("request_", Some(record.request_headers));
    let end = record.start.checked_add(record.duration).unwrap_or(record.start);
    object.raw_member("time", |out| in_quotes(out, |out| clock.rfc3339_local(end, out)));
    out.push(b'}');
}

/// An object being written, member by member in the order of the keys.
struct Object<'a> {
    policy: &'a Policy,
    out: &'a mut Vec<u8>,
}

impl Object<'_> {
    fn client(&mut self, record: &RequestRecord<'_>) {
        self.value(Field::ClientAddr, |out| in_quotes(out, |out| super::display(record.client, out)));
        match record.forwarded_for {
            Some(forwarded_for) => self.text(Field::ClientHost, forwarded_for.as_bytes()),
            None => self.value(Field::ClientHost, |out| {
                in_quotes(out, |out| super::display(record.client.ip(), out))
            }),
        }
        self.value(Field::ClientPort, |out| {
            in_quotes(out, |out| text::digits(record.client.port().into(), 1, out))
        });
        self.text(Field::ClientUsername, record.user.unwrap_or("-").as_bytes());
    }

    #[allow(clippy::cast_precision_loss)]
    fn sizes_and_times(&mut self, record: &RequestRecord<'_>) {
        // Traefik starts the origin's fields at zero, so they are there also when no service was asked.
        let (origin_bytes, origin_duration, origin_status) = record
            .origin
            .map_or((0, Duration::ZERO, 0), |origin| (origin.bytes, origin.duration, origin.status));
        self.number(Field::DownstreamContentSize, record.response_bytes);
        self.number(Field::DownstreamStatus, record.status.into());
        self.nanos(Field::Duration, record.duration);
        if origin_bytes != record.response_bytes && record.response_bytes != 0 {
            let ratio = origin_bytes as f64 / record.response_bytes as f64;
            self.value(Field::GzipRatio, |out| super::display(ratio, out));
        }
        self.number(Field::OriginContentSize, origin_bytes);
        self.nanos(Field::OriginDuration, origin_duration);
        self.number(Field::OriginStatus, origin_status.into());
        self.nanos(Field::Overhead, record.duration.saturating_sub(origin_duration));
    }

    fn request(&mut self, record: &RequestRecord<'_>, count: u64) {
        let (host, port) = split_authority(record.authority);
        let named = !record.authority.is_empty();
        if named {
            self.text(Field::RequestAddr, record.authority.as_bytes());
        }
        self.number(Field::RequestContentSize, record.request_bytes);
        self.number(Field::RequestCount, count);
        if named {
            self.text(Field::RequestHost, host.as_bytes());
        }
        self.text(Field::RequestId, record.request_id.as_bytes());
        self.text(Field::RequestMethod, record.method.as_bytes());
        let query = self.policy.query(record);
        self.value(Field::RequestPath, |out| in_quotes(out, |out| target(record.path, query, out)));
        if named {
            self.text(Field::RequestPort, port.as_bytes());
        }
        self.text(Field::RequestProtocol, super::protocol(record.version).as_bytes());
        self.text(Field::RequestScheme, if record.tls.is_some() { b"https" } else { b"http" });
        self.number(Field::RetryAttempts, record.retry_attempts.into());
    }

    fn route(&mut self, record: &RequestRecord<'_>) {
        if let Some(router) = record.router {
            self.text(Field::RouterName, router.as_bytes());
        }
        if let Some(origin) = &record.origin {
            self.text(Field::ServiceAddr, origin.addr.as_bytes());
            self.text(Field::ServiceName, record.service.unwrap_or_default().as_bytes());
            self.text(Field::ServiceUrl, origin.url.as_bytes());
        }
    }

    fn start(&mut self, record: &RequestRecord<'_>, clock: &Clock) {
        let start = record.start;
        self.value(Field::StartLocal, |out| in_quotes(out, |out| clock.rfc3339_local_nanos(start, out)));
        self.value(Field::StartUtc, |out| in_quotes(out, |out| time::rfc3339_utc_nanos(start, out)));
    }

    fn tls(&mut self, record: &RequestRecord<'_>) {
        let Some(tls) = &record.tls else { return };
        self.text(Field::TlsCipher, tls_names::cipher(tls.cipher).as_bytes());
        if let Some(subject) = tls.client_subject {
            self.text(Field::TlsClientSubject, subject.as_bytes());
        }
        self.text(Field::TlsVersion, tls_names::version(tls.version).as_bytes());
    }

    /// The headers that are kept, sorted by name; values of one name joined by commas.
    fn headers(&mut self, prefix: &str, headers: Option<&HeaderMap>) {
        let Some(headers) = headers.filter(|_| !self.policy.drops_all_headers()) else { return };
        let kept = headers.keys().filter(|name| self.policy.header(name) != Mode::Drop);
        let mut names: SmallVec<[&HeaderName; 32]> = kept.collect();
        names.sort_unstable_by(|a, b| canonical(a).cmp(canonical(b)));
        for name in names {
            let redacted = self.policy.header(name) == Mode::Redact;
            self.key(|out| {
                out.extend_from_slice(prefix.as_bytes());
                out.extend(canonical(name));
            });
            in_quotes(self.out, |out| {
                if redacted {
                    out.extend_from_slice(REDACTED);
                    return;
                }
                for (index, value) in headers.get_all(name).iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    let (visible, cut) = values::visible(name, value);
                    text::json_part(visible, out);
                    out.extend_from_slice(if cut { REDACTED } else { b"" });
                }
            });
        }
    }

    fn text(&mut self, field: Field, value: &[u8]) {
        self.value(field, |out| text::json(value, out));
    }

    fn number(&mut self, field: Field, value: u64) {
        self.value(field, |out| text::digits(value, 1, out));
    }

    fn nanos(&mut self, field: Field, value: Duration) {
        self.number(field, u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A member that the configuration may drop or redact.
    fn value(&mut self, field: Field, write: impl FnOnce(&mut Vec<u8>)) {
        match self.policy.field(field) {
            Mode::Drop => {}
            Mode::Keep => self.raw_member(field.key(), write),
            Mode::Redact => self.raw_member(field.key(), |out| out.extend_from_slice(b"\"REDACTED\"")),
        }
    }

    /// A member whose key needs no escaping.
    fn raw_member(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(|out| out.extend_from_slice(key.as_bytes()));
        write(self.out);
    }

    fn key(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        in_quotes(self.out, write);
        self.out.push(b':');
    }
}

fn in_quotes(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

fn target(path: &str, query: Option<&str>, out: &mut Vec<u8>) {
    text::json_part(path.as_bytes(), out);
    if let Some(query) = query {
        out.push(b'?');
        text::json_part(query.as_bytes(), out);
    }
}

/// Host and port as Go's `net.SplitHostPort` splits them; without a port the whole text and `-`.
fn split_authority(authority: &str) -> (&str, &str) {
    let split = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => authority.split_once(':').filter(|(_, port)| !port.contains(':')),
    };
    split.unwrap_or((authority, "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_split_as_go_does() {
        assert_eq!(split_authority("example.com:8443"), ("example.com", "8443"));
        assert_eq!(split_authority("example.com"), ("example.com", "-"));
        assert_eq!(split_authority("[::1]:80"), ("::1", "80"));
        assert_eq!(split_authority("[::1]"), ("[::1]", "-"));
        assert_eq!(split_authority("::1"), ("::1", "-"));
    }
}
