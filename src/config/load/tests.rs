#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

use tempfile::TempDir;

use super::*;

fn arguments(list: &[&str]) -> Vec<String> {
    list.iter().map(|argument| (*argument).to_owned()).collect()
}

fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(ending: &str, text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(format!("traefik.{ending}"));
    fs::write(&path, text).unwrap();
    let flag = format!("--configFile={}", path.display());
    (folder, flag)
}

const YAML: &str = "\
entryPoints:
  web:
    address: :80
    forwardedHeaders: {trustedIPs: [10.0.0.0/8, 192.168.0.0/16]}
  websecure:
    address: :443
    asDefault: true
    http: {tls: {}}
    transport: {respondingTimeouts: {idleTimeout: 1m30s}}
metrics: {prometheus: {buckets: [0.5, 1]}}
ping: {}
accessLog: {format: json, fields: {headers: {names: {user-agent: keep}}}}
";

const TOML: &str = "\
[entryPoints.web]
address = ':80'
[entryPoints.web.forwardedHeaders]
trustedIPs = ['10.0.0.0/8', '192.168.0.0/16']
[entryPoints.websecure]
address = ':443'
asDefault = true
[entryPoints.websecure.http.tls]
[entryPoints.websecure.transport.respondingTimeouts]
idleTimeout = 90
[metrics.prometheus]
buckets = [0.5, 1]
[ping]
[accessLog]
format = 'json'
[accessLog.fields.headers.names]
user-agent = 'keep'
";

const FLAGS: &[&str] = &[
    "--entryPoints.web.address=:80",
    "--entrypoints.web.forwardedheaders.trustedips=10.0.0.0/8",
    "--entrypoints.web.forwardedheaders.trustedips=192.168.0.0/16",
    "--entryPoints.websecure.address",
    ":443",
    "-entryPoints.websecure.asDefault",
    "--entryPoints.websecure.http.tls",
    "--entryPoints.websecure.transport.respondingTimeouts.idleTimeout=90s",
    "--metrics.prometheus=true",
    "--metrics.prometheus.buckets=0.5,1",
    "--ping",
    "--accessLog.format=json",
    "--accessLog.fields.headers.names.User-Agent=keep",
];

const VARIABLES: &[(&str, &str)] = &[
    ("TRAEFIK_ENTRYPOINTS_WEB_ADDRESS", ":80"),
    ("TRAEFIK_ENTRYPOINTS_WEB_FORWARDEDHEADERS_TRUSTEDIPS", "10.0.0.0/8, 192.168.0.0/16"),
    ("TRAEFIK_ENTRYPOINTS_WEBSECURE_ADDRESS", ":443"),
    ("TRAEFIK_ENTRYPOINTS_WEBSECURE_ASDEFAULT", "true"),
    ("TRAEFIK_ENTRYPOINTS_WEBSECURE_HTTP_TLS", "true"),
    ("TRAEFIK_ENTRYPOINTS_WEBSECURE_TRANSPORT_RESPONDINGTIMEOUTS_IDLETIMEOUT", "90"),
    ("TRAEFIK_METRICS_PROMETHEUS_BUCKETS_0", "0.5"),
    ("TRAEFIK_METRICS_PROMETHEUS_BUCKETS_1", "1"),
    ("TRAEFIK_PING", "true"),
    ("TRAEFIK_ACCESSLOG_FORMAT", "json"),
    ("TRAEFIK_ACCESSLOG_FIELDS_HEADERS_NAMES_USER-AGENT", "keep"),
];

