//! The few pages that the demo shows: plain HTML, no script, readable by every browser and screen reader.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::net::html::escape;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2330; --paper: #f6f7f9; --card: #fff; --line: #d5dae2; --accent: #1d4fc4; --mark: #fff3c4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --paper: #12161d; --card: #1b212b; --line: #39424f; --accent: #8fb4ff; --mark: #3d3512; }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--paper); color: var(--ink); font: 1.0625rem/1.55 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 1.5rem 2rem 2rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1.125rem; margin: 1.75rem 0 .5rem; }
a { color: var(--accent); }
button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; cursor: pointer; }
button:hover { border-color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.choice { display: block; width: 100%; text-align: left; margin: .625rem 0; }
.choice strong { display: block; }
.quiet { color: color-mix(in srgb, var(--ink) 72%, transparent); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 600; width: 15rem; }
tr.identity { background: var(--mark); }
code { font-family: ui-monospace, monospace; font-size: .9375em; overflow-wrap: anywhere; }
";

/// One page. `title` is text and is escaped here; `body` is HTML.
pub(super) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escape(title);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\n\
         <body><main>\n<h1>{title}</h1>\n{body}\n</main></body>\n</html>\n"
    );
    // No form-action: the answer to the form redirects to another origin, which that directive would block.
    // connect-src, so that a visitor can try `fetch` in the browser's console.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; \
                  frame-ancestors 'none'";
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
