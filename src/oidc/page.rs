//! Our own pages and their JSON forms: plain, small, without anything from elsewhere.

use std::sync::LazyLock;

use base64::Engine;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderValue, StatusCode};

use crate::net::{LocalResponse, html};

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1.5rem;color:#1a1a1a;background:#fff}\
h1{font-size:1.5rem;line-height:1.25}\
a{color:#0b57d0}\
.id{font-size:.875rem;color:#555}\
code{font-family:ui-monospace,monospace}\
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#121212}a{color:#8ab4f8}.id{color:#b0b0b0}}";

/// Nothing may run or load but the style above, and nobody may frame the page.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    let hash = base64::engine::general_purpose::STANDARD.encode(hash);
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy)
        .unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
});

/// A page. All texts are escaped; `request_id` lets the reader name the incident.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// Status.
    pub status: StatusCode,
    /// Title and heading.
    pub title: &'a str,
    /// What happened and what to do, one paragraph each.
    pub paragraphs: &'a [&'a str],
    /// A link: text and target, which is a path of ours.
    pub link: Option<(&'a str, &'a str)>,
    /// Correlation id.
    pub request_id: &'a str,
}

impl Page<'_> {
    /// The answer.
    pub fn response(&self) -> LocalResponse {
        let mut main = format!("<h1>{}</h1>", escape(self.title));
        for paragraph in self.paragraphs.iter().filter(|p| !p.is_empty()) {
            main.push_str(&format!("<p>{}</p>", escape(paragraph)));
        }
        if let Some((text, target)) = self.link {
            main.push_str(&format!("<p><a href=\"{}\">{}</a></p>", escape(target), escape(text)));
        }
        if !self.request_id.is_empty() {
            main.push_str(&format!(
                "<p class=\"id\">Reference: <code>{}</code></p>",
                escape(self.request_id)
            ));
        }
        let html = format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" content=\"noindex\">\
             <title>{}</title><style>{STYLE}</style></head><body><main>{main}</main></body></html>\n",
            escape(self.title)
        );
        guarded(LocalResponse::new(self.status).with_body("text/html; charset=utf-8", html))
    }
}

/// The JSON form of an error.
pub fn json(status: StatusCode, error: &str, description: &str) -> LocalResponse {
    json_with(status, error, description, &[])
}

/// The JSON form of an error, with further members.
pub fn json_with(status: StatusCode, error: &str, description: &str, more: &[(&str, &str)]) -> LocalResponse {
    let mut body = serde_json::json!({ "error": error, "error_description": description, "status_code": status.as_u16() });
    if let Some(members) = body.as_object_mut() {
        members.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
    }
    guarded(LocalResponse::new(status).with_body("application/json", body.to_string()))
}

/// A redirect that nobody caches and that tells nobody where it came from.
pub fn redirect(location: &str) -> Option<LocalResponse> {
    let location = HeaderValue::try_from(location).ok()?;
    let response = LocalResponse::redirect(StatusCode::FOUND, location).no_store();
    Some(response.with_header(REFERRER_POLICY, HeaderValue::from_static("no-referrer")))
}

fn guarded(response: LocalResponse) -> LocalResponse {
    response
        .no_store()
        .with_header(CONTENT_SECURITY_POLICY, POLICY.clone())
        .with_header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .with_header(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"))
        .with_header(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
}

/// Text for HTML, also inside double quotes, in one line.
pub fn escape(text: &str) -> String {
    html::escape(&text.replace(char::is_control, "\u{fffd}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_escaped_and_guarded() {
        let page = Page {
            status: StatusCode::BAD_REQUEST,
            title: "<script>",
            paragraphs: &["\"><img src=x onerror=alert(1)>"],
            link: Some(("again", "/a?b=\"c&d")),
            request_id: "id-1",
        };
        let response = page.response();
        let html = String::from_utf8(response.body.to_vec()).unwrap();
        assert!(!html.contains("<script") && !html.contains("<img"));
        assert!(
            html.contains("href=\"/a?b=&quot;c&amp;d\"")
                && html.contains("id-1")
                && html.contains("lang=\"en\"")
        );
        assert_eq!(response.headers["cache-control"], "no-store");
        let policy = response.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    }

    #[test]
    fn json_form() {
        let response = json(StatusCode::UNAUTHORIZED, "unauthorized", "a \"quoted\" text");
        let value: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(value["status_code"], 401);
        assert_eq!(value["error_description"], "a \"quoted\" text");
    }
}
