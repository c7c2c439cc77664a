//! Addresses of entry points.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Reads `[host]:port[/tcp]`; no host means every address.
///
/// # Errors
/// What is wrong, as a sentence. UDP is not supported yet.
pub fn parse(address: &str) -> Result<SocketAddr, String> {
    let (host_port, protocol) =
        address.split_once('/').map_or((address, "tcp"), |(a, protocol)| (a, protocol));
    match protocol {
        "tcp" => {}
        "udp" => return Err("UDP is not supported yet".to_owned()),
        other => return Err(format!("expected /tcp or /udp after the port, found `/{other}`")),
    }
    let expected = || format!("expected [host]:port, found `{address}`");
    let (host, port) = host_port.rsplit_once(':').ok_or_else(expected)?;
    let port = port.parse().map_err(|_| expected())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let ip = match host {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        host => host.parse().map_err(|_| format!("`{host}` is not an IP address of this machine"))?,
    };
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(parse(":80"), Ok("[::]:80".parse().unwrap()));
        assert_eq!(parse("127.0.0.1:8080/tcp"), Ok("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(parse("[::1]:443"), Ok("[::1]:443".parse().unwrap()));
        for wrong in ["80", ":", ":99999", ":80/udp", ":80/sctp", "example.com:80"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
