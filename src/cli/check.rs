//! `portcullis check`: what is wrong with a configuration, or what it sets up.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use crate::admin::{Admin, Health};
use crate::config::dynamic::DynamicConfig;
use crate::config::{ConfigError, ConfigErrors, Loaded};
use crate::observe::{Log, Metrics};
use crate::provider::file::{self, Source};
use crate::runtime::{Compiled, Kept, check_blocks, compile, entry_points};
use crate::service::{Registries, dns::Names};

/// Prints every fault and fails, or a summary.
pub fn main(loaded: Result<Loaded, ConfigErrors>) -> ExitCode {
    match loaded.map_err(|errors| errors.0).and_then(|loaded| check(&loaded)) {
        Ok(summary) => {
            print!("{summary}");
            ExitCode::SUCCESS
        }
        Err(errors) => {
            for error in &errors {
                eprintln!("{error}");
            }
            eprintln!("{} {}", errors.len(), if errors.len() == 1 { "error" } else { "errors" });
            ExitCode::FAILURE
        }
    }
}

/// The summary of a configuration in which everything works.
fn check(loaded: &Loaded) -> Result<String, Vec<ConfigError>> {
    let source = loaded.config.providers.file.as_ref().and_then(Source::new);
    let (dynamic, mut warnings) = match source {
        None => (Arc::new(DynamicConfig::default()), Vec::new()),
        Some(source) => {
            let fragment = file::load(&source).outcome.map_err(|errors| errors.0)?;
            (fragment.config, fragment.warnings)
        }
    };
    warnings.splice(0..0, loaded.warnings.iter().cloned());
    check_blocks(&dynamic, &loaded.config).map_err(|errors| errors.0)?;
    let compiled = try_out(loaded, &dynamic).map_err(|message| vec![ConfigError::new("", message)])?;
    if !compiled.errors.is_empty() {
        return Err(compiled.errors);
    }
    Ok(summary(loaded, &dynamic, &warnings, &compiled))
}

/// Compiles as the running process would, but calls nobody and writes nothing.
fn try_out(loaded: &Loaded, dynamic: &DynamicConfig) -> Result<Compiled, String> {
    // Never driven: what is spawned on it (names, metadata of OpenID providers) does not run.
    let idle = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let idle = idle.map_err(|error| error.to_string())?;
    let _inside = idle.enter();
    let metrics = Arc::new(Metrics::new(None).map_err(|error| error.to_string())?);
    let health = Arc::new(Health::new(Arc::clone(&metrics), SystemTime::now()));
    let log = Arc::new(Log::silent(metrics.log_lines_dropped("process")).map_err(|error| error.to_string())?);
    let admin = Admin::new(&loaded.config, Arc::clone(&health), Arc::clone(&metrics), log);
    let services = Registries::new(Names::system()?);
    let kept = Kept::new(metrics, health, admin, services, idle.handle().clone()).in_memory();
    Ok(compile(0, &loaded.config, dynamic, file::NAME, &kept))
}

fn summary(
    loaded: &Loaded,
    dynamic: &DynamicConfig,
    warnings: &[ConfigError],
    compiled: &Compiled,
) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<14}{what}");
    };
    line("static", loaded.origin.clone());
    for (name, entry_point) in entry_points::effective(&loaded.config) {
        let built = compiled.snapshot.entry_points.get(name.as_str());
        let (plain, tls) = built.map_or((0, 0), |built| (built.plain.routes.len(), built.tls.routes.len()));
        line(
            "entry point",
            format!("{name} on {}: {plain} routers for HTTP, {tls} for HTTPS", entry_point.address),
        );
    }
    line("routers", dynamic.http.routers.len().to_string());
    line("services", dynamic.http.services.len().to_string());
    line("middlewares", dynamic.http.middlewares.len().to_string());
    line("certificates", dynamic.tls.certificates.len().to_string());
    for warning in warnings {
        line("warning", warning.to_string());
    }
    text
}
