//! `basicAuth`: HTTP Basic authentication (RFC 7617).

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Exchange, Flow, config, set_header};
use crate::config::{Fault, Faults};
use crate::net::headers::same_name;
use crate::net::{LocalResponse, Text};

mod hash;
mod verifier;

use hash::Hash;
use verifier::Verifier;

/// The largest `usersFile`, in bytes.
const MAX_USERS_FILE: u64 = 16 << 20;
/// The longest password that is looked at, in bytes; MD5 crypt hashes it a thousand times.
const MAX_PASSWORD: usize = 1024;

/// See the [module](self).
#[derive(Debug)]
pub struct BasicAuth {
    users: HashMap<String, User>,
    /// Compared for unknown users, so that they take as long as known ones.
    decoy: Arc<Hash>,
    verifier: Verifier,
    challenge: HeaderValue,
    remove_header: bool,
    header_field: Option<(HeaderName, Bytes)>,
}

#[derive(Debug)]
struct User {
    name: Text,
    header: HeaderValue,
    hash: Arc<Hash>,
}

struct Credentials {
    user: String,
    password: SecretString,
}

impl BasicAuth {
    /// Reads `usersFile` too, once: changes to it count from the next change of the configuration, as in Traefik.
    ///
    /// # Errors
    /// No user, lines that are not `name:hash`, an unreadable file, a realm or header that cannot be sent.
    pub fn new(config: &config::BasicAuth) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let users = users(config, &mut faults);
        let realm = if config.realm.is_empty() { "traefik" } else { &config.realm };
        let challenge = format!("Basic realm=\"{}\"", realm.replace('\\', "\\\\").replace('"', "\\\""));
        let bad = |_| Fault::new("realm", "holds characters that a header cannot");
        let challenge = faults.gather(HeaderValue::try_from(challenge).map_err(bad));
        let header_field = config.header_field.as_deref().filter(|name| !name.is_empty());
        let header_field = header_field.map(|name| {
            let bad = |_| Fault::new("headerField", format!("{name:?} is not a header name"));
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(bad);
            parsed.map(|parsed| (parsed, Bytes::copy_from_slice(name.as_bytes())))
        });
        let header_field = faults.gather(header_field.transpose());
        let verifier = faults.gather(Verifier::new());
        let decoy = users.values().next().map(|user| user.hash.clone());
        match (decoy, challenge, header_field, verifier) {
            (Some(decoy), Some(challenge), Some(header_field), Some(verifier)) if faults.0.is_empty() => {
                Ok(Self {
                    users,
                    decoy,
                    verifier,
                    challenge,
                    remove_header: config.remove_header,
                    header_field,
                })
            }
            _ => Err(faults),
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let mut names: Vec<&str> = self
            .users
            .values()
            .filter(|user| matches!(*user.hash, Hash::Unknown))
            .map(|user| &*user.name)
            .collect();
        names.sort_unstable();
        let warning = |name: &&str| {
            format!(
                "basicAuth: the hash of user {name:?} is neither bcrypt nor apr1 nor {{SHA}}: this user cannot log in"
            )
        };
        names.iter().map(warning).collect()
    }

    pub(super) async fn on_request(&self, exchange: &mut Exchange<'_>) -> Flow {
        let credentials = credentials(&exchange.request.headers);
        let user = match &credentials {
            Some(credentials) => self.check(credentials).await,
            None => None,
        };
        let Some(user) = user else {
            // For the log only, where it helps to see who failed.
            exchange.state.user = credentials.map(|credentials| credentials.user.into());
            return Flow::Respond(self.refusal());
        };
        exchange.state.user = Some(user.name.clone());
        if self.remove_header {
            exchange.request.remove_header(&AUTHORIZATION);
        }
        if let Some((name, wire)) = &self.header_field {
            // Also in other spellings, which many services cannot tell from the real one.
            let copies: Vec<HeaderName> = exchange
                .request
                .headers
                .keys()
                .filter(|sent| same_name(name.as_str(), sent.as_str()))
                .cloned()
                .collect();
            for copy in &copies {
                exchange.request.remove_header(copy);
            }
            set_header!(exchange.request, insert_header, wire.clone(), user.header.clone());
        }
        Flow::Continue
    }

    async fn check(&self, credentials: &Credentials) -> Option<&User> {
        let user = self.users.get(&credentials.user);
        let hash = user.map_or(&self.decoy, |user| &user.hash);
        let fits = self.verifier.check(&credentials.user, &credentials.password, hash).await;
        user.filter(|_| fits)
    }

    fn refusal(&self) -> LocalResponse {
        LocalResponse::text(StatusCode::UNAUTHORIZED, "401 Unauthorized\n")
            .with_header(WWW_AUTHENTICATE, self.challenge.clone())
    }
}

/// What `Authorization` holds; `None` for another scheme and for anything malformed or too long.
fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim_start_matches(' ')).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    if user.len() > MAX_PASSWORD || password.len() > MAX_PASSWORD {
        return None;
    }
    Some(Credentials { user: user.to_owned(), password: SecretString::from(password) })
}

/// The users of the file and of the list, which come last.
fn users(config: &config::BasicAuth, faults: &mut Faults) -> HashMap<String, User> {
    let path = config.users_file.as_deref().filter(|path| !path.is_empty());
    let text = path.and_then(|path| faults.gather(read(path)));
    let lines = (1..).zip(text.as_deref().unwrap_or_default().lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let of_file = lines.map(|(number, line)| {
        let place = format!("{}, line {number}", path.unwrap_or_default());
        user(line).map_err(|fault| Fault::new("usersFile", format!("{place} {fault}")))
    });
    let of_list = config.users.iter().enumerate().map(|(index, line)| {
        user(line.expose_secret()).map_err(|fault| Fault::new(format!("users[{index}]"), fault))
    });
    let users: HashMap<_, _> = of_file
        .chain(of_list)
        .filter_map(|user| faults.gather(user))
        .map(|user| (user.name.to_string(), user))
        .collect();
    if users.is_empty() && faults.0.is_empty() {
        faults.0.push(Fault::new("", "no users"));
    }
    users
}

fn read(path: &str) -> Result<String, Fault> {
    let mut text = String::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(MAX_USERS_FILE + 1).read_to_string(&mut text));
    let read = read.map_err(|error| Fault::new("usersFile", format!("{path}: {error}")))?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MAX_USERS_FILE {
        return Err(Fault::new("usersFile", format!("{path} is larger than {MAX_USERS_FILE} bytes")));
    }
    Ok(text)
}

/// Reads `name:hash`. The messages hold neither, because a slip may put a password there.
fn user(line: &str) -> Result<User, &'static str> {
    let (name, hash) = line
        .split_once(':')
        .filter(|(_, hash)| !hash.contains(':'))
        .ok_or("is not name:hash with exactly one colon")?;
    let header = HeaderValue::from_str(name).map_err(|_| "has a name that a header cannot hold")?;
    Ok(User { name: name.into(), header, hash: Arc::new(Hash::parse(hash)) })
}

#[cfg(test)]
mod tests;
