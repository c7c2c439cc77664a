//! Cross-origin resource sharing (the Fetch standard), as Traefik does it.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::config::{Fault, Faults};
use crate::middleware::{config, set_header};
use crate::net::{GoRegex, LocalResponse};

/// The `accessControl*` options and `addVaryHeader`.
#[derive(Debug)]
pub(super) struct Cors {
    credentials: bool,
    allow_headers: Option<List>,
    allow_methods: Option<List>,
    expose_headers: Option<List>,
    origins: Box<[HeaderValue]>,
    origin_regexes: Box<[GoRegex]>,
    max_age: Option<HeaderValue>,
    vary: bool,
}

/// A list as it is sent, joined with commas.
#[derive(Debug)]
struct List {
    joined: HeaderValue,
    wildcard: bool,
}

impl Cors {
    /// `None` when no option is set.
    pub(super) fn new(config: &config::Headers) -> Result<Option<Self>, Faults> {
        let mut faults = Faults::default();
        let mut list = |items: &[String], option: &str| faults.gather(list(items, option)).flatten();
        let allow_headers = list(&config.access_control_allow_headers, "accessControlAllowHeaders");
        let allow_methods = list(&config.access_control_allow_methods, "accessControlAllowMethods");
        let expose_headers = list(&config.access_control_expose_headers, "accessControlExposeHeaders");
        let origins = config.access_control_allow_origin_list.iter().enumerate();
        let origins = origins.map(|(at, text)| value(text, &format!("accessControlAllowOriginList[{at}]")));
        let origins = origins.filter_map(|origin| faults.gather(origin)).collect();
        let regexes = config.access_control_allow_origin_list_regex.iter().enumerate();
        let regexes = regexes.map(|(at, text)| {
            let key = format!("accessControlAllowOriginListRegex[{at}]");
            GoRegex::new(text).map_err(|error| Fault::new(key, error.to_string()))
        });
        let origin_regexes = regexes.filter_map(|regex| faults.gather(regex)).collect();
        let cors = faults.or(Self {
            credentials: config.access_control_allow_credentials,
            allow_headers,
            allow_methods,
            expose_headers,
            origins,
            origin_regexes,
            max_age: config.access_control_max_age.map(HeaderValue::from),
            vary: config.add_vary_header,
        })?;
        let set = cors.credentials
            || cors.vary
            || cors.allow_headers.is_some()
            || cors.allow_methods.is_some()
            || cors.expose_headers.is_some()
            || !cors.origins.is_empty()
            || !cors.origin_regexes.is_empty()
            || cors.max_age.is_some();
        Ok(set.then_some(cors))
    }

    /// The answer to a pre-flight, which never reaches the service: also not when its origin is not allowed, which
    /// the browser then sees by what is missing. `None` when the request is none.
    pub(super) fn preflight(&self, request: &RequestHeader) -> Option<LocalResponse> {
        let requested = sent(request, &ACCESS_CONTROL_REQUEST_METHOD)?;
        let origin = sent(request, &ORIGIN).filter(|_| request.method == Method::OPTIONS)?;
        let mut answer = LocalResponse::new(StatusCode::OK);
        let mut set = |name: HeaderName, value: Option<HeaderValue>| {
            if let Some(value) = value {
                answer.headers.insert(name, value);
            }
        };
        let echo = |list: &List, requested: Option<&HeaderValue>| {
            // `*` is taken literally in a request with credentials.
            if list.wildcard && self.credentials { requested.cloned() } else { Some(list.joined.clone()) }
        };
        let headers = sent(request, &ACCESS_CONTROL_REQUEST_HEADERS);
        set(ACCESS_CONTROL_ALLOW_CREDENTIALS, self.credentials_header());
        set(ACCESS_CONTROL_ALLOW_HEADERS, self.allow_headers.as_ref().and_then(|list| echo(list, headers)));
        set(
            ACCESS_CONTROL_ALLOW_METHODS,
            self.allow_methods.as_ref().and_then(|list| echo(list, Some(requested))),
        );
        set(ACCESS_CONTROL_ALLOW_ORIGIN, self.allowed_origin(origin));
        set(ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed());
        set(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        Some(answer)
    }

    /// Headers of every other answer.
    pub(super) fn apply(&self, request: &RequestHeader, header: &mut ResponseHeader) {
        let values = [
            (
                ACCESS_CONTROL_ALLOW_ORIGIN,
                sent(request, &ORIGIN).and_then(|origin| self.allowed_origin(origin)),
            ),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, self.credentials_header()),
            (ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed()),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                set_header!(header, insert_header, name, value);
            }
        }
        let origin_alone = header.headers.get_all(VARY).iter().eq(["Origin"].iter());
        if self.vary && !origin_alone {
            set_header!(header, append_header, VARY, HeaderValue::from_static("Origin"));
        }
    }

    fn allowed_origin(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        for allowed in &self.origins {
            if allowed == "*" {
                return Some(if self.credentials { origin.clone() } else { allowed.clone() });
            }
            if allowed == origin {
                return Some(origin.clone());
            }
        }
        self.origin_regexes.iter().any(|regex| regex.is_match(origin)).then(|| origin.clone())
    }

    fn credentials_header(&self) -> Option<HeaderValue> {
        self.credentials.then(|| HeaderValue::from_static("true"))
    }

    fn exposed(&self) -> Option<HeaderValue> {
        self.expose_headers
            .as_ref()
            .filter(|list| !(list.wildcard && self.credentials))
            .map(|list| list.joined.clone())
    }
}

/// The first value of a header, if it is not empty.
fn sent<'a>(request: &'a RequestHeader, name: &HeaderName) -> Option<&'a HeaderValue> {
    request.headers.get(name).filter(|value| !value.is_empty())
}

fn value(text: &str, option: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|_| Fault::new(option, format!("bad value {text:?}")))
}

fn list(items: &[String], option: &str) -> Result<Option<List>, Fault> {
    if items.is_empty() {
        return Ok(None);
    }
    let wildcard = items.iter().any(|item| item == "*");
    Ok(Some(List { joined: value(&items.join(","), option)?, wildcard }))
}
