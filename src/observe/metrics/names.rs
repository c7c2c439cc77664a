//! Every metric that Portcullis exports, in one table.
//!
//! Names and labels under `traefik_` are Traefik v3.7's, so that its dashboards and alerts keep working;
//! what Traefik has no name for is under `portcullis_`.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::{Opts, Result};

/// One metric: name, labels, and what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Full name.
    pub name: &'static str,
    /// Variable labels, sorted by name as the exposition has them.
    pub labels: &'static [&'static str],
    /// One sentence for `# HELP`.
    pub help: &'static str,
}

impl Family {
    /// Options for a metric of the `prometheus` crate.
    pub(super) fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    /// The descriptor under which a collector of ours registers.
    pub(super) fn desc(&self) -> Result<Desc> {
        let labels = self.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
    }
}

macro_rules! families {
    ($($ident:ident = $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $ident: Family = Family { name: $name, labels: &[$($label),*], help: $help };
        )*

        /// The whole table.
        pub const ALL: &[Family] = &[$($ident),*];
    };
}

families! {
    CONFIG_RELOADS = "traefik_config_reloads_total" []
        "Dynamic configurations that were applied or refused.";
    CONFIG_LAST_RELOAD_SUCCESS = "traefik_config_last_reload_success" []
        "Unix time of the last dynamic configuration that was applied.";
    OPEN_CONNECTIONS = "traefik_open_connections" ["entrypoint", "protocol"]
        "Client connections open now.";
    TLS_CERTS_NOT_AFTER = "traefik_tls_certs_not_after" ["cn", "sans", "serial"]
        "Unix time at which a certificate expires.";

    ENTRY_POINT_REQUESTS = "traefik_entrypoint_requests_total" ["code", "entrypoint", "method", "protocol"]
        "Requests answered on an entry point.";
    ENTRY_POINT_REQUESTS_TLS = "traefik_entrypoint_requests_tls_total" ["entrypoint", "tls_cipher", "tls_version"]
        "Requests on an entry point that came over TLS.";
    ENTRY_POINT_DURATION = "traefik_entrypoint_request_duration_seconds" ["code", "entrypoint", "method", "protocol"]
        "Time from the request header to the end of the answer, on an entry point.";
    ENTRY_POINT_REQUESTS_BYTES = "traefik_entrypoint_requests_bytes_total" ["code", "entrypoint", "method", "protocol"]
        "Request body bytes received on an entry point.";
    ENTRY_POINT_RESPONSES_BYTES = "traefik_entrypoint_responses_bytes_total" ["code", "entrypoint", "method", "protocol"]
        "Response body bytes sent on an entry point.";

    ROUTER_REQUESTS = "traefik_router_requests_total" ["code", "method", "protocol", "router", "service"]
        "Requests answered by a router.";
    ROUTER_REQUESTS_TLS = "traefik_router_requests_tls_total" ["router", "service", "tls_cipher", "tls_version"]
        "Requests of a router that came over TLS.";
    ROUTER_DURATION = "traefik_router_request_duration_seconds" ["code", "method", "protocol", "router", "service"]
        "Time from the request header to the end of the answer, of a router.";
    ROUTER_REQUESTS_BYTES = "traefik_router_requests_bytes_total" ["code", "method", "protocol", "router", "service"]
        "Request body bytes received by a router.";
    ROUTER_RESPONSES_BYTES = "traefik_router_responses_bytes_total" ["code", "method", "protocol", "router", "service"]
        "Response body bytes sent by a router.";

    SERVICE_REQUESTS = "traefik_service_requests_total" ["code", "method", "protocol", "service"]
        "Requests that reached a service.";
    SERVICE_REQUESTS_TLS = "traefik_service_requests_tls_total" ["service", "tls_cipher", "tls_version"]
        "Requests that reached a service and came from the client over TLS.";
    SERVICE_DURATION = "traefik_service_request_duration_seconds" ["code", "method", "protocol", "service"]
        "Time that a service took for a request, retries included.";
    SERVICE_REQUESTS_BYTES = "traefik_service_requests_bytes_total" ["code", "method", "protocol", "service"]
        "Request body bytes sent to a service.";
    SERVICE_RESPONSES_BYTES = "traefik_service_responses_bytes_total" ["code", "method", "protocol", "service"]
        "Response body bytes received from a service.";
    SERVICE_RETRIES = "traefik_service_retries_total" ["service"]
        "Attempts at a service after the first one.";
    SERVICE_SERVER_UP = "traefik_service_server_up" ["service", "url"]
        "1 while a server of a service takes requests, else 0.";

    CONFIG_ERRORS = "portcullis_config_errors" ["provider"]
        "Errors in the current configuration of a provider; each disables its item, or refuses the load.";
    PANICS = "portcullis_panics_total" []
        "Panics caught; each one is a defect.";
    LOG_LINES_DROPPED = "portcullis_log_lines_dropped_total" ["log"]
        "Log lines lost because the writer could not keep up or write.";
    READY = "portcullis_ready" []
        "1 while /readyz answers 200.";
    BUILD_INFO = "portcullis_build_info" ["version"]
        "Always 1; its label is the version.";

    OIDC_LOGINS = "portcullis_oidc_logins_total" ["middleware", "outcome"]
        "Logins that came back from an OpenID provider, and requests of users who may not pass.";
    OIDC_CALLBACK_ERRORS = "portcullis_oidc_callback_errors_total" ["reason"]
        "Callbacks that did not end in a session.";
    OIDC_REFRESHES = "portcullis_oidc_refreshes_total" ["issuer", "outcome"]
        "Token refreshes.";
    OIDC_LOGOUTS = "portcullis_oidc_logouts_total" ["kind"]
        "Sessions ended by a logout.";
    OIDC_BEARER = "portcullis_oidc_bearer_total" ["middleware", "outcome"]
        "Requests with a bearer token.";
    OIDC_INTROSPECTIONS = "portcullis_oidc_introspections_total" ["issuer", "outcome"]
        "Calls that asked an OpenID provider about a token.";
    OIDC_REGISTRATIONS = "portcullis_oidc_client_registrations_total" ["issuer", "outcome"]
        "Attempts to register the client at an OpenID provider.";
    OIDC_SESSIONS = "portcullis_oidc_sessions" []
        "Sessions held now.";
    OIDC_PROVIDER_UP = "portcullis_oidc_provider_up" ["issuer"]
        "1 while metadata and keys of an OpenID provider could be fetched when last tried.";
    OIDC_STORE_ERRORS = "portcullis_oidc_session_store_errors_total" ["operation"]
        "Operations that the session store failed.";

    PROCESS_CPU = "process_cpu_seconds_total" []
        "User and system CPU time.";
    PROCESS_OPEN_FDS = "process_open_fds" []
        "Open file descriptors.";
    PROCESS_MAX_FDS = "process_max_fds" []
        "Limit of open file descriptors.";
    PROCESS_VIRTUAL_MEMORY = "process_virtual_memory_bytes" []
        "Virtual memory.";
    PROCESS_RESIDENT_MEMORY = "process_resident_memory_bytes" []
        "Resident memory.";
    PROCESS_START_TIME = "process_start_time_seconds" []
        "Unix time of the start.";
    PROCESS_THREADS = "process_threads" []
        "Threads.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_documentation_lists_every_metric() {
        let page = include_str!("../../../docs/operations.md");
        for Family { name, labels, help } in ALL {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let row = format!("| `{name}` | {} | {help} |", labels.join(", "));
            assert!(page.lines().any(|line| line == row), "docs/operations.md lacks this line:\n{row}");
        }
    }

    #[test]
    fn names_are_unique_and_labels_sorted() {
        let names: HashSet<_> = ALL.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), ALL.len());
        for family in ALL {
            assert!(family.labels.is_sorted(), "{}", family.name);
        }
    }
}
