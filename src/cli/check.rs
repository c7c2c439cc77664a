//! `portcullis check`: what is wrong with a configuration, or what it sets up.

mod gaps;
mod plugin_options;
mod start;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::runtime::Handle;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;

use self::gaps::Gaps;
use self::plugin_options::Block;
use crate::admin::{Admin, Health};
use crate::config::dynamic::DynamicConfig;
use crate::config::oidc_options::Fate;
use crate::config::{ConfigError, ConfigErrors, Decoded, Draft, Loaded};
use crate::observe::{Log, Metrics};
use crate::provider::file::{self, Source};
use crate::runtime::{Compiled, Kept, compile, entry_points, plugin_blocks};
use crate::service::{Registries, dns::Names};

/// Prints every fault and fails, or prints a summary.
pub fn main(draft: Result<Draft, ConfigErrors>) -> ExitCode {
    match draft.map_err(|errors| faults(&errors.0, &[])).and_then(check) {
        Ok(summary) => {
            print!("{summary}");
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprint!("{faults}");
            ExitCode::FAILURE
        }
    }
}

/// The summary of a configuration in which everything works, or all that does not.
///
/// Faults of one kind do not hide those of another: what decoded is tried out even if not all did.
fn check(draft: Draft) -> Result<String, String> {
    let Draft { loaded, mut errors } = draft;
    let source = Source::new(&loaded.config);
    let read = source.map_or_else(file::Loaded::default, |source| file::load(&source));
    let gaps = Gaps::find(&loaded, &errors, &read);
    if errors.is_empty() {
        errors.extend(start::faults(&loaded.config));
    }
    let Decoded { config: dynamic, errors: mut found, warnings: read } = read.decoded;
    let mut warnings = loaded.warnings.clone();
    warnings.extend(read);
    // What is logged of faults that are told here anyway would only repeat them.
    let is_sound = errors.is_empty();
    let (tried, logged) = logged(|| try_out(&loaded, &dynamic));
    warnings.extend(logged.into_iter().filter(|_| is_sound).map(|text| ConfigError::new("", text)));
    let mut compiled = tried.map_err(|message| faults(&[ConfigError::new("", message)], &[]))?;
    warnings.append(&mut compiled.warnings);
    found.extend(compiled.errors.iter().filter(|fault| !gaps.explain(fault)).cloned());
    merge(&mut errors, found, &loaded);
    if !errors.is_empty() {
        return Err(faults(&errors, &warnings));
    }
    let options = plugin_options(&loaded, &dynamic, &mut warnings);
    sort_by_place(&mut warnings);
    Ok(summary(&loaded, &dynamic, &options, &warnings, &compiled))
}

/// Adds what was `found` in files and by trying out, each fault once, in the order of their places.
fn merge(errors: &mut Vec<ConfigError>, mut found: Vec<ConfigError>, loaded: &Loaded) {
    if let Some(places) = &loaded.places {
        errors.iter_mut().chain(&mut found).for_each(|fault| fault.place_in(places));
    }
    sort_by_place(&mut found);
    for fault in found {
        let is_told = |told: &ConfigError| told.path == fault.path && told.message == fault.message;
        if !errors.iter().any(is_told) {
            errors.push(fault);
        }
    }
}

/// What becomes of the options of traefikoidc blocks. What has no effect is told here instead of among the warnings, so that
/// all that will differ from the plugin stands together.
fn plugin_options(loaded: &Loaded, dynamic: &DynamicConfig, warnings: &mut Vec<ConfigError>) -> String {
    let blocks =
        plugin_blocks(dynamic, &loaded.config).map(|(name, path, block)| Block::new(name, path, block));
    let blocks: Vec<_> = blocks.collect();
    for block in &blocks {
        for (option, at) in block.with(Fate::WithoutEffect) {
            let path = block.path(option);
            warnings.retain(|warning| warning.path != path || warning.at.as_ref() != Some(at));
        }
    }
    plugin_options::told(blocks)
}

/// In the order of each file, which come as before; what has no place comes first.
fn sort_by_place(told: &mut [ConfigError]) {
    let mut files: Vec<_> = told.iter().filter_map(|one| Some(one.at.as_ref()?.source.clone())).collect();
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    told.sort_by_key(|one| {
        let at = one.at.as_ref()?;
        Some((files.iter().position(|file| *file == at.source), at.line, at.column))
    });
}

fn faults(errors: &[ConfigError], warnings: &[ConfigError]) -> String {
    let told = errors.iter().map(|error| format!("{error}\n"));
    let warned = warnings.iter().map(|warning| format!("warning: {warning}\n"));
    let count = format!("{} {}\n", errors.len(), if errors.len() == 1 { "error" } else { "errors" });
    told.chain(warned).chain([count]).collect()
}

