//! The demo: an OpenID provider and an echo service of our own on loopback, and the configuration that puts the
//! edge between them. The provider serves the integration tests too.
//!
//! Nothing here is shared with the code that it shows or tests; a mistake there would not be seen otherwise.

mod echo;
mod files;
mod html;
mod private_file;
pub mod provider;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub use echo::Echo;
use provider::{Client, Event, Provider, ProviderError, ProviderOptions};

/// The demo's client at its provider.
const CLIENT: &str = "portcullis-demo";
/// Where the provider sends the browser back to.
const CALLBACK: &str = "/oauth2/callback";
/// What the sign-out button posts to.
const LOGOUT: &str = "/oauth2/logout";

/// How [`prepare`] sets the demo up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder for configuration and memory; none takes the user's state folder (XDG).
    pub folder: Option<PathBuf>,
    /// Port of the edge, which the browser opens.
    pub edge_port: u16,
    /// Port of the edge's ping and metrics.
    pub admin_port: u16,
    /// Port of the OpenID provider.
    pub provider_port: u16,
    /// Port of the echo service.
    pub echo_port: u16,
    /// Life of an access token.
    pub access_token_ttl: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            folder: None,
            edge_port: 8080,
            admin_port: 8081,
            provider_port: 9090,
            echo_port: 9091,
            access_token_ttl: Duration::from_secs(30),
        }
    }
}

/// The demo could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No folder was given and the environment names none.
    #[error("no folder for the demo: set HOME, XDG_STATE_HOME or give one")]
    NoFolder,
    /// The folder or a file in it cannot be written.
    #[error("the demo's folder: {0}")]
    Folder(String),
    /// No port is to be had, or no thread.
    #[error("the demo cannot start: {0}")]
    System(#[from] io::Error),
    /// The OpenID provider cannot start.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

impl From<files::FilesError> for DemoError {
    fn from(error: files::FilesError) -> Self {
        Self::Folder(error.to_string())
    }
}

/// Everything but the edge, which the caller starts with [`Prepared::static_config_path`]. Dropping it ends the
/// provider and the echo service.
pub struct Prepared {
    /// The edge's static configuration (Traefik's form).
    pub static_config_path: PathBuf,
    /// The dynamic configuration that it names.
    pub dynamic_config_path: PathBuf,
    /// Where the demo keeps all its files.
    pub folder: PathBuf,
    /// The address to open in a browser.
    pub address: String,
    /// The OpenID provider.
    pub provider: Provider,
    /// The service behind the edge.
    pub echo: Echo,
    /// What the visitor should know, such as a port that was taken.
    pub notes: Vec<String>,
    runtime: Option<Runtime>,
}

impl Prepared {
    /// The text to print once the edge is up.
    pub fn greeting(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("  Note: {note}\n")).collect();
        format!(
            "\n  Open {}\n\n  OpenID provider  {}\n  Service          http://{}\n  Configuration    {}\n\
             {:19}{}\n{notes}\n  What happens is shown below; Ctrl-C ends the demo.\n",
            self.address,
            self.provider.issuer(),
            self.echo.address(),
            self.static_config_path.display(),
            "",
            self.dynamic_config_path.display(),
        )
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // Not waited for: the caller may itself be on a Tokio thread, where waiting is forbidden.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts the provider and the echo service on a runtime of their own and writes the edge's configuration.
/// Must not be called on a Tokio runtime thread.
///
/// # Errors
/// When the folder cannot be written or no port is to be had.
pub fn prepare(options: &Options) -> Result<Prepared, DemoError> {
    let folder = match &options.folder {
        Some(folder) => folder.clone(),
        None => state_folder().ok_or(DemoError::NoFolder)?,
    };
    files::make_folder(&folder)?;
    let secrets = files::secrets(&folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("demo")
        .enable_all()
        .build()?;
    let mut ports = Ports::default();
    let edge = ports.free("the edge", options.edge_port)?;
    let admin = ports.free("ping and metrics", options.admin_port)?;
    let listen = ports.free("the OpenID provider", options.provider_port)?;
    let echo = ports.free("the echo service", options.echo_port)?;
    let address = format!("http://localhost:{}", edge.port());
    let provider = runtime.block_on(Provider::start(ProviderOptions {
        listen,
        clients: vec![client(&address, &secrets.client_secret)],
        access_token_ttl: options.access_token_ttl,
        state_file: Some(folder.join("provider.json")),
        events: Some(Arc::new(say)),
        ..ProviderOptions::default()
    }))?;
    let echo = runtime.block_on(async { Echo::start(TcpListener::bind(echo).await?, LOGOUT) })?;
    let wiring = files::Wiring { edge, admin, echo: echo.address(), issuer: provider.issuer() };
    let (static_config_path, dynamic_config_path) = files::write(&folder, &wiring, &secrets)?;
    Ok(Prepared {
        static_config_path,
        dynamic_config_path,
        folder,
        address,
        provider,
        echo,
        notes: ports.notes,
        runtime: Some(runtime),
    })
}

/// The edge as the provider knows it. The browser calls it `localhost` and the provider `127.0.0.1`, because cookies
/// do not tell ports apart (RFC 6265 section 8.5) and the two would share one jar.
fn client(address: &str, secret: &str) -> Client {
    Client {
        id: CLIENT.to_owned(),
        secret: secret.to_owned(),
        redirect_uris: vec![format!("{address}{CALLBACK}")],
        post_logout_redirect_uris: ["/public/", "/", CALLBACK, LOGOUT]
            .map(|path| format!("{address}{path}"))
            .to_vec(),
    }
}

/// One line for one event, with the time of day.
fn say(event: &Event) {
    let time = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
    // A console that is gone is no reason to stop.
    let _ = writeln!(io::stdout().lock(), "{time}  {event}");
}

fn state_folder() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = from("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| from("HOME").map(|home| home.join(Path::new(".local/state"))))?;
    Some(state.join("portcullis").join("demo"))
}

/// Hands out ports: the wanted one, or a free one with a note.
#[derive(Default)]
struct Ports {
    notes: Vec<String>,
    taken: Vec<u16>,
}

impl Ports {
    fn free(&mut self, for_what: &str, wanted: u16) -> io::Result<SocketAddr> {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, wanted));
        let given = match StdListener::bind(wanted).and_then(|listener| listener.local_addr()) {
            Ok(free) if !self.taken.contains(&free.port()) => free,
            _ => {
                let other = self.another()?;
                let note = format!("port {} is taken; {for_what} is on {}", wanted.port(), other.port());
                self.notes.push(note);
                other
            }
        };
        self.taken.push(given.port());
        Ok(given)
    }

    /// A port that the system says is free and that was not handed out before.
    fn another(&self) -> io::Result<SocketAddr> {
        for _ in 0..100 {
            let free = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            if !self.taken.contains(&free.port()) {
                return Ok(free);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_and_said() {
        let blocker = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = blocker.local_addr().unwrap().port();
        let mut ports = Ports::default();
        let given = ports.free("the edge", port).unwrap();
        assert_ne!(given.port(), port);
        assert_eq!(ports.notes.len(), 1);
    }

    #[test]
    fn the_demo_prepares_twice_in_one_folder() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            folder: Some(folder.path().to_owned()),
            edge_port: 0,
            admin_port: 0,
            provider_port: 0,
            echo_port: 0,
            ..Options::default()
        };
        drop(prepare(&options).unwrap());
        let second = prepare(&options).unwrap();
        assert!(second.static_config_path.exists());
        assert!(second.greeting().contains(&second.address));
        assert!(second.notes.is_empty(), "{:?}", second.notes);
    }
}
