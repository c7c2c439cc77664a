//! An OpenID provider in this process, with a proxy and an origin around it.

use std::fmt::Write;
use std::path::Path;
use std::time::SystemTime;

use portcullis::demo::provider::{Client, Fault, Provider, ProviderOptions, Registration};

use super::client::{Browser, Page, get};
use super::origin::Origin;
use super::proxy::{Proxy, Setup};

pub const CLIENT: &str = "portcullis";
pub const SECRET: &str = "a secret with a space, a + and a % sign";
pub const REGISTRATION_TOKEN: &str = "may-register-0123456789";
pub const CALLBACK: &str = "/oauth2/callback";
pub const LOGOUT: &str = "/oauth2/logout";

/// The line of the plugin block by which a session tells when its tokens end.
pub const TELLS: &str = "sessionEndpoints: auto";

/// A provider, a service that shows what it gets, and the proxy between them.
pub struct World {
    pub idp: Provider,
    pub origin: Origin,
    pub proxy: Proxy,
}

/// How a [`World`] is made.
pub struct Plan {
    /// The provider; its clients are set by [`Plan::start`].
    pub provider: ProviderOptions,
    /// Lines for the plugin block, such as `allowedUsers: [bob@example.test]`.
    pub plugin: String,
    /// Further dynamic configuration, below `http.routers`, indented by four.
    pub routers: String,
    /// The service; the plain one if none.
    pub origin: Option<Origin>,
    /// The provider is off the network when the proxy starts.
    pub provider_down: bool,
    /// The client registers itself; its callbacks beside the first proxy's.
    registers: Option<Vec<String>>,
    /// Scripted before the proxy starts.
    pub faults: Vec<Fault>,
    setup: Setup,
}

impl Plan {
    pub fn new() -> Self {
        Self {
            provider: ProviderOptions::default(),
            plugin: String::new(),
            routers: String::new(),
            origin: None,
            provider_down: false,
            registers: None,
            faults: Vec::new(),
            setup: Setup::new(),
        }
    }

    /// Adds a line to the plugin block.
    pub fn plugin(mut self, line: &str) -> Self {
        let _ = writeln!(self.plugin, "{line}");
        self
    }

    /// Has the client register itself, also for the callbacks of `others`, which are addresses of proxies.
    pub fn registering(mut self, others: &[String]) -> Self {
        self.provider.registration = Some(Registration {
            initial_access_token: Some(REGISTRATION_TOKEN.to_owned()),
            secret_life: None,
        });
        self.registers = Some(others.to_vec());
        self
    }

    /// Puts the service that is protected in place of the usual one.
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    pub fn fixed(mut self, text: &str) -> Self {
        self.setup = self.setup.fixed(text);
        self
    }

    /// See [`Setup::entry_point`].
    pub fn entry_point(mut self, name: &str, options: &str) -> Self {
        self.setup = self.setup.entry_point(name, options);
        self
    }

    /// See [`Setup::quiet`].
    pub fn quiet(mut self) -> Self {
        self.setup = self.setup.quiet();
        self
    }

    /// See [`Setup::one_core`].
    pub fn one_core(mut self) -> Self {
        self.setup = self.setup.one_core();
        self
    }

    /// Where the files of the proxy will be.
    pub fn folder(&self) -> &Path {
        self.setup.folder()
    }

    pub async fn start(self) -> World {
        let login_works = !self.provider_down;
        let mut world = self.start_unready().await;
        world.proxy.ready().await;
        if login_works {
            world.login_works().await;
        }
        world
    }

    /// Starts everything without waiting for the proxy.
    pub async fn start_unready(mut self) -> World {
        let url = self.setup.url();
        self.provider.clients = vec![Client {
            id: CLIENT.to_owned(),
            secret: SECRET.to_owned(),
            redirect_uris: vec![format!("{url}{CALLBACK}")],
            post_logout_redirect_uris: [
                format!("{url}/public/bye"),
                format!("{url}{LOGOUT}"),
                format!("{url}{CALLBACK}"),
            ]
            .to_vec(),
        }];
        let idp = Provider::start(self.provider).await.unwrap();
        self.faults.drain(..).for_each(|fault| idp.add_fault(fault));
        let origin = match self.origin {
            Some(origin) => origin,
            None => Origin::start().await,
        };
        if self.provider_down {
            idp.go_offline().await;
        }
        let mut text = dynamic(&idp.issuer(), &origin, &self.plugin, &self.routers);
        if let Some(others) = &self.registers {
            text = registering(&text, [&url].into_iter().chain(others));
        }
        let proxy = self.setup.dynamic(&text).spawn();
        World { idp, origin, proxy }
    }
}