#[test]
fn four_sources_mean_the_same() {
    let (_yaml, yaml_flag) = file("yml", YAML);
    let (_toml, toml_flag) = file("toml", TOML);
    let yaml = load_static(&[yaml_flag], &[]).unwrap();
    let written = format!("{:#?}", yaml.config);
    assert!(written.contains("192.168.0.0/16") && written.contains("90s"), "{written}");
    for (source, loaded) in [
        ("toml", load_static(&[toml_flag], &[])),
        ("flags", load_static(&arguments(FLAGS), &[])),
        ("environment", load_static(&[], &variables(VARIABLES))),
    ] {
        let loaded = loaded.unwrap_or_else(|errors| panic!("{source}: {errors}"));
        assert_eq!(format!("{:#?}", loaded.config), written, "{source}");
        assert!(loaded.warnings.is_empty(), "{source}: {:?}", loaded.warnings);
    }
}

#[test]
fn one_source_wins_and_the_others_are_told() {
    let (_folder, flag) = file("yml", "log: {level: INFO}\n");
    let loaded = load_static(
        &arguments(&[&flag, "--log.level=DEBUG"]),
        &variables(&[("TRAEFIK_LOG_LEVEL", "WARN"), ("TRAEFIK_SERVICE_HOST", "10.0.0.1")]),
    );
    let loaded = loaded.unwrap();
    assert_eq!(loaded.config.log.as_ref().unwrap().level, "INFO");
    let said: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(said[0].starts_with("flags are not read beside the configuration file /"), "{said:?}");
    assert!(said[1].starts_with("TRAEFIK_ variables are not read beside the configuration file"), "{said:?}");

    let loaded =
        load_static(&arguments(&["--log.level=DEBUG"]), &variables(&[("TRAEFIK_LOG_LEVEL", "WARN")]));
    assert_eq!(loaded.unwrap().origin, "flags");
}

#[test]
fn the_last_of_a_repeated_flag_counts() {
    let loaded = load_static(&arguments(&["--log.level=INFO", "--log.level=DEBUG"]), &[]).unwrap();
    assert_eq!(loaded.config.log.as_ref().unwrap().level, "DEBUG");
}

#[test]
fn the_search_path_is_traefiks() {
    let found = search_path(&variables(&[("HOME", "/root"), ("XDG_CONFIG_HOME", "/x")]));
    let found: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
    assert_eq!(found.len(), 12);
    assert_eq!(found[0], "/etc/traefik/traefik.toml");
    assert_eq!(found[4], "/x/traefik.yaml");
    assert_eq!(found[8], "/root/.config/traefik.yml");
    assert_eq!(found[9], "./traefik.toml");
}

#[test]
fn every_fault_is_told_at_once() {
    let text = "\
entrypoints:
  web:
    adress: :80
  websecure:
    address: 443
    http3: {}
log:
  level: LOUD
providers:
  docker: {}
  file:
    watch: maybe
pilot: {token: x}
http: {}
";
    let (folder, flag) = file("yml", text);
    let said = load_static(&[flag], &[]).unwrap_err().to_string();
    let said = said.replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "traefik.yml:3:5: entryPoints.web: unknown key `adress`; did you mean `address`?",
            "traefik.yml:3:5: entryPoints.web: `address` is required",
            "traefik.yml:5:14: entryPoints.websecure.address: expected [host]:port, found `443`",
            "traefik.yml:6:5: entryPoints.websecure.http3: not supported yet: the HTTP engine has no HTTP/3",
            "traefik.yml:8:10: log.level: expected one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL, PANIC, found `LOUD`",
            "traefik.yml:10:3: providers.docker: not supported yet",
            "traefik.yml:12:12: providers.file.watch: expected true or false, found `maybe`",
            "traefik.yml:13:1: pilot: has been removed in Traefik v3: delete it",
            "traefik.yml:14:1: http: belongs to the dynamic configuration: write it in the file that \
             `providers.file` names",
        ]
    );
}

