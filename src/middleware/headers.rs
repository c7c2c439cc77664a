//! `headers`: request and response headers, CORS, security headers.
//!
//! As in Traefik, CORS and custom headers are outside, security headers inside: a pre-flight is answered before
//! hosts are checked, and custom response headers win over security headers.

use pingora::http::ResponseHeader;

use super::{Exchange, Flow, ResponseFacts, config};
use crate::config::Faults;

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
    pub fn new(config: &config::Headers) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let cors = faults.gather(Cors::new(config));
        let request = faults.gather(RequestEdits::new(&config.custom_request_headers));
        let response = faults.gather(ResponseEdits::new(&config.custom_response_headers));
        let security = faults.gather(Security::new(config));
        let (Some(cors), Some(request), Some(response), Some(security)) = (cors, request, response, security)
        else {
            return Err(faults);
        };
        let headers = Self { cors, request, response, security };
        let idle = headers.cors.is_none() && headers.request.is_empty() && headers.response.is_empty();
        if idle && !Security::is_configured(config) {
            return Err("sets nothing".to_owned().into());
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
