//! HTTP towards one OpenID provider: bounded in size and time, no redirects, its own trust.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Client, ClientBuilder, Identity, Request};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout, timeout_at};

use super::reach::{Reach, ReachError};
use super::settings::ProviderSettings;
use crate::tls;

mod egress;

pub use egress::Egress;

/// Longest answer of a provider, in bytes.
pub const MAX_ANSWER: usize = 1024 * 1024;

/// Longest call of a provider, from the look-up of its name to the last byte of the answer.
pub const MAX_TIME: Duration = Duration::from_secs(10);

const CONNECT_TIME: Duration = Duration::from_secs(2);

/// Longest look-up of a name, out of the time of its call. Shorter than [`MAX_TIME`]: who waits no longer than that himself is
/// to hear that nothing was sent.
const RESOLVE_TIME: Duration = Duration::from_secs(8);

/// The key of what proves us to the provider.
const CLIENT_CERTIFICATE: &str = "clientConfig.tls.cert";

/// A client of one provider.
#[derive(Debug, Clone)]
pub struct Fetch {
    client: Client,
    reach: Reach,
    /// The longest call.
    time: Duration,
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, at most [`MAX_ANSWER`].
    pub body: Vec<u8>,
}

impl Answer {
    /// The media type, lower case, without parameters.
    pub fn media_type(&self) -> String {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

/// Why a call has no answer. None of these holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The address must not be called.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// No connection: nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// No answer in time.
    #[error("no answer within {0} s")]
    Timeout(u64),
    /// The connection broke after the request may have been sent.
    #[error("the connection failed: {0}")]
    Broken(String),
    /// The answer is longer than [`MAX_ANSWER`].
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    /// The answer is compressed, which nobody asked for. It is not unpacked: a small answer could fill the memory.
    #[error("the answer is encoded as {0}, but only identity was asked for")]
    Encoded(String),
    /// The request itself could not be made.
    #[error("the request cannot be made: {0}")]
    Request(String),
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file with certificate authorities cannot be read.
    #[error("caCertPath {path}: {source}")]
    Unreadable {
        /// Path.
        path: String,
        /// Reason.
        source: std::io::Error,
    },
    /// It holds no certificate, or a damaged one.
    #[error("{0}: no usable certificate in it")]
    Unusable(&'static str),
    /// What is to be the way out is none.
    #[error("{0}: must be an http or https URL")]
    Proxy(&'static str),
    /// The TLS library refuses.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

impl Fetch {
    /// A client with the trust of `settings`; `ca_file` is what [`read_authorities`] gave. The proxies that the environment
    /// names are used as by Go programs.
    ///
    /// # Errors
    /// [`TrustError`]: an unreadable or empty certificate authority; there is no fallback.
    pub fn new(settings: &ProviderSettings, ca_file: Option<&[u8]>) -> Result<Self, TrustError> {
        Self::among(settings, ca_file, &|name| std::env::var(name).ok())
    }

    /// As [`Fetch::new`], in this environment.
    fn among(
        settings: &ProviderSettings,
        ca_file: Option<&[u8]>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, TrustError> {
        let egress = Egress::of(settings, environment)?;
        let reach = match &egress {
            None => Reach::new(settings.allow_private),
            Some(egress) => Reach::behind_proxy(settings.allow_private, egress),
        };
        let time = settings.timeout.unwrap_or(MAX_TIME).min(MAX_TIME);
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIME.min(time))
            .no_proxy()
            .dns_resolver(reach.clone())
            // Whatever features a dependency switches on: what is bounded is what was sent.
            .no_gzip()
            .no_deflate()
            .no_brotli()
            .no_zstd()
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        if let Some(egress) = &egress {
            builder = builder.proxy(egress.to_proxy()?);
        }
        let authorities = authorities(settings, ca_file)?;
        builder = match authorities.is_empty() || settings.insecure_skip_verify {
            false => builder.tls_backend_preconfigured(own_trust(settings, authorities)?),
            true => usual_trust(settings, builder)?,
        };
        let client = builder.build().map_err(|error| TrustError::Tls(chain(&error)))?;
        Ok(Self { client, reach, time })
    }

    /// The addresses that this client may call.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// A GET that asks for JSON.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get_json(&self, url: &url::Url) -> Result<Answer, FetchError> {
        let request = self.client.get(url.clone()).header(http::header::ACCEPT, "application/json").build();
        self.send(request.map_err(|error| FetchError::Request(chain(&error)))?).await
    }

    /// Any request made elsewhere.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn call(&self, request: http::Request<Vec<u8>>) -> Result<Answer, FetchError> {
        self.send(Request::try_from(request).map_err(|error| FetchError::Request(chain(&error)))?).await
    }

    async fn send(&self, mut request: Request) -> Result<Answer, FetchError> {
        // Without it any coding would be acceptable (RFC 9110 section 12.5.3).
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let url = request.url().clone();
        within(self.time, self.reach.check(&url), self.exchange(request)).await
    }

    async fn exchange(&self, request: Request) -> Result<Answer, FetchError> {
        let classify = |error: reqwest::Error| classify(&error, self.time);
        let mut response = self.client.execute(request).await.map_err(classify)?;
        if let Some(coding) = coding(response.headers()) {
            return Err(FetchError::Encoded(coding));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(classify)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
    }
}

/// Has the host's addresses judged and then the request answered, all in `time`.
async fn within<T>(
    time: Duration,
    resolving: impl Future<Output = Result<(), ReachError>>,
    exchange: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    let until = Instant::now() + time;
    let resolved = timeout(RESOLVE_TIME.min(time), resolving).await;
    resolved.map_err(|_| FetchError::Connect("the name does not resolve in time".to_owned()))??;
    timeout_at(until, exchange).await.unwrap_or(Err(FetchError::Timeout(time.as_secs())))
}

/// What an answer is encoded as, if that is not `identity`; at most 32 characters of it, for the log.
fn coding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let codings = values.map(|value| value.to_str().unwrap_or("?").trim());
    let coding = codings
        .filter(|coding| !coding.is_empty())
        .find(|coding| !coding.eq_ignore_ascii_case("identity"))?;
    Some(coding.chars().take(32).collect())
}

fn classify(error: &reqwest::Error, time: Duration) -> FetchError {
    if error.is_connect() {
        FetchError::Connect(chain(error))
    } else if error.is_timeout() {
        FetchError::Timeout(time.as_secs())
    } else if error.is_builder() {
        FetchError::Request(chain(error))
    } else {
        FetchError::Broken(chain(error))
    }
}

/// The innermost reason: the outer ones repeat the URL.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The content of `caCertPath`.
///
/// # Errors
/// [`TrustError::Unreadable`].
pub fn read_authorities(settings: &ProviderSettings) -> Result<Option<Vec<u8>>, TrustError> {
    let Some(path) = &settings.ca_path else { return Ok(None) };
    let unreadable = |source| TrustError::Unreadable { path: path.display().to_string(), source };
    std::fs::read(path).map(Some).map_err(unreadable)
}

/// TLS that trusts what the system trusts, or everything.
fn usual_trust(settings: &ProviderSettings, mut builder: ClientBuilder) -> Result<ClientBuilder, TrustError> {
    if let Some(pem) = &settings.client_certificate {
        let identity = Identity::from_pem(pem.expose_secret().as_bytes());
        builder = builder.identity(identity.map_err(|_| TrustError::Unusable(CLIENT_CERTIFICATE))?);
    }
    Ok(builder.tls_danger_accept_invalid_certs(settings.insecure_skip_verify))
}

/// TLS that trusts these authorities and nobody else; servers may present one of them as their own.
fn own_trust(
    settings: &ProviderSettings,
    authorities: Vec<CertificateDer<'static>>,
) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let failed = |error: &dyn std::error::Error| TrustError::Tls(chain(error));
    let verifier = tls::server_verifier(authorities, &provider).map_err(|error| failed(&error))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &settings.client_certificate {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let pem = pem.expose_secret().as_bytes();
            let unusable = |_| TrustError::Unusable(CLIENT_CERTIFICATE);
            let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(unusable)?;
            let key = PrivateKeyDer::from_pem_slice(pem).map_err(unusable)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| failed(&error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn authorities(
    settings: &ProviderSettings,
    ca_file: Option<&[u8]>,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
    let mut add = |name: &'static str, pem: &[u8]| {
        let unusable = || TrustError::Unusable(name);
        let bundle: Vec<_> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| unusable())?;
        if bundle.is_empty() {
            return Err(unusable());
        }
        for certificate in &bundle {
            rustls::RootCertStore::empty().add(certificate.clone()).map_err(|_| unusable())?;
        }
        certificates.extend(bundle);
        Ok(())
    };
    for pem in &settings.ca_pem {
        add("caCertPEM", pem.as_bytes())?;
    }
    if let Some(pem) = ca_file {
        add("caCertPath", pem)?;
    }
    Ok(certificates)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