#[test]
fn flags_and_variables_are_named() {
    let said =
        load_static(&arguments(&["--entryPoint.web.address=:80", "--log.levl=INFO"]), &[]).unwrap_err();
    assert_eq!(
        said.to_string(),
        "flag --entryPoint.web.address: unknown key `entrypoint`; did you mean `entryPoints`?\n\
         flag --log.levl: log: unknown key `levl`; did you mean `level`?"
    );
    let said = load_static(&[], &variables(&[("TRAEFIK_LOG_LEVL", "INFO")])).unwrap_err();
    assert_eq!(
        said.to_string(),
        "environment variable TRAEFIK_LOG_LEVL: log: unknown key `levl`; did you mean `level`?"
    );
    let slips =
        [("TRAEFIK_ENTRYPOINT_WEB_ADDRESS", ":80"), ("TRAEFIK_LOG_LEVEL", "LOUD"), ("TRAEFIK_PNIG", "true")];
    let said = load_static(&[], &variables(&slips)).unwrap_err().to_string();
    let said: Vec<_> = said.lines().map(|line| line.trim_start_matches("environment variable ")).collect();
    assert_eq!(
        said,
        [
            "TRAEFIK_ENTRYPOINT_WEB_ADDRESS: unknown key `entrypoint`; did you mean `entryPoints`?",
            "TRAEFIK_PNIG: unknown key `pnig`; did you mean `ping`?",
            "TRAEFIK_LOG_LEVEL: log.level: expected one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL, PANIC, found `LOUD`",
        ]
    );
}

#[test]
fn a_file_that_is_none_is_told() {
    let said = load_static(&arguments(&["--configFile=/nowhere/traefik.yml"]), &[]).unwrap_err().to_string();
    assert!(said.starts_with("/nowhere/traefik.yml: No such file"), "{said}");
    let said = load_static(&arguments(&["--configFile=/tmp"]), &[]).unwrap_err().to_string();
    assert_eq!(said, "/tmp: is a folder");
    let said = load_static(&arguments(&["--configFile"]), &[]).unwrap_err().to_string();
    assert_eq!(said, "`--configFile` needs the path of a file");
    let said = load_static(&arguments(&["--confgFile=x.yml"]), &[]).unwrap_err().to_string();
    assert_eq!(said, "flag --confgFile: unknown flag; did you mean `--configFile`?");
}

/// A key path and values that it takes, as each source writes them.
const CHOICES: &[(&str, &[&str])] = &[
    ("log.level", &["INFO", "DEBUG"]),
    ("log.noColor", &["true", "false", "1"]),
    ("accessLog.bufferingSize", &["0", "100"]),
    ("accessLog.filters.minDuration", &["10", "250ms", "1m30s"]),
    ("accessLog.filters.statusCodes", &["200", "200,500-599"]),
    ("accessLog.fields.headers.names.user-agent", &["keep", "redact"]),
    ("entryPoints.web.address", &[":80", "127.0.0.1:8080/tcp", "[::1]:80"]),
    ("entryPoints.web.http.middlewares", &["a@file", "a@file,b@file"]),
    ("entryPoints.web.http2.maxConcurrentStreams", &["1", "250"]),
    ("entryPoints.web.forwardedHeaders.trustedIPs", &["10.0.0.0/8", "::1,127.0.0.1"]),
    ("metrics.prometheus.buckets", &["0.1", "0.5,1,2"]),
    ("providers.file.filename", &["/etc/dynamic.yml"]),
    ("providers.providersThrottleDuration", &["0", "5s"]),
    ("experimental.plugins.oidc.moduleName", &["github.com/x/traefikoidc"]),
];

