//! A client that registers itself: the plugin's block, and ours.

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::schema;

schema! {
    /// Client registration of the plugin (RFC 7591).
    pub struct Registration {
        /// Whether the client registers itself.
        "enabled" => enabled: bool = false,
        /// Keep the result; always on.
        "persistCredentials" => persist_credentials: Option<bool>,
        /// Where; it is the session store.
        "storageBackend" => storage_backend: Option<String>,
        /// File of the plugin.
        "credentialsFile" => credentials_file: Option<String>,
        /// Prefix of keys in the plugin's Redis.
        "redisKeyPrefix" => redis_key_prefix: Option<String>,
        /// Endpoint, if not the discovered one.
        "registrationEndpoint" => registration_endpoint: Option<String>,
        /// Token of that endpoint.
        "initialAccessToken" => initial_access_token: Option<SecretString>,
        /// What is registered.
        "clientMetadata" => client_metadata: Option<ClientMetadata>,
    }
}

schema! {
    /// Metadata of the client (RFC 7591, section 2; OpenID Connect Dynamic Client Registration 1.0, section 2).
    pub struct ClientMetadata {
        /// The callback, at each host.
        "redirect_uris" => redirect_uris: Vec<String>,
        /// Response types; `code` is the one that is used.
        "response_types" => response_types: Vec<String>,
        /// Grant types.
        "grant_types" => grant_types: Vec<String>,
        /// web or native.
        "application_type" => application_type: Option<String>,
        /// People to ask.
        "contacts" => contacts: Vec<String>,
        /// Name for users.
        "client_name" => client_name: Option<String>,
        /// Logo for users.
        "logo_uri" => logo_uri: Option<String>,
        /// Home page.
        "client_uri" => client_uri: Option<String>,
        /// Privacy policy.
        "policy_uri" => policy_uri: Option<String>,
        /// Terms of service.
        "tos_uri" => tos_uri: Option<String>,
        /// Where our public keys are.
        "jwks_uri" => jwks_uri: Option<String>,
        /// public or pairwise.
        "subject_type" => subject_type: Option<String>,
        /// How the client authenticates at the token endpoint.
        "token_endpoint_auth_method" => token_endpoint_auth_method: Option<String>,
        /// Default of `max_age`.
        "default_max_age" => default_max_age: Option<i64>,
        /// Whether ID tokens have `auth_time`.
        "require_auth_time" => require_auth_time: Option<bool>,
        /// Default of `acr_values`.
        "default_acr_values" => default_acr_values: Vec<String>,
        /// Scopes, separated by spaces.
        "scope" => scope: Option<String>,
    }
}

schema! {
    /// Client registration (native): the block itself is the switch.
    pub struct ClientRegistration {
        /// Endpoint, if not the discovered one.
        "endpoint" => endpoint: Option<String>,
        /// Token of that endpoint.
        "initialAccessToken" => initial_access_token: Option<SecretString>,
        /// The same in a file, which is read for each registration.
        "initialAccessTokenFile" => initial_access_token_file: Option<String>,
        /// The callback, at each host.
        "redirectUris" => redirect_uris: Vec<String>,
        /// Name for users.
        "clientName" => client_name: Option<String>,
        /// People to ask.
        "contacts" => contacts: Vec<String>,
        /// Scopes, separated by spaces.
        "scope" => scope: Option<String>,
        /// Where our public keys are.
        "jwksUri" => jwks_uri: Option<String>,
        /// Further members of the metadata, by the names of RFC 7591.
        "metadata" => metadata: BTreeMap<String, String>,
    }
    required: ["redirectUris"],
}
