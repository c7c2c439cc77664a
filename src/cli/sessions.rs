//! `portcullis sessions`: lists and revokes sessions, by the file that the running process uses.
//!
//! The process learns of a revocation within a quarter of a second. It need not run, and needs no API.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::check;
use crate::config::Loaded;
use crate::config::dynamic::DynamicConfig;
use crate::observe::{AuditLog, Metrics};
use crate::oidc::SessionDesk;
use crate::oidc::session::{SessionKey, SessionView};
use crate::provider::file::{self, Source};
use crate::runtime::{compile, session_file};

const USAGE: &str = "\
Usage:
  portcullis sessions list [--user=SUBJECT] [--configFile=FILE ...]
  portcullis sessions revoke ID [--configFile=FILE ...]
  portcullis sessions revoke --user=SUBJECT [--configFile=FILE ...]
  portcullis sessions revoke --all [--configFile=FILE ...]

Run it as the user of the service and with its STATE_DIRECTORY. A stored session tells nobody whose it is, so users
are found by the subject (`sub`) that the OpenID provider gives them; the API also knows names.
";

/// Sessions that are read at once.
const PAGE: usize = 500;

/// How long the last lines of the audit log may take.
const FLUSH: Duration = Duration::from_secs(2);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    List(Option<String>),
    Revoke(SessionKey),
    RevokeUser(String),
    RevokeAll,
}

/// Carries out what `arguments` say; `load` reads the configuration from those that are not ours.
pub fn main(arguments: &[String], load: impl FnOnce(&[String]) -> Result<Loaded, String>) -> ExitCode {
    let done = match parse(arguments) {
        Ok((order, rest)) => load(&rest).and_then(|loaded| carry_out(&loaded, order)),
        Err(message) => Err(message),
    };
    match done {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// The order, and the arguments that are the configuration's.
///
/// # Errors
/// How it is used, or what is wrong with an id.
fn parse(arguments: &[String]) -> Result<(Order, Vec<String>), String> {
    let (verb, rest) = arguments.split_first().ok_or(USAGE)?;
    let (mut user, mut all, mut id, mut others) = (None, false, None, Vec::new());
    for argument in rest {
        match argument.strip_prefix("--user=") {
            Some(name) => user = Some(name.to_owned()),
            None if argument == "--all" => all = true,
            None if argument.starts_with("--") => others.push(argument.clone()),
            None => id = Some(SessionKey::parse(argument).ok_or_else(|| no_id(argument))?),
        }
    }
    let order = match (verb.as_str(), id, user, all) {
        ("list", None, user, false) => Order::List(user),
        ("revoke", Some(id), None, false) => Order::Revoke(id),
        ("revoke", None, Some(user), false) => Order::RevokeUser(user),
        ("revoke", None, None, true) => Order::RevokeAll,
        _ => return Err(USAGE.to_owned()),
    };
    Ok((order, others))
}

/// What stands in logs is only the beginning.
fn no_id(argument: &str) -> String {
    format!(
        "`{argument}` is no session id: that has 64 hexadecimal digits, and `portcullis sessions list` shows it"
    )
}

fn carry_out(loaded: &Loaded, order: Order) -> Result<String, String> {
    // Made anew by whoever runs this, the file would be closed to the service.
    let missing = |file: &PathBuf| !file.exists();
    if let Some(file) = session_file(&loaded.config)?.filter(missing) {
        return Err(format!("there is no session store at {}", file.display()));
    }
    // Never driven: the metadata of OpenID providers is not fetched.
    let idle = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let idle = idle.map_err(|error| error.to_string())?;
    let inside = idle.enter();
    let audit = audit(loaded)?;
    let kept = check::kept(loaded, idle.handle())?.default_store(&loaded.config).with_audit(audit.clone());
    let dynamic = match loaded.config.providers.file.as_ref().and_then(Source::new) {
        Some(source) => file::load(&source).outcome().map_err(|errors| errors.to_string())?.config,
        None => Arc::new(DynamicConfig::default()),
    };
    // The policies tell under which names the store keeps a user's sessions.
    let _policies = compile(0, &loaded.config, &dynamic, file::NAME, &kept);
    drop(inside);
    let desk = kept.admin.desk().ok_or("no OIDC middleware is configured")?.clone();
    if let Some(store) = kept.stores().all().iter().find(|store| !store.is_file) {
        return Err(format!(
            "{}: ask the API of the running process, /api/portcullis/sessions",
            store.component()
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| error.to_string())?;
    // The store answers from threads of its own.
    let told = runtime.block_on(execute(&desk, order))?;
    if let Some(audit) = audit {
        audit.flush(FLUSH);
    }
    Ok(told)
}

/// The audit log of the configuration, if it is a file: standard output is ours here.
fn audit(loaded: &Loaded) -> Result<Option<Arc<AuditLog>>, String> {
    let Some(config) = loaded.config.oidc.audit.as_ref().filter(|audit| audit.file_path.is_some()) else {
        return Ok(None);
    };
    let metrics = Metrics::new(None).map_err(|error| error.to_string())?;
    AuditLog::open(config, metrics.log_lines_dropped("audit"))
        .map(|log| Some(Arc::new(log)))
        .map_err(|error| format!("oidc.audit: {error}"))
}

async fn execute(desk: &SessionDesk, order: Order) -> Result<String, String> {
    let told = match order {
        Order::List(Some(user)) => desk.directory.of_user(&user).await.map(|views| table(&views)),
        Order::List(None) => list_all(desk).await,
        Order::Revoke(key) => match desk.revoke(&key).await {
            Ok(true) => Ok("1 session revoked\n".to_owned()),
            Ok(false) => return Err("there is no such session".to_owned()),
            Err(error) => Err(error),
        },
        Order::RevokeUser(user) => desk.revoke_user(&user).await.map(counted),
        Order::RevokeAll => desk.revoke_all().await.map(counted),
    };
    told.map_err(|error| error.to_string())
}

async fn list_all(desk: &SessionDesk) -> Result<String, crate::oidc::session::StoreError> {
    let (mut text, mut after) = (String::new(), None);
    loop {
        let page = desk.list(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(text) };
        after = Some(last.key);
        text.push_str(&table(&page));
    }
}

/// One line for each: its id and its end.
fn table(views: &[SessionView]) -> String {
    let end = |view: &SessionView| Timestamp::try_from(view.expires).unwrap_or_default();
    views.iter().map(|view| format!("{} {:.0}\n", view.key.to_text(), end(view))).collect()
}

fn counted(count: usize) -> String {
    format!("{count} {} revoked\n", if count == 1 { "session" } else { "sessions" })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(Order, Vec<String>), String> {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn exactly_one_thing_is_asked() {
        let id = "ab".repeat(32);
        let config = vec!["--configFile=x".to_owned()];
        assert_eq!(parsed("list --configFile=x"), Ok((Order::List(None), config)));
        assert_eq!(parsed("list --user=alice").unwrap().0, Order::List(Some("alice".into())));
        assert_eq!(
            parsed(&format!("revoke {id}")).unwrap().0,
            Order::Revoke(SessionKey::parse(&id).unwrap())
        );
        assert_eq!(parsed("revoke --all").unwrap().0, Order::RevokeAll);
        assert!(parsed("revoke d62df2e9").unwrap_err().starts_with("`d62df2e9` is no session id: "));
        for bad in ["", "revoke", "revoke --all --user=a", "list --all", "end --all"] {
            assert_eq!(parsed(bad), Err(USAGE.to_owned()), "{bad}");
        }
    }
}
