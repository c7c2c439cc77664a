//! PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`): where a connection really
//! comes from, as a load balancer in front says it.
//!
//! The header is optional, as in Traefik: a connection that does not begin with one is served as
//! it is. A peer that is not trusted may send one too; it is taken off the stream and not
//! believed. A header that is begun and cannot be read ends the connection.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, its line end included (section 2.1).
const V1_MAX: usize = 107;
/// Fixed part of version 2.
const V2_FIXED: usize = 16;
/// Longest body of version 2 that is accepted: addresses and extensions. The format allows 64 KiB;
/// what load balancers send stays far below this.
const V2_MAX_BODY: usize = 4096;

/// Most bytes that [`parse`] needs to see before it decides.
pub const MAX_HEADER: usize = V2_FIXED + V2_MAX_BODY;

/// What the beginning of a connection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// Too little to tell.
    Incomplete,
    /// No PROXY header: every byte belongs to the application.
    Absent,
    /// A header of `len` bytes.
    Header {
        /// Bytes to take off the stream.
        len: usize,
        /// What it says.
        origin: Origin,
    },
}

/// What a PROXY header says about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `LOCAL`, `UNKNOWN` or an address family without ports: the addresses of the TCP connection
    /// stand. Health checks of load balancers look like this.
    Unchanged,
    /// The client and the address that it connected to.
    Client {
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
}

/// A PROXY header that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProxyError {
    /// Longer than the format or our bound allows.
    #[error("the PROXY header is too long")]
    TooLong,
    /// Not what the format says.
    #[error("the PROXY header is malformed")]
    Malformed,
}

/// Looks for a PROXY header at the beginning of `input`. Never reads further than [`MAX_HEADER`].
///
/// # Errors
/// [`ProxyError`] when a header begins and is not well-formed.
pub fn parse(input: &[u8]) -> Result<Parsed, ProxyError> {
    if input.starts_with(V2_SIGNATURE) {
        return version_2(input);
    }
    if input.starts_with(V1_SIGNATURE) {
        return version_1(input);
    }
    let may_become = V2_SIGNATURE.starts_with(input) || V1_SIGNATURE.starts_with(input);
    Ok(if may_become { Parsed::Incomplete } else { Parsed::Absent })
}

fn version_1(input: &[u8]) -> Result<Parsed, ProxyError> {
    let window = input.get(..V1_MAX).unwrap_or(input);
    let Some(end) = memchr::memmem::find(window, b"\r\n") else {
        return if input.len() < V1_MAX { Ok(Parsed::Incomplete) } else { Err(ProxyError::TooLong) };
    };
    let len = end.saturating_add(2);
    // `ppp` cuts behind a CR, also in the middle of a character.
    let line =
        input.get(..len).filter(|line| line.is_ascii()).and_then(|line| std::str::from_utf8(line).ok());
    let header = line.and_then(|line| ppp::v1::Header::try_from(line).ok()).ok_or(ProxyError::Malformed)?;
    let origin = match header.addresses {
        ppp::v1::Addresses::Unknown => Origin::Unchanged,
        ppp::v1::Addresses::Tcp4(a) => {
            client_4((a.source_address, a.source_port), (a.destination_address, a.destination_port))
        }
        ppp::v1::Addresses::Tcp6(a) => {
            client_6((a.source_address, a.source_port), (a.destination_address, a.destination_port))
        }
    };
    Ok(Parsed::Header { len, origin })
}

fn version_2(input: &[u8]) -> Result<Parsed, ProxyError> {
    let Some(fixed) = input.get(..V2_FIXED) else { return Ok(Parsed::Incomplete) };
    let body = match fixed {
        [.., high, low] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => return Ok(Parsed::Incomplete),
    };
    if body > V2_MAX_BODY {
        return Err(ProxyError::TooLong);
    }
    let len = V2_FIXED.saturating_add(body);
    let Some(whole) = input.get(..len) else { return Ok(Parsed::Incomplete) };
    let header = ppp::v2::Header::try_from(whole).map_err(|_| ProxyError::Malformed)?;
    let origin = match (header.command, header.addresses) {
        (ppp::v2::Command::Local, _) => Origin::Unchanged,
        (ppp::v2::Command::Proxy, ppp::v2::Addresses::IPv4(a)) => {
            client_4((a.source_address, a.source_port), (a.destination_address, a.destination_port))
        }
        (ppp::v2::Command::Proxy, ppp::v2::Addresses::IPv6(a)) => {
            client_6((a.source_address, a.source_port), (a.destination_address, a.destination_port))
        }
        (ppp::v2::Command::Proxy, _) => Origin::Unchanged,
    };
    Ok(Parsed::Header { len, origin })
}

