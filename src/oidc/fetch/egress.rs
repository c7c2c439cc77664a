//! A proxy on the way to the provider: as configured, else as the environment says.

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{NoProxy, Proxy};
use secrecy::ExposeSecret;
use url::Url;

use super::TrustError;
use crate::oidc::settings::{EgressProxy, ProviderSettings};

/// Names under which the environment may have the proxy of https, and the hosts that are called directly.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const DIRECT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// What a proxy of the environment never gets, as in Go.
const HERE: &str = "localhost,127.0.0.0/8,::1";

/// A proxy, and what is called past it.
#[derive(Debug, Clone)]
pub struct Egress {
    proxy: EgressProxy,
    /// Whether it gets http, too.
    all: bool,
    /// Hosts that are called directly, as `NO_PROXY` lists them.
    direct: String,
}

impl Egress {
    /// All goes through a configured proxy; through that of the environment, https. None if there is neither.
    ///
    /// # Errors
    /// [`TrustError::Proxy`]: what the environment names is no proxy.
    pub(super) fn of(
        settings: &ProviderSettings,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, TrustError> {
        let first =
            |names: [&str; 2]| names.into_iter().find_map(environment).filter(|text| !text.trim().is_empty());
        let direct = first(DIRECT).unwrap_or_default();
        if let Some(proxy) = settings.proxy.clone() {
            return Ok(Some(Self { proxy, all: true, direct }));
        }
        let Some(text) = first(HTTPS) else { return Ok(None) };
        let text = if text.contains("://") { text } else { format!("http://{text}") };
        let proxy = EgressProxy::parse(&text).ok_or(TrustError::Proxy("HTTPS_PROXY of the environment"))?;
        Ok(Some(Self { proxy, all: false, direct: format!("{HERE},{direct}") }))
    }

    #[cfg(test)]
    pub(in crate::oidc) fn configured(url: &Url, direct: &str) -> Self {
        Self { proxy: EgressProxy { url: url.clone(), login: None }, all: true, direct: direct.to_owned() }
    }

    /// Its own address.
    pub(in crate::oidc) fn url(&self) -> &Url {
        &self.proxy.url
    }

    /// Tells what is called through it.
    pub(in crate::oidc) fn matcher(&self) -> Matcher {
        let (builder, url) = (Matcher::builder(), self.proxy.url.to_string());
        let builder = if self.all { builder.all(url) } else { builder.https(url) };
        builder.no(self.direct.clone()).build()
    }

    pub(super) fn to_proxy(&self) -> Result<Proxy, TrustError> {
        let url = self.proxy.url.as_str();
        let proxy = if self.all { Proxy::all(url) } else { Proxy::https(url) };
        let proxy = proxy.map_err(|_| TrustError::Proxy("clientConfig.proxy"))?;
        let proxy = proxy.no_proxy(NoProxy::from_string(&self.direct));
        Ok(match &self.proxy.login {
            Some((user, password)) => proxy.basic_auth(user, password.expose_secret()),
            None => proxy,
        })
    }
}
