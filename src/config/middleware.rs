//! `http.middlewares.<name>`: one struct for each middleware.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::value::Node;
use crate::schema;

schema! {
    /// A middleware: exactly one kind.
    pub struct Middleware {
        /// Adds a prefix to the path.
        "addPrefix" => add_prefix: Option<AddPrefix>,
        /// HTTP Basic authentication.
        "basicAuth" => basic_auth: Option<BasicAuth>,
        /// Several middlewares under one name.
        "chain" => chain: Option<Chain>,
        /// Request and response headers, CORS, security headers.
        "headers" => headers: Option<Headers>,
        /// OpenID Connect, native block.
        "oidc" => oidc: Option<Node>,
        /// A plugin by alias; traefikoidc is native.
        "plugin" => plugin: Option<BTreeMap<String, Node>>,
        /// Redirects by regular expression.
        "redirectRegex" => redirect_regex: Option<RedirectRegex>,
        /// Redirects to another scheme or port.
        "redirectScheme" => redirect_scheme: Option<RedirectScheme>,
        /// Replaces the path.
        "replacePath" => replace_path: Option<ReplacePath>,
        /// Removes a prefix of the path.
        "stripPrefix" => strip_prefix: Option<StripPrefix>,
    }
    not supported yet: [
        "buffering", "circuitBreaker", "compress", "contentType", "digestAuth", "encodedCharacters", "errors",
        "forwardAuth", "grpcWeb", "inFlightReq", "ipAllowList", "ipWhiteList", "passTLSClientCert", "rateLimit",
        "replacePathRegex", "retry", "stripPrefixRegex",
    ],
}

schema! {
    /// Adds a prefix to the path.
    pub struct AddPrefix {
        /// The prefix; a missing leading slash is added.
        "prefix" => prefix: String,
    }
    required: ["prefix"],
}

schema! {
    /// Removes a prefix of the path.
    pub struct StripPrefix {
        /// The first that fits is removed.
        "prefixes" => prefixes: Vec<String>,
        /// Deprecated by Traefik; a path that becomes empty is `/` either way.
        "forceSlash" => force_slash: bool = false,
    }
}

schema! {
    /// Replaces the path.
    pub struct ReplacePath {
        /// The new path.
        "path" => path: String,
    }
}

schema! {
    /// Redirects by regular expression.
    pub struct RedirectRegex {
        /// Matched against the absolute URL.
        "regex" => regex: String,
        /// The target, with `$1` or `${name}` for groups.
        "replacement" => replacement: String,
        /// 301/308 instead of 302/307.
        "permanent" => permanent: bool = false,
    }
}

schema! {
    /// Redirects to another scheme or port.
    pub struct RedirectScheme {
        /// The target's scheme.
        "scheme" => scheme: String,
        /// The target's port.
        "port" => port: Option<String>,
        /// 301/308 instead of 302/307.
        "permanent" => permanent: bool = false,
    }
    required: ["scheme"],
}

schema! {
    /// HTTP Basic authentication (RFC 7617).
    pub struct BasicAuth {
        /// `name:hash`, with a bcrypt, apr1 or {SHA} hash.
        "users" => users: Vec<SecretString>,
        /// A file of such lines.
        "usersFile" => users_file: Option<String>,
        /// The realm of the challenge.
        "realm" => realm: String = "traefik".to_owned(),
        /// Does not pass Authorization on.
        "removeHeader" => remove_header: bool = false,
        /// A header that tells the service the user.
        "headerField" => header_field: Option<String>,
    }
}

schema! {
    /// Several middlewares under one name.
    pub struct Chain {
        /// Their names, the first outermost.
        "middlewares" => middlewares: Vec<String>,
    }
}

schema! {
    /// Request and response headers, CORS, security headers.
    pub struct Headers {
        /// Set on the request; an empty value removes.
        "customRequestHeaders" => custom_request_headers: BTreeMap<String, String>,
        /// Set on the response; an empty value removes.
        "customResponseHeaders" => custom_response_headers: BTreeMap<String, String>,
        /// CORS: credentials are allowed.
        "accessControlAllowCredentials" => access_control_allow_credentials: bool = false,
        /// CORS: allowed request headers.
        "accessControlAllowHeaders" => access_control_allow_headers: Vec<String>,
        /// CORS: allowed methods.
        "accessControlAllowMethods" => access_control_allow_methods: Vec<String>,
        /// CORS: allowed origins; `*` = any.
        "accessControlAllowOriginList" => access_control_allow_origin_list: Vec<String>,
        /// CORS: allowed origins by regular expression.
        "accessControlAllowOriginListRegex" => access_control_allow_origin_list_regex: Vec<String>,
        /// CORS: response headers that scripts may read.
        "accessControlExposeHeaders" => access_control_expose_headers: Vec<String>,
        /// CORS: how long a pre-flight holds, in seconds.
        "accessControlMaxAge" => access_control_max_age: Option<i64>,
        /// Adds `Vary: Origin`.
        "addVaryHeader" => add_vary_header: bool = false,
        /// Hosts that are served; others get a 500, as in Traefik.
        "allowedHosts" => allowed_hosts: Vec<String>,
        /// Headers that may hold the host.
        "hostsProxyHeaders" => hosts_proxy_headers: Vec<String>,
        /// Header and value that say that the outside is https.
        "sslProxyHeaders" => ssl_proxy_headers: BTreeMap<String, String>,
        /// Strict-Transport-Security: max-age in seconds; 0 = no header.
        "stsSeconds" => sts_seconds: i64,
        /// Strict-Transport-Security: includeSubDomains.
        "stsIncludeSubdomains" => sts_include_subdomains: bool = false,
        /// Strict-Transport-Security: preload.
        "stsPreload" => sts_preload: bool = false,
        /// Strict-Transport-Security on plain HTTP too.
        "forceSTSHeader" => force_sts_header: bool = false,
        /// X-Frame-Options: DENY.
        "frameDeny" => frame_deny: bool = false,
        /// X-Frame-Options with this value.
        "customFrameOptionsValue" => custom_frame_options_value: Option<String>,
        /// X-Content-Type-Options: nosniff.
        "contentTypeNosniff" => content_type_nosniff: bool = false,
        /// X-XSS-Protection: 1; mode=block.
        "browserXssFilter" => browser_xss_filter: bool = false,
        /// X-XSS-Protection with this value.
        "customBrowserXSSValue" => custom_browser_xss_value: Option<String>,
        /// Content-Security-Policy.
        "contentSecurityPolicy" => content_security_policy: Option<String>,
        /// Content-Security-Policy-Report-Only.
        "contentSecurityPolicyReportOnly" => content_security_policy_report_only: Option<String>,
        /// Public-Key-Pins.
        "publicKey" => public_key: Option<String>,
        /// Referrer-Policy.
        "referrerPolicy" => referrer_policy: Option<String>,
        /// Permissions-Policy.
        "permissionsPolicy" => permissions_policy: Option<String>,
        /// Turns host, scheme and Strict-Transport-Security checks off.
        "isDevelopment" => is_development: bool = false,
    }
    without effect: {
        "featurePolicy" => "browsers have replaced it by permissionsPolicy",
        "sslRedirect" => "Traefik v3 ignores it; use entryPoints.<name>.http.redirections or redirectScheme",
        "sslTemporaryRedirect" => "Traefik v3 ignores it; use redirectScheme",
        "sslHost" => "Traefik v3 ignores it; use redirectRegex",
        "sslForceHost" => "Traefik v3 ignores it; use redirectRegex",
    },
}
