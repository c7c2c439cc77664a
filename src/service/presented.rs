//! Servers that present a certificate which is its own authority.
//!
//! The engine verifies by webpki, which takes no certificate that may sign others from a server, and has no place for
//! another verifier. Where `rootCAs` lists such a certificate and it names the server, connections are made without the
//! engine's verification; the certificate is compared here, on every use of a connection and before anything of a request
//! is sent on it. That the server holds its key, TLS has proven by then.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::tls::{self, Validity};

/// The listed certificates that one server may present.
#[derive(Debug)]
pub(super) struct Presented {
    /// By their SHA-256, under which the engine reports what it has seen.
    certificates: Vec<([u8; 32], Validity)>,
    /// Whether one of them is expected, or one that an authority has signed.
    expected: AtomicBool,
}

impl Presented {
    /// `None` unless one of `authorities` names the server `name` and could not be verified by the engine.
    pub(super) fn new<'a>(authorities: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<Self> {
        let name = ServerName::try_from(name).ok()?;
        let of_server = |der: &[u8]| {
            let certificate = CertificateDer::from(der);
            let validity = tls::fits_server(&certificate, &name).ok()?;
            let hash = digest(&SHA256, der).as_ref().try_into().ok()?;
            tls::may_sign(&certificate).then_some((hash, validity))
        };
        let certificates: Vec<_> = authorities.filter_map(of_server).collect();
        (!certificates.is_empty()).then_some(Self { certificates, expected: AtomicBool::new(true) })
    }

    /// Prepares `peer` for a server that presents one of them.
    pub(super) fn prepare(&self, peer: &mut HttpPeer) {
        // Part of what tells connections apart in the pool: verified ones are never mixed with these.
        let expected = self.expected.load(Ordering::Relaxed);
        peer.options.verify_cert = !expected;
        peer.options.verify_hostname = !expected;
    }

    /// Whether a connection that was made for `peer` may be used. After a no, the engine verifies the next one.
    pub(super) fn admits(&self, peer: &HttpPeer, connection: Option<&Digest>) -> bool {
        if peer.options.verify_cert {
            return true;
        }
        let seen = connection.and_then(|digest| digest.ssl_digest.as_ref());
        let now = UnixTime::now();
        let admitted = seen.is_some_and(|seen| {
            let same = |(hash, _): &&([u8; 32], Validity)| seen.cert_digest.as_slice() == hash.as_slice();
            self.certificates.iter().find(same).is_some_and(|(_, validity)| validity.check(now).is_ok())
        });
        if !admitted {
            self.expected.store(false, Ordering::Relaxed);
        }
        admitted
    }

    /// The engine refused what the server showed to `peer`: one of these is expected next. False if it was already.
    pub(super) fn expect(&self, peer: &HttpPeer) -> bool {
        if peer.options.verify_cert {
            self.expected.store(true, Ordering::Relaxed);
        }
        peer.options.verify_cert
    }
}