/// Compiles as the running process would, but calls nobody and writes nothing.
fn try_out(loaded: &Loaded, dynamic: &DynamicConfig) -> Result<Compiled, String> {
    // Never driven: what is spawned on it (names, metadata of OpenID providers) does not run.
    let idle = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let idle = idle.map_err(|error| error.to_string())?;
    let _inside = idle.enter();
    let kept = kept(loaded, idle.handle())?
        .default_store(&loaded.config)
        .with_places(loaded.places.clone())
        .in_memory();
    Ok(compile(0, &loaded.config, dynamic, file::NAME, &kept))
}

/// What a configuration is compiled against, without a log and without anybody to look at the metrics.
pub(super) fn kept(loaded: &Loaded, runtime: &Handle) -> Result<Kept, String> {
    let metrics = Arc::new(Metrics::new(None).map_err(|error| error.to_string())?);
    let health = Arc::new(Health::new(Arc::clone(&metrics), SystemTime::now()));
    let log = Arc::new(Log::silent(metrics.log_lines_dropped("process")).map_err(|error| error.to_string())?);
    let admin = Admin::new(&loaded.config, Arc::clone(&health), Arc::clone(&metrics), log);
    let services = Registries::new(Names::system()?);
    Ok(Kept::new(metrics, health, admin, services, runtime.clone()))
}

/// What `work` gives, and what the running process would have logged meanwhile, from warnings on.
fn logged<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let result = tracing::subscriber::with_default(subscriber, work);
    let lines = std::mem::take(&mut *lines.0.lock().unwrap_or_else(PoisonError::into_inner));
    (result, lines)
}

/// Log lines from warnings on.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        // The worst level is the least.
        if *event.metadata().level() <= Level::WARN {
            let mut line = Line::default();
            event.record(&mut line);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.message + &line.fields);
        }
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

fn summary(
    loaded: &Loaded,
    dynamic: &DynamicConfig,
    options: &str,
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
            format!("{name} on {}: HTTP routers {plain}, HTTPS routers {tls}", entry_point.address),
        );
    }
    line("routers", dynamic.http.routers.len().to_string());
    line("services", dynamic.http.services.len().to_string());
    line("middlewares", dynamic.http.middlewares.len().to_string());
    line("certificates", dynamic.tls.certificates.len().to_string());
    text += options;
    for warning in warnings {
        // As above.
        let _ = writeln!(text, "{:<14}{warning}", "warning");
    }
    text
}

#[cfg(test)]
mod fault_tests;

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::config::draft_static;

    /// What is told about these two files, without the folder's name.
    pub(super) fn told(fixed: &str, dynamic: &str) -> Result<String, String> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(at("dynamic.yml"), dynamic).unwrap();
        fs::write(at("static.yml"), fixed.replace("DYNAMIC", &at("dynamic.yml"))).unwrap();
        let short = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
        let draft = draft_static(&[format!("--configFile={}", at("static.yml"))], &[]);
        draft.map_err(|errors| errors.to_string()).and_then(check).map(short).map_err(short)
    }

    pub(super) const FIXED: &str =
        "entryPoints: {web: {address: ':8000'}}\nproviders: {file: {filename: DYNAMIC}}\n";

    #[test]
    fn a_working_configuration_is_summarised() {
        let dynamic = "http:\n  routers: {r: {rule: 'Path(`/`)', service: s}}\n  \
                       services: {s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}]}}}\n  \
                       middlewares: {m: {headers: {frameDeny: true, featurePolicy: x}}}\n";
        assert_eq!(
            told(FIXED, dynamic).unwrap(),
            "static        static.yml\n\
             entry point   web on :8000: HTTP routers 1, HTTPS routers 0\n\
             routers       1\n\
             services      1\n\
             middlewares   1\n\
             certificates  0\n\
             warning       dynamic.yml:4:48: http.middlewares.m.headers.featurePolicy: has no effect: browsers have \
             replaced it by permissionsPolicy\n"
        );
    }

    #[test]
    fn faults_of_both_files_are_told_at_once() {
        let fixed = format!("{FIXED}log: {{levl: INFO}}\n");
        assert_eq!(
            told(&fixed, "http:\n  router: {}\n  services: []\n").unwrap_err(),
            "static.yml:3:7: log: unknown key `levl`; did you mean `level`?\n\
             dynamic.yml:2:3: http: unknown key `router`; did you mean `routers`?\n\
             dynamic.yml:3:13: http.services: expected a mapping, found a list\n\
             3 errors\n"
        );
    }

    #[test]
    fn what_the_running_process_would_warn_of_is_told() {
        let dynamic = "http:\n  middlewares:\n    users: {basicAuth: {users: ['al:letmein', 'bo:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=']}}\n    \
                       login:\n      oidc: {issuer: 'https://op.example', clientId: c, clientSecret: s, sessionEncryptionKey: \
                       '4f1c0be7a95d28e36b70d1f2c8a93e54', redirectUrl: /cb, pkce: false}\n";
        let said = told(FIXED, dynamic).unwrap();
        assert!(said.contains("http.middlewares.users: basicAuth: the hash of user \"al\""), "{said}");
        assert!(!said.contains("\"bo\"") && !said.contains("letmein"), "{said}");
        assert!(said.contains("http.middlewares.login.oidc.pkce: PKCE S256 is always used"), "{said}");

        let dynamic = "tls: {options: {old: {cipherSuites: [TLS_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}}}";
        let said = told(FIXED, dynamic).unwrap();
        assert!(said.contains("cipher suite left out: not served"), "{said}");
    }

    const PLUGIN: &str = "experimental: {plugins: {oidc: {moduleName: github.com/lukaszraczylo/traefikoidc, version: v0.8.25}}}\n";

    const TWO_BLOCKS: &str = "http:
  middlewares:
    staff:
      plugin:
        oidc:
          ratelimit: 50
          scopes: [email]
          providerURL: https://op.example
          enablePKCE: false
          sessionEncryptionKey: 4f1c0be7a95d28e36b70d1f2c8a93e54
          clientID: c
          clientSecret: s
          redis:
            address: redis:6379
            cacheMode: hybrid
            hybridL1Size: 500
          callbackURL: /cb
    app:
      plugin:
        oidc:
          sessionEncryptionKey: 4f1c0be7a95d28e36b70d1f2c8a93e54
          providerURL: https://op.example
          insecureSkipVerify: true
          forceHTTPS: false
          clientID: c
          clientSecret: s
          callbackURL: /app
