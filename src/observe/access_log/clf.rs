//! Common log format, with Traefik's tail and without.

use http::HeaderName;
use http::header::{REFERER, USER_AGENT};

use super::policy::{Field, Mode, Policy};
use super::text;
use super::time::{self, Clock};
use super::values::{self, REDACTED};
use crate::observe::record::RequestRecord;

/// Traefik's `common` format, without the line feed:
/// `host - user [time] "method path protocol" status size "referer" "agent" count "router" "server" 12ms`
pub(super) fn common(
    record: &RequestRecord<'_>,
    count: u64,
    policy: &Policy,
    clock: &Clock,
    out: &mut Vec<u8>,
) {
    generic(record, policy, clock, out);
    out.push(b' ');
    number(policy.field(Field::RequestCount), count, out);
    out.push(b' ');
    quoted(policy.field(Field::RouterName), record.router.map(str::as_bytes), out);
    out.push(b' ');
    quoted(policy.field(Field::ServiceUrl), record.origin.map(|origin| origin.url.as_bytes()), out);
    out.push(b' ');
    // A duration that is not kept reads 0ms, as in Traefik.
    let kept = policy.field(Field::Duration) == Mode::Keep;
    let millis = if kept { record.duration.as_millis() } else { 0 };
    text::digits(u64::try_from(millis).unwrap_or(u64::MAX), 1, out);
    out.extend_from_slice(b"ms");
}

/// Traefik's `genericCLF` format, without the line feed: `common` up to the agent.
pub(super) fn generic(record: &RequestRecord<'_>, policy: &Policy, clock: &Clock, out: &mut Vec<u8>) {
    client_host(record, policy, out);
    out.extend_from_slice(b" - ");
    plain(policy.field(Field::ClientUsername), record.user, out);
    out.extend_from_slice(b" [");
    start(record, policy, clock, out);
    out.extend_from_slice(b"] \"");
    plain(policy.field(Field::RequestMethod), Some(record.method), out);
    out.push(b' ');
    target(record, policy, out);
    out.push(b' ');
    plain(policy.field(Field::RequestProtocol), Some(super::protocol(record.version)), out);
    out.extend_from_slice(b"\" ");
    number(policy.field(Field::DownstreamStatus), record.status.into(), out);
    out.push(b' ');
    number(policy.field(Field::DownstreamContentSize), record.response_bytes, out);
    for name in [REFERER, USER_AGENT] {
        out.push(b' ');
        request_header(record, policy, &name, out);
    }
}

fn client_host(record: &RequestRecord<'_>, policy: &Policy, out: &mut Vec<u8>) {
    match (policy.field(Field::ClientHost), record.forwarded_for) {
        (Mode::Keep, None) => super::display(record.client.ip(), out),
        (Mode::Keep, Some(forwarded_for)) => text::clf(forwarded_for.as_bytes(), out),
        (Mode::Redact, _) => out.extend_from_slice(REDACTED),
        (Mode::Drop, _) => out.push(b'-'),
    }
}

fn start(record: &RequestRecord<'_>, policy: &Policy, clock: &Clock, out: &mut Vec<u8>) {
    if policy.field(Field::StartUtc) == Mode::Keep {
        time::clf_utc(record.start, out);
    } else if policy.field(Field::StartLocal) == Mode::Keep {
        clock.clf_local(record.start, out);
    } else {
        out.push(b'-');
    }
}

fn target(record: &RequestRecord<'_>, policy: &Policy, out: &mut Vec<u8>) {
    let mode = policy.field(Field::RequestPath);
    plain(mode, Some(record.path), out);
    if let (Mode::Keep, Some(query)) = (mode, policy.query(record)) {
        out.push(b'?');
        text::clf(query.as_bytes(), out);
    }
}

fn request_header(record: &RequestRecord<'_>, policy: &Policy, name: &HeaderName, out: &mut Vec<u8>) {
    let mode = policy.header(name);
    let mut values = record.request_headers.get_all(name).iter().filter(|_| mode != Mode::Drop).peekable();
    match (values.peek().is_some_and(|first| !first.is_empty()), mode) {
        (true, Mode::Redact) => out.extend_from_slice(b"\"REDACTED\""),
        (true, _) => {
            out.push(b'"');
            for (index, value) in values.enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                let (visible, cut) = values::visible(name, value);
                text::clf(visible, out);
                out.extend_from_slice(if cut { REDACTED } else { b"" });
            }
            out.push(b'"');
        }
        (false, _) => out.extend_from_slice(b"\"-\""),
    }
}

/// Text without quotes; `-` when there is none.
fn plain(mode: Mode, value: Option<&str>, out: &mut Vec<u8>) {
    match (mode, value.filter(|value| !value.is_empty())) {
        (Mode::Drop, _) | (_, None) => out.push(b'-'),
        (Mode::Redact, _) => out.extend_from_slice(REDACTED),
        (Mode::Keep, Some(value)) => text::clf(value.as_bytes(), out),
    }
}

/// Text in quotes; `"-"` when there is none.
fn quoted(mode: Mode, value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(b'"');
    match (mode, value.filter(|value| !value.is_empty())) {
        (Mode::Drop, _) | (_, None) => out.push(b'-'),
        (Mode::Redact, _) => out.extend_from_slice(REDACTED),
        (Mode::Keep, Some(value)) => text::clf(value, out),
    }
    out.push(b'"');
}

fn number(mode: Mode, value: u64, out: &mut Vec<u8>) {
    match mode {
        Mode::Keep => text::digits(value, 1, out),
        Mode::Drop | Mode::Redact => out.push(b'-'),
    }
}
