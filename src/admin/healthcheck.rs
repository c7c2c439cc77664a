//! `portcullis healthcheck`: asks the running process for `/ping`, as container health checks do.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use super::routes::implicit_entry_point;
use crate::config::StaticConfig;

/// For the whole exchange, as in Traefik.
const PATIENCE: Duration = Duration::from_secs(5);
/// The status line is all that is read.
const MOST_BYTES: u64 = 1024;

/// Why the process does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// There is nothing to ask.
    #[error("ping is not enabled: add `ping: {{}}` to the static configuration")]
    PingDisabled,
    /// `ping.entryPoint` names nothing.
    #[error("ping.entryPoint: there is no entry point `{0}`")]
    UnknownEntryPoint(String),
    /// The health check speaks plain HTTP.
    #[error("ping.entryPoint: `{0}` speaks TLS; give ping a plain entry point")]
    Tls(String),
    /// The address cannot be asked.
    #[error("entryPoints.{entry_point}.address: `{address}` is not [host]:port")]
    Address {
        /// The entry point.
        entry_point: String,
        /// Its address.
        address: String,
    },
    /// Nobody answers.
    #[error("no answer from {url}: {error}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What went wrong.
        error: io::Error,
    },
    /// The process is there and says no.
    #[error("bad healthcheck status: {0}")]
    Status(String),
}

/// Runs the health check and prints its result. 0 if healthy, else 1.
pub fn healthcheck_command(config: &StaticConfig) -> ExitCode {
    // A closed pipe must not turn the verdict around.
    match healthcheck(config) {
        Ok(url) => {
            let _ = writeln!(io::stdout(), "OK: {url}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Asks for `/ping` at the entry point of `ping`; the URL that answered 200. Blocks for at most 5 s per address.
///
/// # Errors
/// No ping configured, nobody listening, or a status other than 200.
pub fn healthcheck(config: &StaticConfig) -> Result<String, HealthcheckError> {
    let ping = config.ping.as_ref().ok_or(HealthcheckError::PingDisabled)?;
    let name = &ping.entry_point;
    let implicit = implicit_entry_point(config).filter(|(implicit, _)| implicit == name);
    let entry_point = config
        .entry_points
        .get(name)
        .cloned()
        .or(implicit.map(|(_, entry_point)| entry_point))
        .ok_or_else(|| HealthcheckError::UnknownEntryPoint(name.clone()))?;
    if entry_point.http.tls.as_ref().is_some() {
        return Err(HealthcheckError::Tls(name.clone()));
    }
    let address = dial_address(&entry_point.address).ok_or_else(|| HealthcheckError::Address {
        entry_point: name.clone(),
        address: entry_point.address.clone(),
    })?;
    let url = format!("http://{address}/ping");
    let status = ask(&address).map_err(|error| HealthcheckError::Unreachable { url: url.clone(), error })?;
    let code = status.split_ascii_whitespace().nth(1);
    if code == Some("200") { Ok(url) } else { Err(HealthcheckError::Status(status)) }
}

/// Where to reach `[host]:port[/tcp]` from this machine: a wildcard becomes the loopback address.
fn dial_address(address: &str) -> Option<String> {
    let address = address.strip_suffix("/tcp").unwrap_or(address);
    let (host, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    if host.is_empty() {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string());
    }
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => {
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string())
        }
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => {
            Some(SocketAddr::from((Ipv6Addr::LOCALHOST, port)).to_string())
        }
        Ok(ip) => Some(SocketAddr::from((ip, port)).to_string()),
        Err(_) => Some(format!("{host}:{port}")),
    }
}

/// The status line of `GET /ping`.
fn ask(address: &str) -> io::Result<String> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in address.to_socket_addrs()? {
        match ask_at(candidate, address) {
            Ok(status) => return Ok(status),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask_at(address: SocketAddr, host: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /ping HTTP/1.1\r\nHost: {host}\r\nUser-Agent: portcullis-healthcheck\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut stream = stream.take(MOST_BYTES);
    let mut chunk = [0; 256];
    while !answer.contains(&b'\n') {
        match stream.read(&mut chunk)? {
            0 => break,
            read => answer.extend(chunk.iter().take(read)),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let line = text.lines().next().unwrap_or_default();
    if line.starts_with("HTTP/1.") {
        Ok(line.to_owned())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::config::Presence;
    use crate::config::entry_point::EntryPoint;
    use crate::config::telemetry::Ping;

    fn config(address: &str) -> StaticConfig {
        let entry_point = EntryPoint { address: address.into(), ..EntryPoint::default() };
        StaticConfig {
            ping: Presence(Some(Ping::default())),
            entry_points: [("traefik".to_owned(), entry_point)].into(),
            ..StaticConfig::default()
        }
    }

    /// What the health check says to a server that answers `answer`.
    fn asked(answer: &'static str) -> Result<String, HealthcheckError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 11];
            stream.read_exact(&mut request).unwrap();
            assert_eq!(&request, b"GET /ping H");
            stream.write_all(answer.as_bytes()).unwrap();
            // Closing before everything is read would reset the connection and the answer with it.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        });
        let result = healthcheck(&config(&format!(":{port}")));
        server.join().unwrap();
        result
    }

    #[test]
    fn only_200_is_healthy() {
        assert!(asked("HTTP/1.1 200 OK\r\n\r\nOK").unwrap().starts_with("http://127.0.0.1:"));
        let draining = asked("HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err();
        assert_eq!(draining.to_string(), "bad healthcheck status: HTTP/1.1 503 Service Unavailable");
        assert!(matches!(asked("SSH-2.0-x\r\n"), Err(HealthcheckError::Unreachable { .. })));
    }

    #[test]
    fn what_cannot_be_asked_is_named() {
        let off = StaticConfig::default();
        assert!(matches!(healthcheck(&off), Err(HealthcheckError::PingDisabled)));
        let ping = Ping { entry_point: "web".into(), ..Ping::default() };
        let unknown = StaticConfig { ping: Presence(Some(ping)), ..config(":1") };
        assert!(
            matches!(healthcheck(&unknown), Err(HealthcheckError::UnknownEntryPoint(name)) if name == "web")
        );
        assert!(matches!(healthcheck(&config("nonsense")), Err(HealthcheckError::Address { .. })));
    }

    #[test]
    fn wildcards_become_loopback() {
        for (address, dialled) in [
            (":8080", "127.0.0.1:8080"),
            ("0.0.0.0:8080/tcp", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("localhost:80", "localhost:80"),
        ] {
            assert_eq!(dial_address(address).as_deref(), Some(dialled));
        }
        assert_eq!(dial_address("8080"), None);
        assert_eq!(dial_address(":http"), None);
    }
}