fn client_4(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Origin {
    Origin::Client { source: source.into(), destination: destination.into() }
}

fn client_6(source: (Ipv6Addr, u16), destination: (Ipv6Addr, u16)) -> Origin {
    // A dual-stack balancer announces IPv4 clients in their mapped form.
    let canonical = |(ip, port): (Ipv6Addr, u16)| SocketAddr::new(ip.to_canonical(), port);
    Origin::Client { source: canonical(source), destination: canonical(destination) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(source: &str, destination: &str) -> Origin {
        Origin::Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut out = V2_SIGNATURE.to_vec();
        out.extend([0x20 | command, family]);
        out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn version_1_lines() {
        let line = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n";
        let mut stream = line.to_vec();
        stream.extend(b"GET / HTTP/1.1\r\n");
        let origin = client("203.0.113.9:4711", "10.0.0.1:443");
        assert_eq!(parse(&stream), Ok(Parsed::Header { len: line.len(), origin }));

        let line = b"PROXY TCP6 2001:db8::9 ::1 4711 443\r\n";
        let origin = client("[2001:db8::9]:4711", "[::1]:443");
        assert_eq!(parse(line), Ok(Parsed::Header { len: line.len(), origin }));

        for unknown in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ffff:f::1 ::1 65535 65535\r\n"] {
            let expected = Parsed::Header { len: unknown.len(), origin: Origin::Unchanged };
            assert_eq!(parse(unknown), Ok(expected));
        }
    }

    #[test]
    fn version_2_headers() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];
        let header = v2(1, 0x11, &v4);
        let origin = client("203.0.113.9:4711", "10.0.0.1:443");
        assert_eq!(parse(&header), Ok(Parsed::Header { len: header.len(), origin }));
        // LOCAL with addresses, and an unspecified family, leave the connection as it is.
        for local in [v2(0, 0x11, &v4), v2(0, 0, &[]), v2(1, 0, &[])] {
            let expected = Parsed::Header { len: local.len(), origin: Origin::Unchanged };
            assert_eq!(parse(&local), Ok(expected));
        }
        // Extensions count into the length.
        let mut with_tlv = v4.to_vec();
        with_tlv.extend([0x04, 0, 3, b'a', b'b', b'c']);
        let header = v2(1, 0x11, &with_tlv);
        assert_eq!(parse(&header), Ok(Parsed::Header { len: header.len(), origin }));
    }

    #[test]
    fn a_mapped_client_is_ipv4() {
        let line = b"PROXY TCP6 ::ffff:203.0.113.9 ::ffff:10.0.0.1 4711 443\r\n";
        let origin = client("203.0.113.9:4711", "10.0.0.1:443");
        assert_eq!(parse(line), Ok(Parsed::Header { len: line.len(), origin }));
    }

    #[test]
    fn no_header_is_no_error() {
        for other in [&b"GET / HTTP/1.1\r\n"[..], &[0x16, 3, 1], b"PRI * HTTP/2.0\r\n", b"\r\nGET"] {
            assert_eq!(parse(other), Ok(Parsed::Absent));
        }
    }

    #[test]
    fn bad_headers_are_refused() {
        assert_eq!(parse(&[b"PROXY TCP4 ", &[b'1'; 200][..]].concat()), Err(ProxyError::TooLong));
        for bad in [
            &b"PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n"[..],
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 70000\r\n",
            b"PROXY TCP4 ::1 ::1 1 1\r\n",
            b"PROXY / HTTP/1.1\r\n",
            b"PROXY TCP4 \xff 10.0.0.1 1 1\r\n",
            "PROXY UNKNOWN \r\u{39e}\r\n".as_bytes(),
        ] {
            assert_eq!(parse(bad), Err(ProxyError::Malformed), "{}", bad.escape_ascii());
        }
        let mut version_3 = v2(1, 0x11, &[0; 12]);
        version_3[12] = 0x31;
        assert_eq!(parse(&version_3), Err(ProxyError::Malformed));
        assert_eq!(parse(&v2(1, 0x11, &[0; 4])), Err(ProxyError::Malformed));
        assert_eq!(parse(&v2(1, 0x11, &[0; 5000])), Err(ProxyError::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_bounded(input in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Parsed::Header { len, .. }) = parse(&input) {
                prop_assert!(len <= input.len());
            }
        }

        #[test]
        fn anything_behind_a_signature_is_bounded(
            second in any::<bool>(),
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let signature = if second { V2_SIGNATURE } else { V1_SIGNATURE };
            let input = [signature, &rest].concat();
            if let Ok(Parsed::Header { len, .. }) = parse(&input) {
                prop_assert!(len <= input.len());
            }
        }

        #[test]
        fn a_header_reads_the_same_however_it_arrives(
            source in any::<(u32, u16)>(), destination in any::<(u32, u16)>(), v1 in any::<bool>(),
        ) {
            let (s, d) = (Ipv4Addr::from(source.0), Ipv4Addr::from(destination.0));
            let header = if v1 {
                format!("PROXY TCP4 {s} {d} {} {}\r\n", source.1, destination.1).into_bytes()
            } else {
                let mut body = [s.octets(), d.octets()].concat();
                body.extend(source.1.to_be_bytes());
                body.extend(destination.1.to_be_bytes());
                v2(1, 0x11, &body)
            };
            for cut in 0..header.len() {
                prop_assert_eq!(parse(&header[..cut]), Ok(Parsed::Incomplete));
            }
            let origin = Origin::Client { source: (s, source.1).into(), destination: (d, destination.1).into() };
            prop_assert_eq!(parse(&header), Ok(Parsed::Header { len: header.len(), origin }));
        }
    }
}
