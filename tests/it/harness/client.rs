//! Clients: a browser without script, and HTTP/2 on a connection of one's own. HTTP/1 on a bare socket is in
//! [`super::http1`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request};
use reqwest::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use tokio::net::TcpStream;
use url::Url;

use super::http1::{Connection, Message, Stream};

/// One request on a connection of its own: `GET` for `Host: host`, more header lines in `fields`.
pub async fn get(address: SocketAddr, host: &str, target: &str, fields: &[(&str, &str)]) -> Message {
    send(address, "GET", host, target, fields).await
}

/// As [`get`], with any method.
pub async fn send(
    address: SocketAddr,
    method: &str,
    host: &str,
    target: &str,
    fields: &[(&str, &str)],
) -> Message {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut connection = Connection::open(address).await;
    connection.send(text).await;
    connection.response().await
}

/// Cookies by host name; ports share them, as in real browsers.
#[derive(Default)]
struct Jar(BTreeMap<String, BTreeMap<String, String>>);

impl Jar {
    fn keep(&mut self, host: &str, line: &str) {
        let mut parts = line.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let gone = parts.any(|part| {
            let part = part.to_ascii_lowercase();
            part == "max-age=0" || part.starts_with("expires=thu, 01 jan 1970")
        });
        let cookies = self.0.entry(host.to_owned()).or_default();
        if gone {
            cookies.remove(name);
        } else {
            cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    fn line(&self, host: &str) -> Option<String> {
        let cookies = self.0.get(host).filter(|cookies| !cookies.is_empty())?;
        Some(cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; "))
    }
}

/// A page that a browser arrived at.
#[derive(Debug)]
pub struct Page {
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where a redirect points.
    pub fn location(&self) -> Url {
        let location = self.header("location").unwrap_or_else(|| panic!("no redirect: {self:?}"));
        self.url.join(location).unwrap()
    }

    /// `Set-Cookie` lines.
    pub fn set_cookies(&self) -> Vec<String> {
        let lines = self.headers.get_all(SET_COOKIE).iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }
}

/// A browser without script: keeps cookies, follows redirects, submits forms, and says with `Sec-Fetch-*` what it
/// is doing. Clones are tabs: they share the cookies.
#[derive(Clone)]
pub struct Browser {
    http: reqwest::Client,
    jar: Arc<Mutex<Jar>>,
}

impl Browser {
    pub fn new() -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .resolve("localhost", SocketAddr::from(([127, 0, 0, 1], 0)))
            .no_proxy()
            .build()
            .unwrap();
        Self { http, jar: Arc::default() }
    }

    /// Another browser that starts with the cookies of this one, as after a theft.
    pub fn stolen(&self) -> Self {
        let copy = Self::new();
        copy.jar.lock().unwrap().0 = self.jar.lock().unwrap().0.clone();
        copy
    }

    /// Another browser without cookies that shares the connections of this one, where there are to be many.
    pub fn stranger(&self) -> Self {
        Self { http: self.http.clone(), jar: Arc::default() }
    }

    /// Names and values of the cookies of a host.
    pub fn cookies(&self, host: &str) -> BTreeMap<String, String> {
        self.jar.lock().unwrap().0.get(host).cloned().unwrap_or_default()
    }

    /// The `Cookie` line for a host.
    pub fn cookie_line(&self, host: &str) -> String {
        self.jar.lock().unwrap().line(host).unwrap_or_default()
    }

    /// Puts a cookie in.
    pub fn set_cookie(&self, host: &str, name: &str, value: &str) {
        self.jar.lock().unwrap().keep(host, &format!("{name}={value}"));
    }

    /// Forgets all cookies of a host.
    pub fn forget(&self, host: &str) {
        self.jar.lock().unwrap().0.remove(host);
    }

    /// One request without following anything. `fields` come on top of the cookies.
    pub async fn request(
        &self,
        method: &str,
        url: &Url,
        fields: &[(&str, &str)],
        form: Option<&[(String, String)]>,
    ) -> Page {
        let host = url.host_str().unwrap();
        let mut request = self.http.request(method.parse().unwrap(), url.clone());
        if let Some(line) = self.jar.lock().unwrap().line(host) {
            request = request.header(COOKIE, line);
        }
        for (name, value) in fields {
            let name = if name.eq_ignore_ascii_case("host") { HOST.as_str() } else { name };
            request = request.header(name, *value);
        }
        if let Some(form) = form {
            request = request.form(form);
        }
        let sent = super::soon(url.as_str(), request.send()).await;
        let response = sent.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        self.keep_cookies(host, response.headers());
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = super::soon("a body", response.text()).await.unwrap_or_default();
        Page { url: url.clone(), status, headers, text }
    }

    fn keep_cookies(&self, host: &str, headers: &HeaderMap) {
        let mut jar = self.jar.lock().unwrap();
        for line in headers.get_all(SET_COOKIE) {
            jar.keep(host, line.to_str().unwrap());
        }
    }

    /// One step of a navigation, redirects not followed.
    pub async fn step(&self, url: &Url) -> Page {
        self.request("GET", url, &NAVIGATION, None).await
    }

    /// Navigates to `url` and follows redirects.
    pub async fn open(&self, url: &str) -> Page {
        let url = Url::parse(url).unwrap();
        let page = self.step(&url).await;
        self.follow(page).await
    }

    /// Follows redirects from a page.
    pub async fn follow(&self, mut page: Page) -> Page {
        for _ in 0..20 {
            if !page.headers.contains_key(LOCATION) {
                return page;
            }
            page = self.step(&page.location()).await;
        }
        panic!("no end of redirects, at {}", page.url);
    }

    /// Submits the form of a page with its hidden fields and `extra`, and follows.
    pub async fn submit(&self, page: &Page, extra: &[(&str, &str)]) -> Page {
        let page = self.submit_step(page, extra).await;
        self.follow(page).await
    }

    /// As [`Browser::submit`], but redirects are not followed.
    pub async fn submit_step(&self, page: &Page, extra: &[(&str, &str)]) -> Page {
        let action = attribute(tag(&page.text, "form"), "action");
        let url = page.url.join(&action).unwrap();
        let mut fields: Vec<(String, String)> = page
            .text
            .split("<input ")
            .skip(1)
            .map(|input| (attribute(input, "name"), attribute(input, "value")))
            .collect();
        fields.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.request("POST", &url, &NAVIGATION, Some(&fields)).await
    }

    /// Opens `url` and, if the provider asks, logs in as `user`.
    pub async fn log_in(&self, url: &str, user: &str) -> Page {
        let page = self.open(url).await;
        if page.text.contains("name=\"user\"") { self.submit(&page, &[("user", user)]).await } else { page }
    }

    /// What a script's `fetch` does: cookies, no navigation, redirects not followed.
    pub async fn fetch(&self, url: &str) -> Page {
        let fields =
            [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), ("sec-fetch-site", "same-origin")];
        self.request("GET", &Url::parse(url).unwrap(), &fields, None).await
    }
}

/// How a browser marks a navigation.
pub const NAVIGATION: [(&str, &str); 4] = [
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-site", "same-origin"),
    ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
];

fn tag<'a>(html: &'a str, name: &str) -> &'a str {
    let (_, rest) = html.split_once(&format!("<{name}")).unwrap_or_else(|| panic!("no {name} in {html}"));
    rest
}

