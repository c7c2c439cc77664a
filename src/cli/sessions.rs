//! `portcullis sessions`: lists and revokes sessions, in the files and servers that the running process uses.
//!
//! The process learns of a revocation within a quarter of a second. It need not run, and needs no API.

mod stores;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::check;
use crate::config::Loaded;
use crate::config::dynamic::DynamicConfig;
use crate::observe::{AuditLog, Metrics};
use crate::oidc::session::SessionKey;
use crate::provider::file::{self, Source};
use crate::runtime::compile;
use stores::Done;

pub(super) const USAGE: &str = "\
Usage:
  portcullis sessions list [--user=SUBJECT] [--configFile=FILE ...]
  portcullis sessions revoke ID [--configFile=FILE ...]
  portcullis sessions revoke --user=SUBJECT [--configFile=FILE ...]
  portcullis sessions revoke --all [--configFile=FILE ...]

Run it as the user of the service and with its STATE_DIRECTORY. Sessions in SQLite and in Redis are found; those in
memory and in browsers only the running process knows, so ask its API. A stored session tells nobody whose it is, so
users are found by the subject (`sub`) that the OpenID provider gives them; the API also knows names.

Exit code: 0 done; 1 not done; 2 done, but not in every store: standard error says in which, and why.
";

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
    let done = parse(arguments).and_then(|(order, rest)| {
        let loaded = load(&rest)?;
        carry_out(&loaded, &order).map(|outcome| outcome.told(&order))
    });
    match done {
        Ok((text, problems, code)) => {
            print!("{text}");
            if !problems.is_empty() {
                eprintln!("{problems}");
            }
            ExitCode::from(code)
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

/// Carries the order out in every store that another process can see.
fn carry_out(loaded: &Loaded, order: &Order) -> Result<Outcome, String> {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Never driven: the metadata of OpenID providers is not fetched. Stores connect on another one.
    let idle = runtime().map_err(|error| error.to_string())?;
    let connected = runtime().map_err(|error| error.to_string())?;
    let inside = idle.enter();
    let audit = audit(loaded)?;
    let kept = check::kept(loaded, idle.handle())?.beside(connected.handle().clone());
    let kept = kept.default_store(&loaded.config).with_audit(audit.clone());
    let dynamic = match Source::new(&loaded.config) {
        Some(source) => file::load(&source).outcome().map_err(|errors| errors.to_string())?.config,
        None => Arc::new(DynamicConfig::default()),
    };
    // The policies tell where sessions are, and under which names a store keeps a user's.
    let policies = compile(0, &loaded.config, &dynamic, file::NAME, &kept);
    drop(inside);
    let broken = policies.errors.iter().filter(|error| error.path.starts_with("http.middlewares."));
    let mut outcome = Outcome { problems: broken.map(ToString::to_string).collect(), ..Outcome::default() };
    let Some(desk) = kept.admin.desk() else {
        outcome.problems.push("no OIDC middleware is configured".to_owned());
        return Err(outcome.problems.join("\n"));
    };
    let mut stores = kept.stores().all();
    stores.sort_by(|one, other| one.name.cmp(&other.name));
    for store in &stores {
        outcome.add(&store.component(), connected.block_on(stores::carry_out(order, desk, store)));
    }
    if let Some(audit) = audit {
        audit.flush(FLUSH);
    }
    Ok(outcome)
}

/// The audit log of the configuration, if it is a file: standard output is ours here.
fn audit(loaded: &Loaded) -> Result<Option<Arc<AuditLog>>, String> {
    let Some(config) = loaded.config.oidc.audit.as_ref().filter(|audit| audit.file_path.is_some()) else {
        return Ok(None);
    };
    let metrics = Metrics::new(None).map_err(|error| error.to_string())?;
    AuditLog::open(config, metrics.log_lines_dropped("audit"))
        .map(|log| Some(Arc::new(log)))
        .map_err(|error| error.to_string())
}

/// What came of an order.
#[derive(Default)]
struct Outcome {
    /// In how many stores it was carried out to the end.
    stores: usize,
    /// Sessions that were ended.
    ended: usize,
    /// Sessions that were listed, a line for each.
    listed: String,
    /// Stores in which it was not, and why.
    problems: Vec<String>,
}

impl Outcome {
    fn add(&mut self, store: &str, done: Done) {
        self.listed.push_str(&done.listed);
        self.ended += done.ended;
        match done.problem {
            None => self.stores += 1,
            Some(problem) => self.problems.push(format!("{store}: {problem}")),
        }
    }

    /// What is told, and the code: 0 all done, 1 nothing done, 2 not in every store.
    fn told(mut self, order: &Order) -> (String, String, u8) {
        let is_one = matches!(order, Order::Revoke(_));
        if is_one && self.ended > 0 {
            // It is in no other store.
            self.problems.clear();
        } else if is_one && self.stores > 0 {
            self.problems.insert(0, "there is no such session".to_owned());
            self.stores = 0;
        }
        let nothing = self.stores == 0 && self.ended == 0 && self.listed.is_empty();
        let code = match (nothing, self.problems.is_empty()) {
            (true, _) => 1,
            (false, true) => 0,
            (false, false) => 2,
        };
        let text = match order {
            _ if code == 1 => String::new(),
            Order::List(_) => self.listed,
            Order::Revoke(_) | Order::RevokeUser(_) | Order::RevokeAll => counted(self.ended),
        };
        (text, self.problems.join("\n"), code)
    }
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

    #[test]
    fn the_code_tells_whether_every_store_was_asked() {
        let outcome = |stores, ended, problems: &[&str]| Outcome {
            stores,
            ended,
            problems: problems.iter().map(|&problem| problem.to_owned()).collect(),
            ..Outcome::default()
        };
        let one = Order::Revoke(SessionKey::parse(&"ab".repeat(32)).unwrap());
        let told = |outcome: Outcome, order: &Order| {
            let (text, problems, code) = outcome.told(order);
            (text.trim_end().to_owned(), problems, code)
        };
        let plain = |text: &str, problems: &str, code| (text.to_owned(), problems.to_owned(), code);
        assert_eq!(told(outcome(2, 3, &[]), &Order::RevokeAll), plain("3 sessions revoked", "", 0));
        assert_eq!(
            told(outcome(1, 1, &["memory"]), &Order::RevokeAll),
            plain("1 session revoked", "memory", 2)
        );
        assert_eq!(
            told(outcome(0, 1, &["cut off"]), &Order::RevokeAll),
            plain("1 session revoked", "cut off", 2)
        );
        assert_eq!(told(outcome(0, 0, &["down"]), &Order::RevokeAll), plain("", "down", 1));
        assert_eq!(told(outcome(1, 1, &["memory"]), &one), plain("1 session revoked", "", 0));
        assert_eq!(told(outcome(1, 0, &["memory"]), &one), plain("", "there is no such session\nmemory", 1));
    }
}
