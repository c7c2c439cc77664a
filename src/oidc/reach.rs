//! Which addresses an OpenID provider may send us to.
//!
//! Discovery names the URLs that we post secrets and tokens to, so a document from a hijacked or
//! careless provider must not turn us against the machines behind the proxy (server-side request
//! forgery). The provider's own kind of address is always fine: an in-cluster provider names
//! in-cluster endpoints.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use hyper_util::client::proxy::matcher::Matcher;
use url::{Host, Url};

use super::fetch::Egress;

/// Where clouds tell their machines secrets, beside 169.254.169.254: Azure and Alibaba.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200)];

/// The same by IPv6: AWS, Google and Oracle.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// Kinds of address, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kinds(u8);

impl Kinds {
    const GLOBAL: Self = Self(1);
    const PRIVATE: Self = Self(2);
    const LOOPBACK: Self = Self(4);
    const LINK_LOCAL: Self = Self(8);
    /// Unspecified, multicast, reserved: nobody's.
    const NOWHERE: Self = Self(16);

    fn of(address: IpAddr) -> Self {
        match embedded(address.to_canonical()) {
            IpAddr::V4(v4) => {
                let [a, b, ..] = v4.octets();
                match () {
                    () if METADATA_V4.contains(&v4) => Self::LINK_LOCAL,
                    () if v4.is_loopback() => Self::LOOPBACK,
                    () if v4.is_link_local() => Self::LINK_LOCAL,
                    // RFC 1918, the shared space of RFC 6598, the one for protocols (RFC 6890) and the one for
                    // benchmarks (RFC 2544).
                    () if v4.is_private() || a == 100 && (64..128).contains(&b) => Self::PRIVATE,
                    () if v4.octets().starts_with(&[192, 0, 0]) || a == 198 && b & 0xfe == 18 => {
                        Self::PRIVATE
                    }
                    () if a == 0 || a >= 224 => Self::NOWHERE,
                    () => Self::GLOBAL,
                }
            }
            IpAddr::V6(v6) => match () {
                () if METADATA_V6.contains(&v6) => Self::LINK_LOCAL,
                () if v6.is_loopback() => Self::LOOPBACK,
                () if v6.is_unicast_link_local() => Self::LINK_LOCAL,
                // Unique local ones (RFC 4193), and those of a site, which came before them (RFC 3879).
                () if v6.is_unique_local() || is_site_local(v6) => Self::PRIVATE,
                () if v6.is_unspecified() || v6.is_multicast() => Self::NOWHERE,
                () => Self::GLOBAL,
            },
        }
    }

    fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn name(self) -> &'static str {
        match self {
            Self::PRIVATE => "a private address",
            Self::LOOPBACK => "a loopback address",
            Self::LINK_LOCAL => "a link-local address, or one of a cloud's metadata",
            Self::NOWHERE => "an address that is no host's",
            _ => "a public address",
        }
    }
}

fn is_site_local(address: Ipv6Addr) -> bool {
    let [first, ..] = address.segments();
    first & 0xffc0 == 0xfec0
}

/// The IPv4 address that a translator or a tunnel delivers to, if `address` is one of those: NAT64 (RFC 6052, RFC 8215), SIIT
/// (RFC 2765), 6to4 (RFC 3056) and Teredo (RFC 4380). Else the address.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
        | [0, 0x64, 0xff, 0x9b, 0, 1, _, _, _, _, _, _, a, b, c, d]
        | [0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, a, b, c, d]
        | [0x20, 0x02, a, b, c, d, ..] => IpAddr::from([a, b, c, d]),
        // Written inverted, so that no translator on the way finds it.
        [0x20, 0x01, 0, 0, _, _, _, _, _, _, _, _, a, b, c, d] => IpAddr::from([!a, !b, !c, !d]),
        // Compatible addresses (RFC 4291, section 2.5.5.1), which nobody uses any more; not `::` and `::1`.
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] if a != 0 => IpAddr::from([a, b, c, d]),
        _ => address,
    }
}

/// The addresses that one provider's endpoints may have.
#[derive(Debug, Clone)]
pub struct Reach {
    allowed: Arc<AtomicU8>,
    proxy: Option<Arc<Resolver>>,
}

/// A proxy between us and the provider. It resolves the names that it is asked for, so of those only addresses that are
/// written as such can be judged here.
#[derive(Debug)]
struct Resolver {
    /// What is called through it.
    matcher: Matcher,
    /// Its own name, which the operator has configured.
    host: String,
}

/// Why a URL is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    /// Neither https nor http on loopback.
    #[error("{0} must be https (http only on loopback)")]
    Scheme(String),
    /// The host has no address.
    #[error("the host {0} cannot be resolved")]
    Unresolved(String),
    /// The host has an address of a kind that is not allowed.
    #[error("the host {host} has {kind}; `allowPrivateIPAddresses` allows private and loopback ones")]
    Refused {
        /// Host.
        host: String,
        /// Kind of address.
        kind: &'static str,
    },
}

