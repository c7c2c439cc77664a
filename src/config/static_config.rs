//! Static configuration: read at start. SIGHUP takes over `entryPoints` and `log.level`; the rest is changed by a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::Presence;
use super::entry_point::EntryPoint;
use super::session_store::OidcSessions;
use super::telemetry::{AccessLog, Api, Audit, Log, Metrics, Ping};
use super::value::Node;
use crate::schema;

schema! {
    /// The whole static configuration.
    pub struct StaticConfig {
        /// Process-wide switches.
        "global" => global: Global,
        /// Listeners by name; none written means one named `http` on `:80`.
        "entryPoints" => entry_points: BTreeMap<String, EntryPoint>,
        /// Where dynamic configuration comes from.
        "providers" => providers: Providers,
        /// The transport of services that name none.
        "serversTransport" => servers_transport: DefaultServersTransport,
        /// The process log.
        "log" => log: Presence<Log>,
        /// The access log; off unless the block is present.
        "accessLog" => access_log: Presence<AccessLog>,
        /// Metrics exporters.
        "metrics" => metrics: Option<Metrics>,
        /// The `/ping` endpoint.
        "ping" => ping: Presence<Ping>,
        /// The API.
        "api" => api: Presence<Api>,
        /// What all OIDC middlewares share; Portcullis' own.
        "oidc" => oidc: OidcProcess,
        /// Plugins and experiments.
        "experimental" => experimental: Experimental,
    }
    not supported yet: [
        "tcpServersTransport", "tracing", "certificatesResolvers", "core", "hostResolver", "spiffe", "ocsp",
    ],
    refused: {
        "http" => "belongs to the dynamic configuration: write it in the file that `providers.file` names",
        "tcp" => "belongs to the dynamic configuration: write it in the file that `providers.file` names",
        "udp" => "belongs to the dynamic configuration: write it in the file that `providers.file` names",
        "tls" => "belongs to the dynamic configuration: write it in the file that `providers.file` names",
        "pilot" => "has been removed in Traefik v3: delete it",
        "defaultEntryPoints" => "is Traefik v1's: write `entryPoints.<name>.asDefault: true`",
        "logLevel" => "is Traefik v1's: write `log.level`",
        "file" => "is Traefik v1's: write `providers.file`",
        "acme" => "is Traefik v1's: `certificatesResolvers` has taken its place",
    },
}

schema! {
    /// What all OIDC middlewares share.
    pub struct OidcProcess {
        /// The audit log; off unless the block is present.
        "audit" => audit: Presence<Audit>,
        /// Where sessions live whose middleware does not say it.
        "session" => session: OidcSessions,
    }
}

schema! {
    /// Process-wide switches.
    pub struct Global {
        /// Accepted for compatibility: Portcullis never asks for new versions.
        "checkNewVersion" => check_new_version: bool = false,
        /// Accepted for compatibility: Portcullis never sends statistics.
        "sendAnonymousUsage" => send_anonymous_usage: bool = false,
        /// Passes X-Forwarded-For on as received, on every entry point.
        "notAppendXForwardedFor" => not_append_x_forwarded_for: bool = false,
    }
}

schema! {
    /// Where dynamic configuration comes from.
    pub struct Providers {
        /// Least time between two applied configurations of one provider.
        "providersThrottleDuration" => throttle: Duration = Duration::from_secs(2),
        /// Files.
        "file" => file: Option<FileProvider>,
    }
    not supported yet: [
        "precedence", "docker", "swarm", "kubernetesIngress", "kubernetesCRD", "kubernetesGateway",
        "kubernetesIngressNGINX", "knative", "rest", "http", "consulCatalog", "nomad", "ecs", "consul", "etcd",
        "zooKeeper", "redis", "plugin",
    ],
    refused: {
        "marathon" => "has been removed in Traefik v3",
        "rancher" => "has been removed in Traefik v3",
    },
}

schema! {
    /// The file provider.
    pub struct FileProvider {
        /// A folder whose `.toml`, `.yaml` and `.yml` files are read recursively, in name order.
        "directory" => directory: Option<String>,
        /// One file; not used when `directory` is set.
        "filename" => filename: Option<String>,
        /// Whether changes are picked up while running.
        "watch" => watch: bool = true,
        /// Logs each file after template execution.
        "debugLogGeneratedTemplate" => debug_log_generated_template: bool = false,
    }
}

schema! {
    /// The transport of services that name none (`default@internal`).
    pub struct DefaultServersTransport {
        /// Turns verification of server certificates off.
        "insecureSkipVerify" => insecure_skip_verify: bool = false,
        /// CA certificates, as paths or inline PEM; they replace the system's.
        "rootCAs" => root_cas: Vec<String>,
        /// Idle connections kept per server; only "none" counts.
        "maxIdleConnsPerHost" => max_idle_conns_per_host: super::dynamic::IdleConnections,
        /// Deadlines towards the server.
        "forwardingTimeouts" => forwarding_timeouts: super::dynamic::ForwardingTimeouts,
    }
    refused: {
        "spiffe" => "cannot be honoured: the HTTP engine has no way to set SPIFFE identities per server",
    },
}

schema! {
    /// Plugins and experiments.
    pub struct Experimental {
        /// Plugins by alias.
        "plugins" => plugins: BTreeMap<String, PluginModule>,
        /// Plugins from a local folder, by alias.
        "localPlugins" => local_plugins: BTreeMap<String, PluginModule>,
        /// Accepted for compatibility: a plugin that is not native is always refused.
        "abortOnPluginFailure" => abort_on_plugin_failure: bool = true,
    }
    not supported yet: ["otlplogs", "knative"],
    refused: {
        "http3" => "has been removed in Traefik v3: HTTP/3 is `entryPoints.<name>.http3` (not supported yet here)",
    },
    without effect: {
        "fastProxy" => "Portcullis has one HTTP engine",
        "kubernetesIngressNGINX" => "it has had none in Traefik since 3.6.2",
        "kubernetesGateway" => "it has had none in Traefik since 3.1",
    },
}

schema! {
    /// A plugin's declaration.
    pub struct PluginModule {
        /// The Go module; one that ends in `/traefikoidc` is native here.
        "moduleName" => module_name: String,
        /// Accepted for compatibility.
        "version" => version: Option<String>,
        /// Accepted for compatibility.
        "hash" => hash: Option<String>,
        /// Accepted for compatibility.
        "settings" => settings: Option<Node>,
    }
    required: ["moduleName"],
}