/// The dynamic configuration of a world.
pub fn dynamic(issuer: &str, origin: &Origin, plugin: &str, routers: &str) -> String {
    let mut text = format!(
        r#"http:
  services:
    s:
      loadBalancer:
        servers:
          - url: {}
  routers:
    private:
      rule: PathPrefix(`/`)
      middlewares: [login]
      service: s
{routers}
  middlewares:
    login:
      plugin:
        traefikoidc:
          providerURL: "{issuer}"
          clientID: {CLIENT}
          clientSecret: "{SECRET}"
          sessionEncryptionKey: only-for-tests-0123456789abcdef-0123456789
          callbackURL: {CALLBACK}
          logoutURL: {LOGOUT}
          postLogoutRedirectURI: /public/bye
          excludedURLs: [/public]
          forceHTTPS: false
          allowPrivateIPAddresses: true
"#,
        origin.url()
    );
    for line in plugin.lines() {
        let _ = writeln!(text, "          {line}");
    }
    text
}

/// The same where the client is not known but registers itself, for the callbacks of these proxies.
fn registering<'a>(text: &str, urls: impl Iterator<Item = &'a String>) -> String {
    let client = format!("          clientID: {CLIENT}\n          clientSecret: \"{SECRET}\"\n");
    let callbacks: Vec<String> = urls.map(|url| format!("{url}{CALLBACK}")).collect();
    let block = format!(
        "          dynamicClientRegistration:\n            enabled: true\n            initialAccessToken: {REGISTRATION_TOKEN}\n            \
         clientMetadata:\n              redirect_uris: {callbacks:?}\n"
    );
    text.replace(&client, &block)
}

impl World {
    pub async fn start() -> Self {
        Plan::new().start().await
    }

    /// The outside address of a path.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.proxy.url())
    }

    /// A browser in which `user` is logged in.
    pub async fn browser_of(&self, user: &str) -> Browser {
        let browser = Browser::new();
        let page = browser.log_in(&self.at("/"), user).await;
        assert_eq!(page.status, 200, "{page:?}");
        browser
    }

    /// Where a request without a session is answered with a redirect to the provider. The proxy is ready before
    /// its first discovery, so this may take a moment.
    pub async fn login_works(&self) {
        let url = url::Url::parse(&self.at("/")).unwrap();
        super::eventually("a login is offered", || async {
            let page = Browser::new().step(&url).await;
            page.status == 302 || page.status == 303
        })
        .await;
    }

    /// When the tokens of a session end, as the proxy itself tells, which renews nothing by telling; none if the session is
    /// over with them. Needs [`TELLS`] in the plugin block.
    pub async fn tokens_end_at(&self, cookie: &str) -> Option<SystemTime> {
        let answer = get(self.proxy.web(), "localhost", "/oauth2/session", &[("Cookie", cookie)]).await;
        if answer.status() == 401 {
            return None;
        }
        assert_eq!(answer.status(), 200, "{answer:?}");
        let told: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        let end: jiff::Timestamp = told["tokensExpire"].as_str().unwrap().parse().unwrap();
        Some(end.into())
    }

    /// Returns when the tokens of a session have ended, however late its login was.
    pub async fn tokens_over(&self, cookie: &str) {
        let waiting = async {
            if let Some(end) = self.tokens_end_at(cookie).await {
                super::until(end).await;
            }
        };
        super::soon("the end of the tokens", Box::pin(waiting)).await;
    }

    /// How many requests with this grant reached the provider.
    pub fn grants(&self, grant_type: &str) -> u64 {
        self.idp.counters().get(&format!("grant:{grant_type}"))
    }

    /// A page of the service, not of the proxy.
    pub fn is_from_service(page: &Page) -> bool {
        page.status == 200 && page.text.starts_with("GET /")
    }
}
