//! `customRequestHeaders` and `customResponseHeaders`.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;

use crate::config::{Fault, Faults};
use crate::middleware::{Exchange, set_header, target};

/// Sets a header, or removes it.
#[derive(Debug)]
struct Edit {
    name: HeaderName,
    /// The name as it is written on an HTTP/1 wire.
    wire: Bytes,
    /// `None` removes.
    value: Option<HeaderValue>,
}

/// `customRequestHeaders`
#[derive(Debug)]
pub(super) struct RequestEdits(Box<[Edit]>);

/// `customResponseHeaders`
#[derive(Debug)]
pub(super) struct ResponseEdits(Box<[Edit]>);

impl RequestEdits {
    pub(super) fn new(headers: &BTreeMap<String, String>) -> Result<Self, Faults> {
        edits(headers, "customRequestHeaders").map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn apply(&self, exchange: &mut Exchange<'_>) {
        for edit in &self.0 {
            match &edit.value {
                // Removing Host leaves the authority alone, as in Go, where it is no header.
                None if edit.name == HOST => {}
                None => {
                    exchange.request.remove_header(&edit.name);
                    exchange.state.omit_forwarded_for |= edit.name == "x-forwarded-for";
                }
                Some(value) if edit.name == HOST => target::set_authority(exchange.request, value),
                Some(value) => set_header!(exchange.request, insert_header, edit.wire.clone(), value.clone()),
            }
        }
    }
}

impl ResponseEdits {
    pub(super) fn new(headers: &BTreeMap<String, String>) -> Result<Self, Faults> {
        edits(headers, "customResponseHeaders").map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn apply(&self, header: &mut ResponseHeader) {
        for edit in &self.0 {
            match &edit.value {
                None => drop(header.remove_header(&edit.name)),
                Some(value) => set_header!(header, insert_header, edit.wire.clone(), value.clone()),
            }
        }
    }
}

fn edits(headers: &BTreeMap<String, String>, option: &str) -> Result<Box<[Edit]>, Faults> {
    let edit = |(name, text): (&String, &String)| {
        let fault = |message: String| Fault::new(format!("{option}.{name}"), message);
        let parsed: HeaderName = name.parse().map_err(|_| fault(format!("{name:?} is not a header name")))?;
        // Go ignores these two; here a value would let one message be read as two (RFC 9112, section 11.2).
        if [CONTENT_LENGTH, TRANSFER_ENCODING].contains(&parsed) {
            return Err(fault("frames the message and cannot be changed".to_owned()));
        }
        let value = match text.as_str() {
            "" => None,
            text => Some(HeaderValue::from_str(text).map_err(|_| fault("bad value".to_owned()))?),
        };
        Ok(Edit { wire: canonical(&parsed), name: parsed, value })
    };
    let mut faults = Faults::default();
    let edits = headers.iter().filter_map(|header| faults.gather(edit(header))).collect();
    faults.or(edits)
}

/// `x-request-id` as `X-Request-Id`, which is how Go writes it.
fn canonical(name: &HeaderName) -> Bytes {
    let mut start = true;
    let capitalised = |byte: &u8| {
        let byte = if start { byte.to_ascii_uppercase() } else { *byte };
        start = byte == b'-';
        byte
    };
    name.as_str().as_bytes().iter().map(capitalised).collect::<Vec<u8>>().into()
}