fn attribute(tag: &str, name: &str) -> String {
    let tag = tag.split('>').next().unwrap_or_default();
    let value = tag.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split('"').next());
    let value = value.unwrap_or_default();
    value
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// An HTTP/2 connection.
pub struct Http2 {
    sender: h2::client::SendRequest<Bytes>,
}

/// An answer over HTTP/2.
#[derive(Debug)]
pub struct Http2Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Http2 {
    /// Without TLS, by prior knowledge.
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub async fn over<S: Stream + 'static>(stream: S) -> Self {
        let (sender, connection) = h2::client::handshake(stream).await.expect("no HTTP/2 handshake");
        tokio::spawn(connection);
        Self { sender }
    }

    /// Sends a request; the body goes in the given pieces, each a DATA frame. With `empty_end` the stream ends by an
    /// empty frame of its own.
    pub async fn send(&self, request: Request<()>, body: &[&[u8]], empty_end: bool) -> Http2Answer {
        let mut sender = self.sender.clone().ready().await.unwrap();
        let ends = body.is_empty() && !empty_end;
        let (response, mut stream) = sender.send_request(request, ends).unwrap();
        let last = body.len().checked_sub(1);
        for (index, piece) in body.iter().enumerate() {
            let end = Some(index) == last && !empty_end;
            stream.send_data(Bytes::copy_from_slice(piece), end).unwrap();
        }
        if empty_end {
            stream.send_data(Bytes::new(), true).unwrap();
        }
        let response = super::soon("an HTTP/2 response", response).await.expect("the stream failed");
        let (parts, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        while let Some(data) = super::soon("HTTP/2 data", incoming.data()).await {
            let data = data.expect("the stream was reset");
            incoming.flow_control().release_capacity(data.len()).unwrap();
            body.extend_from_slice(&data);
        }
        let trailers = incoming.trailers().await.unwrap_or_default();
        Http2Answer { status: parts.status.as_u16(), headers: parts.headers, body, trailers }
    }
}
