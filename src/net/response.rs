//! An answer that Portcullis gives by itself, without asking a service.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};

/// A complete response made by Portcullis: a redirect, an error, a page.
///
/// `Content-Length` is added when it is written; a HEAD request gets the header without the body.
#[derive(Debug, Clone)]
pub struct LocalResponse {
    /// Status line.
    pub status: StatusCode,
    /// Every header but the framing ones.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// What is to be done if it cannot be written, because nobody is there to read it.
    pub undo: Option<Undo>,
}

/// Takes back what an answer would have told.
#[derive(Clone)]
pub struct Undo(Arc<dyn Fn() + Send + Sync>);

impl Undo {
    /// By `action`, which must not block.
    pub fn new(action: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(action))
    }

    /// Does it.
    pub fn run(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Undo")
    }
}

impl LocalResponse {
    /// An answer without headers or body.
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), undo: None }
    }

    /// Plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::new(status).with_body("text/plain; charset=utf-8", body)
    }

    /// A redirect to `location`, which must already be a valid header value.
    pub fn redirect(status: StatusCode, location: HeaderValue) -> Self {
        Self::new(status).with_header(LOCATION, location)
    }

    /// Adds a header, keeping those of the same name.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets the body and its media type.
    pub fn with_body(mut self, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        self.body = body.into();
        self
    }

    /// Forbids every cache to keep the answer (RFC 9111, section 5.2.2.5).
    pub fn no_store(mut self) -> Self {
        self.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self
    }
}
