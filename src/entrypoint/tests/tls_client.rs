//! TLS clients of several kinds.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::harness::{Client, connect};
use crate::config::tls::Certificate;

/// A self-signed certificate for `names`, inline.
pub(super) fn pair(names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    Certificate { cert_file: made.cert.pem(), key_file: made.signing_key.serialize_pem(), stores: Vec::new() }
}

pub(super) fn der(certificate: &Certificate) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(certificate.cert_file.as_bytes()).unwrap()
}

/// How a client connects.
#[derive(Clone)]
pub(super) struct Tls {
    roots: RootCertStore,
    alpn: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    certificate: Option<Certificate>,
    pub(super) session: Option<rustls::client::Resumption>,
}

impl Tls {
    pub(super) fn trusting(certificates: &[&Certificate]) -> Self {
        let mut roots = RootCertStore::empty();
        certificates.iter().for_each(|certificate| roots.add(der(certificate)).unwrap());
        let versions = rustls::ALL_VERSIONS.to_vec();
        Self { roots, alpn: Vec::new(), versions, certificate: None, session: None }
    }

    pub(super) fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    pub(super) fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub(super) fn with(mut self, certificate: &Certificate) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }

    pub(super) fn config(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.certificate {
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.key_file.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![der(own)], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        if let Some(session) = &self.session {
            config.resumption = session.clone();
        }
        config
    }

    pub(super) async fn over(
        &self,
        tcp: TcpStream,
        name: &str,
    ) -> std::io::Result<Client<TlsStream<TcpStream>>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(self.config()));
        connector.connect(name, tcp).await.map(Client)
    }

    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> std::io::Result<Client<TlsStream<TcpStream>>> {
        self.over(connect(address).await.0, name).await
    }

    /// What a request is told; an error if the handshake or the request fails.
    pub(super) async fn facts(&self, address: SocketAddr, name: &str) -> Result<String, String> {
        let mut client = self.connect(address, name).await.map_err(|e| e.to_string())?;
        // A refused client certificate of TLS 1.3 shows only after the handshake.
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let rest = client.rest().await;
        rest.rsplit_once("\r\n\r\n").map(|(_, body)| body.to_owned()).ok_or_else(|| "cut".to_owned())
    }

    /// The certificate that the server shows, whoever issued it.
    pub(super) async fn any_certificate(&self, address: SocketAddr, name: &str) -> CertificateDer<'static> {
        let mut config = self.config();
        config.dangerous().set_certificate_verifier(Arc::new(Any));
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = connector.connect(name, connect(address).await.0).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

/// Believes every certificate.
#[derive(Debug)]
struct Any;

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
