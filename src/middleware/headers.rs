//! `headers`: request and response headers, CORS, security headers.
//!
//! As in Traefik, CORS and custom headers are outside, security headers inside: a pre-flight is answered before
//! hosts are checked, and custom response headers win over security headers.

use pingora::http::ResponseHeader;

use super::{Exchange, Flow, ResponseFacts, config};

mod cors;
mod custom;
mod security;

use cors::Cors;
use custom::{RequestEdits, ResponseEdits};
use security::Security;

/// See the [module](self).
#[derive(Debug)]
pub struct Headers {
    cors: Option<Cors>,
    request: RequestEdits,
    response: ResponseEdits,
    security: Security,
}

impl Headers {
    /// # Errors
    /// Nothing is set, or a name, value or expression is not valid.
    pub fn new(config: &config::Headers) -> Result<Self, String> {
        let headers = Self {
            cors: Cors::new(config)?,
            request: RequestEdits::new(&config.custom_request_headers)?,
            response: ResponseEdits::new(&config.custom_response_headers)?,
            security: Security::new(config)?,
        };
        let idle = headers.cors.is_none() && headers.request.is_empty() && headers.response.is_empty();
        if idle && !Security::is_configured(config) {
            return Err("headers sets nothing".to_owned());
        }
        Ok(headers)
    }

    pub(super) fn on_request(&self, exchange: &mut Exchange<'_>) -> Flow {
        if let Some(answer) = self.cors.as_ref().and_then(|cors| cors.preflight(exchange.request)) {
            return Flow::Respond(answer);
        }
        self.request.apply(exchange);
        match self.security.refusal(exchange.request) {
            Some(refusal) => Flow::Respond(refusal),
            None => Flow::Continue,
        }
    }

    pub(super) fn on_response(&self, response: &ResponseFacts<'_>, header: &mut ResponseHeader) {
        self.security.apply(response, header);
        self.response.apply(header);
        if let Some(cors) = &self.cors {
            cors.apply(response.request, header);
        }
    }
}

#[cfg(test)]
mod tests;
