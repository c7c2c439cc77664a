//! The demo's folder: the configuration of the edge, in Traefik's own form, and the secrets that it needs.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::provider::CryptoError;
use super::{CALLBACK, LOGOUT, private_file};

/// Name of the file with the dynamic configuration.
const DYNAMIC: &str = "dynamic.yml";

/// Names and addresses that go into the configuration.
pub(super) struct Wiring {
    pub(super) edge: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) echo: SocketAddr,
    pub(super) issuer: String,
}

/// What must stay the same from one start to the next for a login to outlive the restart.
#[derive(Serialize, Deserialize)]
pub(super) struct Secrets {
    pub(super) client_secret: String,
    session_key: String,
}

/// The demo's folder could not be prepared.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FilesError + '_ {
    |source| FilesError::Io { path: path.to_owned(), source }
}

/// Makes the folder, readable for its owner only.
pub(super) fn make_folder(path: &Path) -> Result<(), FilesError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// The secrets of the last start, or new ones.
pub(super) fn secrets(folder: &Path) -> Result<Secrets, FilesError> {
    let path = folder.join("secrets.json");
    if let Some(known) = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
        return Ok(known);
    }
    let made = Secrets {
        client_secret: super::provider::random_secret()?,
        session_key: super::provider::random_secret()?,
    };
    let text = serde_json::to_vec(&made).map_err(|error| at(&path)(error.into()))?;
    private_file::replace(&path, &text).map_err(at(&path))?;
    Ok(made)
}

/// Writes both configuration files; returns the static one and the dynamic one.
pub(super) fn write(
    folder: &Path,
    wiring: &Wiring,
    secrets: &Secrets,
) -> Result<(PathBuf, PathBuf), FilesError> {
    let fixed = folder.join("portcullis.yml");
    let dynamic = folder.join(DYNAMIC);
    private_file::replace(&dynamic, dynamic_text(wiring, secrets).as_bytes()).map_err(at(&dynamic))?;
    let text = static_text(wiring, folder);
    private_file::replace(&fixed, text.as_bytes()).map_err(at(&fixed))?;
    Ok((fixed, dynamic))
}

/// A YAML string for any path: JSON's double quotes are YAML's.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

fn static_text(wiring: &Wiring, folder: &Path) -> String {
    let (edge, admin) = (wiring.edge, wiring.admin);
    let [dynamic, access_log, sessions] =
        [DYNAMIC, "access.log", "sessions.sqlite"].map(|name| quoted(&folder.join(name)));
    format!(
        r#"# The demo's static configuration, as Traefik v3 reads it. Written anew at every start.
entryPoints:
  web:
    address: "{edge}"
  traefik: # ping, metrics
    address: "{admin}"

providers:
  file:
    filename: {dynamic}
    watch: true # edit that file while the demo runs

# The plugin is built in; the block stands here as a Traefik user has it.
experimental:
  plugins:
    traefikoidc:
      moduleName: github.com/lukaszraczylo/traefikoidc
      version: v1.0.35

ping: {{}}
metrics:
  prometheus: {{}}
log:
  level: ERROR # the console belongs to the demo's own lines
accessLog:
  filePath: {access_log}

# The only block that Traefik does not know: without it the sessions would be among those of a service of this user.
oidc:
  session:
    store:
      sqlite: {{path: {sessions}}}
"#
    )
}

fn dynamic_text(wiring: &Wiring, secrets: &Secrets) -> String {
    let (issuer, echo) = (&wiring.issuer, wiring.echo);
    let Secrets { client_secret, session_key } = secrets;
    let client = super::CLIENT;
    format!(
        r#"# The demo's dynamic configuration, as Traefik v3 reads it. Written anew at every start.
http:
  routers:
    demo:
      entryPoints: [web]
      rule: Host(`localhost`) || Host(`127.0.0.1`)
      middlewares: [login]
      service: echo

  services:
    echo:
      loadBalancer:
        servers:
          - url: http://{echo}

  middlewares:
    login:
      plugin:
        traefikoidc:
          providerURL: {issuer}
          clientID: {client}
          clientSecret: {client_secret}
          sessionEncryptionKey: {session_key}
          callbackURL: {CALLBACK}
          logoutURL: {LOGOUT}
          postLogoutRedirectURI: /public/
          excludedURLs: [/public]
          forceHTTPS: false # the demo has no certificate
          allowPrivateIPAddresses: true # the provider is on this machine
          # Access tokens live half a minute here; refresh in the last ten seconds.
          refreshGracePeriodSeconds: 10
"#
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn wiring() -> Wiring {
        Wiring {
            edge: "127.0.0.1:8080".parse().unwrap(),
            admin: "127.0.0.1:8081".parse().unwrap(),
            echo: "127.0.0.1:9091".parse().unwrap(),
            issuer: "http://127.0.0.1:9090".to_owned(),
        }
    }

    #[test]
    fn both_files_are_yaml_with_the_wiring_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = secrets(folder.path()).unwrap();
        let (fixed, dynamic) = write(folder.path(), &wiring(), &secrets).unwrap();
        let read = |path: &Path| -> serde_json::Value {
            serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
        };
        assert_eq!(read(&fixed)["entryPoints"]["web"]["address"], "127.0.0.1:8080");
        assert_eq!(read(&fixed)["providers"]["file"]["filename"], dynamic.to_str().unwrap());
        let sessions = folder.path().join("sessions.sqlite");
        assert_eq!(read(&fixed)["oidc"]["session"]["store"]["sqlite"]["path"], sessions.to_str().unwrap());
        let plugin = &read(&dynamic)["http"]["middlewares"]["login"]["plugin"]["traefikoidc"];
        assert_eq!(plugin["providerURL"], "http://127.0.0.1:9090");
        assert_eq!(plugin["clientSecret"], secrets.client_secret.as_str());
        assert!(plugin["sessionEncryptionKey"].as_str().unwrap().len() >= 32);
    }

    #[test]
    fn secrets_last_and_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let first = secrets(folder.path()).unwrap();
        let second = secrets(folder.path()).unwrap();
        assert_eq!(first.session_key, second.session_key);
        let mode = fs::metadata(folder.path().join("secrets.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
