//! `portcullis demo`: the provider, the service and the edge in one process, on loopback.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::config;
use crate::demo::{self, Options};

/// Try Portcullis in a browser: an OpenID provider, a service and the edge between them, on loopback only.
#[derive(Parser)]
#[command(name = "portcullis demo", disable_version_flag = true)]
struct Arguments {
    /// Port of the edge, which the browser opens
    #[arg(long, default_value_t = Options::default().edge_port)]
    port: u16,
    /// Port of ping and metrics
    #[arg(long, default_value_t = Options::default().admin_port)]
    admin_port: u16,
    /// Port of the OpenID provider
    #[arg(long, default_value_t = Options::default().provider_port)]
    provider_port: u16,
    /// Port of the service
    #[arg(long, default_value_t = Options::default().echo_port)]
    echo_port: u16,
    /// Life of an access token in seconds
    #[arg(long, default_value_t = Options::default().access_token_ttl.as_secs())]
    access_token_seconds: u64,
    /// Folder for configuration, provider and sessions; otherwise in the user's state folder
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Starts the demo and serves until it is interrupted.
pub fn main(arguments: &[String]) -> ExitCode {
    let name = std::iter::once("portcullis demo".to_owned());
    let asks = arguments.first().is_some_and(|first| first == "help");
    let arguments = if asks { &["--help".to_owned()] } else { arguments };
    let arguments = match Arguments::try_parse_from(name.chain(arguments.iter().cloned())) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help is no failure: clap says which it is.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    let options = Options {
        folder: arguments.folder,
        edge_port: arguments.port,
        admin_port: arguments.admin_port,
        provider_port: arguments.provider_port,
        echo_port: arguments.echo_port,
        access_token_ttl: Duration::from_secs(arguments.access_token_seconds),
    };
    let prepared = match demo::prepare(&options) {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let file = format!("--configFile={}", prepared.static_config_path.display());
    let arguments = vec![file];
    super::with(config::load_static(&arguments, &[]), |loaded| {
        let greeting = prepared.greeting();
        super::run::serve(arguments.clone(), loaded, Some(Box::new(move || println!("{greeting}"))))
    })
}
