//! `tls`: certificates and the options of TLS connections from clients.

use std::collections::BTreeMap;

use super::Located;
use crate::schema;

schema! {
    /// Certificates and TLS options.
    pub struct Tls {
        /// Certificates, chosen by SNI.
        "certificates" => certificates: Vec<Located<Certificate>>,
        /// Options by name; `default` serves routers that name none.
        "options" => options: BTreeMap<String, Located<TlsOptions>>,
        /// Only the store `default` is used.
        "stores" => stores: BTreeMap<String, Located<Store>>,
    }
}

schema! {
    /// A certificate and its key.
    pub struct Certificate {
        /// Chain, as a path or inline PEM.
        "certFile" => cert_file: String,
        /// Private key, as a path or inline PEM.
        "keyFile" => key_file: String,
        /// Stores; only `default` is honoured.
        "stores" => stores: Vec<String>,
    }
    required: ["certFile", "keyFile"],
}

schema! {
    /// A certificate and its key.
    pub struct CertificatePair {
        /// Chain, as a path or inline PEM.
        "certFile" => cert_file: String,
        /// Private key, as a path or inline PEM.
        "keyFile" => key_file: String,
    }
    required: ["certFile", "keyFile"],
}

schema! {
    /// A store of certificates.
    pub struct Store {
        /// Served when no other certificate fits.
        "defaultCertificate" => default_certificate: Option<CertificatePair>,
    }
    not supported yet: ["defaultGeneratedCert"],
}

schema! {
    /// Options of TLS connections from clients.
    pub struct TlsOptions {
        /// `VersionTLS12` or `VersionTLS13`.
        "minVersion" => min_version: Option<String>,
        /// `VersionTLS12` or `VersionTLS13`.
        "maxVersion" => max_version: Option<String>,
        /// Go's names of cipher suites; those of TLS 1.3 cannot be restricted.
        "cipherSuites" => cipher_suites: Vec<String>,
        /// Key exchange groups by Go's or the RFCs' names.
        "curvePreferences" => curve_preferences: Vec<String>,
        /// Certificates of clients.
        "clientAuth" => client_auth: ClientAuth,
        /// Refuses a handshake for which no certificate fits.
        "sniStrict" => sni_strict: bool = false,
        /// Protocols in order of preference.
        "alpnProtocols" => alpn_protocols: Vec<String> = vec!["h2".to_owned(), "http/1.1".to_owned()],
        /// No session tickets.
        "disableSessionTickets" => disable_session_tickets: bool = false,
    }
    without effect: {
        "preferServerCipherSuites" => "it has had none in Traefik since 3.0",
    },
}

schema! {
    /// Certificates of clients.
    pub struct ClientAuth {
        /// CA certificates, as paths or inline PEM.
        "caFiles" => ca_files: Vec<String>,
        /// `NoClientCert`, `RequestClientCert`, `RequireAnyClientCert`, `VerifyClientCertIfGiven` or
        /// `RequireAndVerifyClientCert`, which is the default when there are `caFiles`.
        "clientAuthType" => client_auth_type: Option<String>,
    }
}