impl Reach {
    /// Public addresses, and private and loopback ones if `allow_private`.
    pub fn new(allow_private: bool) -> Self {
        let private = if allow_private { Kinds::PRIVATE.0 | Kinds::LOOPBACK.0 } else { 0 };
        Self { allowed: Arc::new(AtomicU8::new(Kinds::GLOBAL.0 | private)), proxy: None }
    }

    /// The same where this proxy resolves names: what they stand for is its to decide. What is called past it is judged as
    /// without one.
    pub fn behind_proxy(allow_private: bool, egress: &Egress) -> Self {
        let host = egress.url().host_str().unwrap_or_default().to_owned();
        Self {
            proxy: Some(Arc::new(Resolver { matcher: egress.matcher(), host })),
            ..Self::new(allow_private)
        }
    }

    /// Allows the kinds of address that the issuer has, and checks its scheme.
    ///
    /// # Errors
    /// [`ReachError`]: the host does not resolve, or http is not on loopback.
    pub async fn admit_issuer(&self, issuer: &Url) -> Result<(), ReachError> {
        let addresses = self.addresses(issuer).await?;
        check_scheme(issuer, &addresses)?;
        for address in addresses {
            let kind = Kinds::of(address);
            if kind != Kinds::NOWHERE {
                self.allowed.fetch_or(kind.0, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Whether `url` may be called now.
    ///
    /// # Errors
    /// [`ReachError`], naming the host and the reason.
    pub async fn check(&self, url: &Url) -> Result<(), ReachError> {
        let addresses = self.addresses(url).await?;
        check_scheme(url, &addresses)?;
        addresses.into_iter().try_for_each(|address| self.check_address(url, address))
    }

    /// As [`check`](Self::check) for an endpoint that only the browser visits: with https an
    /// address that is written as such is judged, a name is not, because the browser resolves it
    /// elsewhere.
    ///
    /// # Errors
    /// [`ReachError`].
    pub async fn check_front(&self, url: &Url) -> Result<(), ReachError> {
        match url.host() {
            Some(Host::Domain(_)) if url.scheme() == "https" => Ok(()),
            _ => self.check(url).await,
        }
    }

    async fn addresses(&self, url: &Url) -> Result<Vec<IpAddr>, ReachError> {
        match url.host() {
            Some(Host::Domain(_)) if self.goes_by_proxy(url) => Ok(Vec::new()),
            _ => resolve(url).await,
        }
    }

    fn goes_by_proxy(&self, url: &Url) -> bool {
        let Some(proxy) = &self.proxy else { return false };
        url.as_str().parse().is_ok_and(|uri| proxy.matcher.intercept(&uri).is_some())
    }

    fn is_proxy(&self, host: &str) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.host == host)
    }

    fn allows(&self, kind: Kinds) -> bool {
        Kinds(self.allowed.load(Ordering::Relaxed)).contains(kind)
    }

    fn check_address(&self, url: &Url, address: IpAddr) -> Result<(), ReachError> {
        let kind = Kinds::of(address);
        if self.allows(kind) {
            return Ok(());
        }
        Err(ReachError::Refused { host: url.host_str().unwrap_or_default().to_owned(), kind: kind.name() })
    }
}

fn check_scheme(url: &Url, addresses: &[IpAddr]) -> Result<(), ReachError> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if !addresses.is_empty() && addresses.iter().all(|a| a.to_canonical().is_loopback()) => Ok(()),
        _ => Err(ReachError::Scheme(url.as_str().to_owned())),
    }
}

async fn resolve(url: &Url) -> Result<Vec<IpAddr>, ReachError> {
    let unresolved = || ReachError::Unresolved(url.host_str().unwrap_or_default().to_owned());
    match url.host().ok_or_else(unresolved)? {
        Host::Ipv4(v4) => Ok(vec![IpAddr::V4(v4)]),
        Host::Ipv6(v6) => Ok(vec![IpAddr::V6(v6)]),
        Host::Domain(name) => {
            let addresses: Vec<IpAddr> = tokio::net::lookup_host((name, 0))
                .await
                .map_err(|_| unresolved())?
                .map(|address| address.ip())
                .collect();
            if addresses.is_empty() { Err(unresolved()) } else { Ok(addresses) }
        }
    }
}

