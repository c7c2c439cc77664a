//! The commands: `portcullis` alone runs; `check`, `demo`, `healthcheck`, `sessions` and `version` do what they say.
//!
//! Running takes Traefik's flags, whose grammar is the configuration's and not a command line
//! parser's; only `demo` has options of its own.

mod check;
mod demo;
mod help;
mod run;
mod sessions;

use std::process::ExitCode;

use crate::admin;
use crate::config::{self, ConfigErrors, Loaded};

const USAGE: &str = "\
Portcullis: an edge reverse proxy with OpenID Connect built in.

Usage:
  portcullis [--configFile=FILE | --key.of.the.static.configuration=value ...]
  portcullis check [the same]        say what is wrong with a configuration, or what it sets up
  portcullis healthcheck [the same]  ask the running process for /ping
  portcullis sessions [...]          list and revoke sessions
  portcullis demo [--help]           an OpenID provider, a service and the edge, to try in a browser
  portcullis version

Each command tells more of itself with --help. Static configuration comes from a file, else from flags, else from TRAEFIK_... variables, as in Traefik.
";

/// Runs the command that `arguments` (without the program's name) ask for.
pub fn main(arguments: Vec<String>) -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("portcullis: another cryptography provider is already installed");
        return ExitCode::FAILURE;
    }
    let rest = || arguments.get(1..).unwrap_or_default().to_vec();
    let command = arguments.first().map(String::as_str).unwrap_or_default();
    if let Some(usage) = help::asked(command, &rest()) {
        print!("{usage}");
        return ExitCode::SUCCESS;
    }
    match command {
        "version" | "--version" => {
            if let Some(unknown) = arguments.get(1) {
                eprintln!("portcullis: `version` takes no arguments, found `{unknown}`");
                return ExitCode::FAILURE;
            }
            println!("Portcullis {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        "check" => check::main(config::draft_static(&rest(), &variables())),
        "healthcheck" => with(load(&rest()), |loaded| admin::healthcheck_command(&loaded.config)),
        "demo" => demo::main(&rest()),
        "sessions" => sessions::main(&rest(), |config| load(config).map_err(|errors| errors.to_string())),
        word if word.starts_with('-') && help::is_wanted(&arguments) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        word if !word.is_empty() && !word.starts_with('-') => {
            eprintln!("portcullis: there is no command `{word}`; `portcullis help` lists them");
            ExitCode::FAILURE
        }
        _ => with(load(&arguments), |loaded| run::serve(arguments.clone(), loaded, None)),
    }
}

fn load(arguments: &[String]) -> Result<Loaded, ConfigErrors> {
    config::load_static(arguments, &variables())
}

/// The environment; what is not Unicode is no configuration.
fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn with(loaded: Result<Loaded, ConfigErrors>, command: impl FnOnce(Loaded) -> ExitCode) -> ExitCode {
    match loaded {
        Ok(loaded) => command(loaded),
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}
