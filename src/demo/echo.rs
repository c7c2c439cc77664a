//! The service behind the edge: it shows each request as it arrived, as a page or as JSON.

use std::fmt::Write;
use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::html::page;
use crate::net::html::escape;

/// More of a request body than this is not read.
const MOST_BODY: usize = 1024 * 1024;

/// Headers in which the edge tells the service who is there.
const IDENTITY: [&str; 6] = [
    "x-forwarded-user",
    "x-user-groups",
    "x-user-roles",
    "x-auth-request-user",
    "x-auth-request-redirect",
    "x-auth-request-token",
];

/// A running echo service. Dropping it stops it.
pub struct Echo {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Echo {
    /// Serves on `listener`, on the current Tokio runtime. `logout` is the path that its sign-out button posts to.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(listener: TcpListener, logout: &'static str) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let service = Router::new().fallback(move |request| show(request, logout));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, service).await {
                tracing::error!(%error, "the echo service stopped");
            }
        });
        Ok(Self { address, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One request, as the service saw it.
struct Seen {
    method: String,
    target: String,
    version: String,
    headers: Vec<(String, String)>,
    body_bytes: usize,
}

async fn show(request: Request, logout: &'static str) -> Response {
    let (parts, body) = request.into_parts();
    let body_bytes = match length(body).await {
        Some(length) => length,
        None => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    };
    let seen = Seen {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        version: format!("{:?}", parts.version),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body_bytes,
    };
    if parts.uri.path() == "/json" || wants_json(&parts.headers) {
        return Json(seen.json()).into_response();
    }
    seen.html(logout)
}

async fn length(body: Body) -> Option<usize> {
    Some(axum::body::to_bytes(body, MOST_BODY).await.ok()?.len())
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.trim_start().starts_with("application/json"))
}

fn is_identity(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| IDENTITY.contains(&name.as_str()))
}

impl Seen {
    fn identity(&self) -> impl Iterator<Item = &(String, String)> {
        self.headers.iter().filter(|(name, _)| is_identity(name))
    }

    fn json(&self) -> Value {
        let identity: serde_json::Map<String, Value> =
            self.identity().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "method": self.method,
            "target": self.target,
            "version": self.version,
            "identity": identity,
            "headers": self.headers,
            "body_bytes": self.body_bytes,
        })
    }

    fn html(&self, logout: &str) -> Response {
        let user = self.identity().find(|(name, _)| name == "x-forwarded-user");
        let title = match user {
            Some((_, user)) => format!("Hello, {user}"),
            None => "Hello, stranger".to_owned(),
        };
        let mut body = match user {
            Some(_) => format!(
                "<p>You logged in at the edge; this service never saw a password, a token or the session's cookie. \
                 It only got the marked headers. Reload in half a minute: the access token is over then, the \
                 console shows one refresh, and you stay logged in.</p>\n\
                 <form method=\"post\" action=\"{}\"><button type=\"submit\">Sign out</button></form>\n",
                escape(logout)
            ),
            None => "<p>This path is open to everybody, so the edge added no identity. \
                     <a href=\"/\">Log in</a></p>\n"
                .to_owned(),
        };
        if user.is_some() {
            body.push_str("<h2>What the edge says about you</h2>\n");
            table(&mut body, self.identity());
        }
        let _ = writeln!(
            body,
            "<h2>The request that the service received</h2>\n<p><code>{} {} {}</code></p>",
            escape(&self.method),
            escape(&self.target),
            escape(&self.version),
        );
        table(&mut body, self.headers.iter().filter(|(name, _)| !is_identity(name)));
        let _ = write!(
            body,
            "<p class=\"quiet\">Body: {} bytes. The same as <a href=\"/json\">JSON</a>. \
             <a href=\"/public/\">A page without login</a>.</p>",
            self.body_bytes
        );
        page(StatusCode::OK, &title, &body)
    }
}

/// A table of headers; those of the identity are marked.
fn table<'a>(body: &mut String, headers: impl Iterator<Item = &'a (String, String)>) {
    let head = "<thead><tr><th scope=\"col\">Header</th><th scope=\"col\">Value</th></tr></thead>";
    let _ = writeln!(body, "<table>{head}<tbody>");
    for (name, value) in headers {
        let class = if is_identity(name) { " class=\"identity\"" } else { "" };
        let _ = writeln!(
            body,
            "<tr{class}><th scope=\"row\"><code>{}</code></th><td><code>{}</code></td></tr>",
            escape(name),
            escape(value)
        );
    }
    body.push_str("</tbody></table>\n");
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    async fn ask(path: &str, headers: &[(&str, &str)]) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let echo = Echo::start(listener, "/out").unwrap();
        let mut request = reqwest::Client::new().get(format!("http://{}{path}", echo.address()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
    }

    #[tokio::test]
    async fn json_has_target_headers_and_identity() {
        let text = ask("/json?a=%2F", &[("X-Forwarded-User", "alice"), ("x-other", "1")]).await;
        let seen: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(seen["target"], "/json?a=%2F");
        assert_eq!(seen["identity"], json!({ "x-forwarded-user": "alice" }));
        assert!(seen["headers"].as_array().unwrap().contains(&json!(["x-other", "1"])));
    }

    #[tokio::test]
    async fn the_page_escapes_what_it_shows() {
        let text = ask("/", &[("X-Forwarded-User", "<b>alice</b>")]).await;
        assert!(text.contains("Hello, &lt;b&gt;alice&lt;/b&gt;"), "{text}");
        assert!(text.contains("<tr class=\"identity\">"));
    }
}
