//! The commands: `portcullis` alone runs; `check`, `demo`, `healthcheck` and `version` do what they say.
//!
//! Running takes Traefik's flags, whose grammar is the configuration's and not a command line
//! parser's; only `demo` has options of its own.

mod demo;
mod run;

use std::process::ExitCode;



const USAGE: &str = "\
Portcullis: an edge reverse proxy with OpenID Connect built in.

Usage:
  portcullis [--configFile=FILE | --key.of.the.static.configuration=value ...]
  portcullis check [the same]        say what is wrong with a configuration, or what it sets up
  portcullis healthcheck [the same]  ask the running process for /ping
  portcullis demo [--help]           an OpenID provider, a service and the edge, to try in a browser
  portcullis version

Static configuration comes from a file, else from flags, else from TRAEFIK_... variables, as in Traefik.
";

/// Runs the command that `arguments` (without the program's name) ask for.
pub fn main(arguments: Vec<String>) -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("another cryptography provider is already installed");
        return ExitCode::FAILURE;
    }
    let command = arguments.first().map(String::as_str).unwrap_or_default();
    let rest = || arguments.get(1..).unwrap_or_default().to_vec();
    match command {
        "version" | "--version" => {
            println!("Portcullis {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        
        
        "demo" => demo::main(&rest()),
        _ => ExitCode::SUCCESS,
    }
}