";

    /// The rows about options of `TWO_BLOCKS` that are written, of those that are left out, and the warnings.
    fn rows(said: &str) -> (Vec<&str>, Vec<&str>, &str) {
        let (options, warnings) = said.split_once("\nwarning").unwrap();
        let told = options.lines().skip_while(|line| !line.starts_with("traefikoidc"));
        let is_default = |line: &&str| line.starts_with("  by default") || line.starts_with("   ");
        let (defaults, written) = told.partition(is_default);
        (written, defaults, warnings)
    }

    #[test]
    fn what_will_differ_from_the_plugin_is_told_by_middleware() {
        let said = told(&format!("{FIXED}{PLUGIN}"), TWO_BLOCKS).unwrap();
        let (told, ..) = rows(&said);
        let beginnings = [
            "traefikoidc   staff (dynamic.yml:6:11): 3 changed, 3 without effect, 5 honoured, 10 by default",
            "  changed         providerURL (line 8): metadata and tokens",
            "  changed         enablePKCE (line 9): PKCE",
            "  changed         sessionEncryptionKey (line 10): seals",
            "  without effect  rateLimit (line 6): verifying",
            "  without effect  redis.cacheMode, redis.hybridL1Size (lines 15, 16): sessions are in Redis",
            "  honoured        scopes, clientID, clientSecret, redis.address, callbackURL",
            "traefikoidc   app (dynamic.yml:21:11): 3 changed, 4 honoured, 11 by default",
            "  changed         forceHTTPS (line 24): ",
            "  changed         sessionEncryptionKey, providerURL (as above)",
            "  honoured        insecureSkipVerify, clientID, clientSecret, callbackURL",
        ];
        assert_eq!(told.len(), beginnings.len(), "{said}");
        for (line, beginning) in told.iter().zip(beginnings) {
            assert!(line.starts_with(beginning), "{line}\n{said}");
        }
    }

    #[test]
    fn what_is_left_out_and_what_is_weak_is_told_beside() {
        let said = told(&format!("{FIXED}{PLUGIN}"), TWO_BLOCKS).unwrap();
        let (_, defaults, warnings) = rows(&said);
        assert!(
            defaults.iter().any(|line| line.contains("cookieDomain: cookies belong to the host")),
            "{said}"
        );
        assert!(defaults.iter().any(|line| line.ends_with(" (as above)")), "{said}");
        assert!(
            !defaults.iter().any(|line| line.contains("enablePKCE: ") && line.contains("line 9")),
            "{said}"
        );
        let places = [
            "staff.plugin.oidc.enablePKCE: ",
            "staff.plugin.oidc.redis: ",
            "app.plugin.oidc.insecureSkipVerify: ",
        ];
        let places = places.map(|place| warnings.find(place));
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{said}");
        assert!(!warnings.contains("rateLimit"), "{said}");
    }

    #[test]
    fn a_fault_of_a_block_is_told_once() {
        let dynamic = "http: {middlewares: {login: {oidc: {issuer: 'https://op.example', clientId: c, clientSecret: s, \
                       sessionEncryptionKey: potato-secret-is-at-least-32-bytes-long, redirectUrl: /cb}}}}";
        let said = told(FIXED, dynamic).unwrap_err();
        assert!(
            said.contains("http.middlewares.login.oidc.sessionEncryptionKey: is one that everybody knows"),
            "{said}"
        );
        assert!(said.ends_with("\n1 error\n"), "{said}");
    }

    #[test]
    fn items_that_do_not_work_are_faults_too() {
        let said = told(FIXED, "http: {routers: {r: {rule: 'Pth(`/`)', service: s}}}").unwrap_err();
        assert!(said.contains("dynamic.yml:1:28: http.routers.r.rule: `Pth(`/`)`: "), "{said}");
    }
}