/// Resolves names for the HTTP client and leaves out what may not be called, so that a name that
/// changes its address between check and call gains nothing. The proxy's own may have any.
impl reqwest::dns::Resolve for Reach {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let reach = self.clone();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await?
                .filter(|address| reach.is_proxy(name.as_str()) || reach.allows(Kinds::of(address.ip())))
                .collect();
            if addresses.is_empty() {
                return Err(format!("no address of {} may be called", name.as_str()).into());
            }
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[tokio::test]
    async fn inner_addresses_are_refused_unless_the_issuer_is_there() {
        let reach = Reach::new(false);
        let inner = [
            "https://127.0.0.1/t",
            "https://10.1.2.3/t",
            "https://169.254.169.254/t",
            "https://[::1]/t",
            "https://[fe80::1]/t",
            "https://[::ffff:127.0.0.1]/t",
            "https://0.0.0.0/t",
            "https://100.64.0.1/t",
            "https://[fd00::1]/t",
            "https://[64:ff9b::a9fe:a9fe]/t",
            "https://[64:ff9b::10.0.0.1]/t",
            "https://[2002:7f00:1::]/t",
            "https://[64:ff9b:1::a9fe:a9fe]/t",
            "https://[64:ff9b:1:7::10.0.0.1]/t",
            "https://[::ffff:0:10.0.0.1]/t",
            "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/t",
            "https://[fec0::1]/t",
            "https://[fd00:ec2::254]/t",
            "https://168.63.129.16/t",
            "https://100.100.100.200/t",
            "https://[::127.0.0.1]/t",
            "https://198.18.0.1/t",
            "https://192.0.0.8/t",
        ];
        for inner in inner {
            assert!(matches!(reach.check(&url(inner)).await, Err(ReachError::Refused { .. })), "{inner}");
            assert!(reach.check_front(&url(inner)).await.is_err(), "{inner}");
        }
        assert_eq!(reach.check(&url("https://203.0.113.7/t")).await, Ok(()));

        reach.admit_issuer(&url("https://10.0.0.1/")).await.unwrap();
        assert_eq!(reach.check(&url("https://10.1.2.3/t")).await, Ok(()));
        assert!(reach.check(&url("https://127.0.0.1/t")).await.is_err());
        assert!(reach.check(&url("https://169.254.169.254/t")).await.is_err());
    }

    #[tokio::test]
    async fn allow_private_does_not_allow_link_local() {
        let reach = Reach::new(true);
        assert_eq!(reach.check(&url("https://10.1.2.3/t")).await, Ok(()));
        assert_eq!(reach.check(&url("http://127.0.0.1/t")).await, Ok(()));
        for never in
            ["169.254.169.254", "[fd00:ec2::254]", "[fd20:ce::254]", "168.63.129.16", "100.100.100.200"]
        {
            assert!(reach.check(&url(&format!("https://{never}/t"))).await.is_err(), "{never}");
        }
        assert_eq!(reach.check(&url("https://[fd00:ec2::253]/t")).await, Ok(()));
    }

    #[tokio::test]
    async fn a_proxy_resolves_names_and_addresses_are_still_judged() {
        let reach =
            Reach::behind_proxy(false, &Egress::configured(&url("http://127.0.0.1:3128"), "direct.example"));
        assert_eq!(reach.check(&url("https://name.that.only.the.proxy.knows/t")).await, Ok(()));
        assert!(matches!(reach.check(&url("http://localhost/t")).await, Err(ReachError::Scheme(_))));
        assert!(matches!(reach.check(&url("https://10.0.0.1/t")).await, Err(ReachError::Refused { .. })));
    }

    /// `localhost` stands for any name that resolves to where it must not.
    #[tokio::test]
    async fn names_that_are_called_past_the_proxy_are_judged() {
        let egress = Egress::configured(&url("http://127.0.0.1:3128"), "other.example, localhost");
        let reach = Reach::behind_proxy(false, &egress);
        let refused = reach.check(&url("https://localhost/t")).await;
        assert!(matches!(refused, Err(ReachError::Refused { .. })), "{refused:?}");
        let unknown = reach.check(&url("https://past.other.example/t")).await;
        assert!(matches!(unknown, Err(ReachError::Unresolved(_))), "{unknown:?}");
        assert_eq!(reach.check(&url("https://name.that.only.the.proxy.knows/t")).await, Ok(()));
        // An issuer past the proxy admits its own kind of address, as without one.
        reach.admit_issuer(&url("https://localhost/")).await.unwrap();
        assert_eq!(reach.check(&url("https://localhost/t")).await, Ok(()));
        assert!(reach.check(&url("https://10.0.0.1/t")).await.is_err());
    }

    #[tokio::test]
    async fn http_only_on_loopback() {
        let reach = Reach::new(true);
        assert!(matches!(reach.check(&url("http://10.0.0.1/")).await, Err(ReachError::Scheme(_))));
        assert!(matches!(reach.admit_issuer(&url("http://203.0.113.1/")).await, Err(ReachError::Scheme(_))));
        assert_eq!(reach.admit_issuer(&url("http://127.0.0.1:9400/")).await, Ok(()));
    }
}