/// The picked values as YAML: one nested mapping, keys quoted, lists as lists.
fn as_yaml(picked: &[(&str, &str)]) -> String {
    let mut tree = source::assignments::Tree::default();
    for (path, value) in picked {
        let steps: Vec<_> =
            path.split('.').map(|key| source::assignments::Step::Key(key.to_owned())).collect();
        tree.assign(&steps, (*value).to_owned(), crate::config::value::Position::whole("picked"));
    }
    fn render(node: &Node) -> String {
        match &node.value {
            Value::Map(entries) => {
                let inner: Vec<_> =
                    entries.iter().map(|entry| format!("'{}': {}", entry.key, render(&entry.node))).collect();
                format!("{{{}}}", inner.join(", "))
            }
            Value::Scalar(text) if text.contains(',') => {
                let items: Vec<_> = text.split(',').map(|item| format!("'{item}'")).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Scalar(text) => format!("'{text}'"),
            other => panic!("{other:?}"),
        }
    }
    render(&tree.into_node())
}

proptest::proptest! {
    #[test]
    fn any_content_means_the_same_in_four_sources(
        picks in proptest::collection::vec((proptest::bool::ANY, 0..3_usize), CHOICES.len())
    ) {
        let picked: Vec<(&str, &str)> = CHOICES
            .iter()
            .zip(picks)
            // An entry point without an address would be refused.
            .filter(|((path, _), (taken, _))| *taken || *path == "entryPoints.web.address")
            .map(|((path, values), (_, which))| (*path, values[which % values.len()]))
            .collect();
        let toml = picked.iter().map(|(path, value)| format!("{path} = '{value}'\n")).collect::<String>();
        let flags = picked.iter().map(|(path, value)| format!("--{path}={value}")).collect::<Vec<_>>();
        let named: Vec<_> = picked
            .iter()
            .map(|(path, value)| (format!("TRAEFIK_{}", path.replace('.', "_").to_uppercase()), (*value).to_owned()))
            .collect();
        let decoded = |node: Option<Node>| {
            let node = node.unwrap();
            let mut decoder = Decoder::new();
            let config = decode_document::<StaticConfig>(&node, &mut decoder);
            format!("{:?}", decoder.finish(config))
        };
        let expected = decoded(flags::parse(&flags).unwrap());
        proptest::prop_assert!(expected.starts_with("Ok("), "{}", expected);
        let environment = environment::parse(&named, &StaticConfig::BLOCK);
        proptest::prop_assert_eq!(&decoded(environment.node), &expected);
        let parse = |name: &str, text: &str| source::parse(Path::new(name), text).unwrap();
        proptest::prop_assert_eq!(&decoded(Some(parse("f.toml", &toml))), &expected);
        proptest::prop_assert_eq!(&decoded(Some(parse("f.yml", &as_yaml(&picked)))), &expected);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}", toml in proptest::bool::ANY) {
        let path = if toml { "f.toml" } else { "f.yml" };
        if let Ok(node) = source::parse(Path::new(path), &text) {
            let mut decoder = Decoder::new();
            let config = decode_document::<StaticConfig>(&node, &mut decoder);
            if let Some(config) = &config {
                super::super::validate::check(config, &node, &mut decoder);
            }
            let _ = decode_dynamic(&node);
        }
    }

    /// Text that is nearly a configuration gets further into the decoder than noise.
    #[test]
    fn no_mangled_configuration_panics(cut in 0..600_usize, insert in "[\\PC\n]{0,5}", toml in proptest::bool::ANY) {
        let (path, text) = if toml { ("f.toml", TOML) } else { ("f.yml", YAML) };
        let cut = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (before, after) = text.split_at(cut);
        if let Ok(node) = source::parse(Path::new(path), &format!("{before}{insert}{after}")) {
            let mut decoder = Decoder::new();
            let config = decode_document::<StaticConfig>(&node, &mut decoder);
            if let Some(config) = &config {
                super::super::validate::check(config, &node, &mut decoder);
            }
            let _ = decode_dynamic(&node);
        }
    }

    #[test]
    fn no_flags_panic(list in proptest::collection::vec("\\PC{0,20}", 0..8)) {
        let _ = flags::parse(&list);
        let named: Vec<_> = list.iter().map(|text| (format!("TRAEFIK_{text}"), text.clone())).collect();
        let _ = environment::parse(&named, &StaticConfig::BLOCK);
    }
}
