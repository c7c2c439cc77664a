//! All that is wrong is told in one run, each fault once and with its place.

use super::tests::{FIXED, told};

/// The faults of the dynamic file beside [`FIXED`], without the count.
fn faults(dynamic: &str) -> Vec<String> {
    faults_of(FIXED, dynamic)
}

fn faults_of(fixed: &str, dynamic: &str) -> Vec<String> {
    let said = told(fixed, dynamic).expect_err("there are faults");
    let mut lines: Vec<_> =
        said.lines().filter(|line| !line.starts_with("warning: ")).map(str::to_owned).collect();
    let count = lines.pop().unwrap_or_default();
    assert!(count.starts_with(&format!("{} error", lines.len())), "{said}");
    lines
}

#[test]
fn what_does_not_decode_hides_nothing_else() {
    let fixed = "entryPoints: {web: {address: ':8000'}, other: {address: ':8000'}}\n\
                 providers: {file: {filename: DYNAMIC}}\nlog: {levl: INFO}\nping: {entryPoint: wbe}\n";
    let dynamic = "\
http:
  routers:
    typo: {rul: 'Path(`/`)', service: nobody, middlewares: [nobody]}
    rule: {rule: 'Pth(`/`)', service: s}
    refers: {rule: 'Path(`/`)', service: half, middlewares: [half]}
  services:
    s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}]}}
    half: {loadBalancer: {servres: []}}
  middlewares:
    half: {addPrefix: {}}
    login: {oidc: {issuer: 'https://op.example', clientID: [c], sesionEncryptionKey: k, userInfo: perhaps}}
";
    assert_eq!(
        faults_of(fixed, dynamic),
        [
            "static.yml:1:30: entryPoints.web.address: entry point `other` listens there already",
            "static.yml:3:7: log: unknown key `levl`; did you mean `level`?",
            "static.yml:4:20: ping.entryPoint: entry point `wbe` does not exist; did you mean `web`?",
            "dynamic.yml:3:11: http.routers.typo: `rule` is required",
            "dynamic.yml:3:12: http.routers.typo: unknown key `rul`; did you mean `rule`?",
            "dynamic.yml:3:39: http.routers.typo.service: service `nobody@file` does not exist",
            "dynamic.yml:3:60: http.routers.typo.middlewares: middleware `nobody@file` does not exist",
            "dynamic.yml:4:18: http.routers.rule.rule: `Pth(`/`)`: unsupported matcher `Pth`; did you mean `Path`? (at byte 0 of the rule)",
            "dynamic.yml:5:42: http.routers.refers.service: service `half@file` has faults (see there)",
            "dynamic.yml:5:61: http.routers.refers.middlewares: middleware `half@file` has faults (see there)",
            "dynamic.yml:8:27: http.services.half.loadBalancer: unknown key `servres`; did you mean `servers`?",
            "dynamic.yml:10:23: http.middlewares.half.addPrefix: cannot be empty: write at least one key, or leave it out",
            "dynamic.yml:11:19: http.middlewares.login.oidc.clientSecret: is required (or `clientAuthMethod: none` for a public client)",
            "dynamic.yml:11:19: http.middlewares.login.oidc.sessionEncryptionKey: is required: at least 32 bytes",
            "dynamic.yml:11:19: http.middlewares.login.oidc.redirectUrl: is required: a path such as `/oauth2/callback`",
            "dynamic.yml:11:60: http.middlewares.login.oidc.clientID: expected text, found a list",
            "dynamic.yml:11:65: http.middlewares.login.oidc: unknown key `sesionEncryptionKey`; did you mean `sessionEncryptionKey`?",
            "dynamic.yml:11:89: http.middlewares.login.oidc.userInfo: must be auto, always or never",
        ]
    );
}

#[test]
fn names_that_did_not_decode_are_not_missed() {
    let routers = "  routers: {r: {rule: 'Path(`/`)', service: s, middlewares: [m], entryPoints: [web]}}\n";
    let said = faults(&format!("http:\n{routers}  servces: {{}}\n  middlewares: []\n"));
    assert_eq!(said.len(), 2, "{said:?}");
    let said = faults("http: [\n");
    assert_eq!(said.len(), 1, "{said:?}");
    let fixed = FIXED.replace("{web: {address: ':8000'}}", "{web: ':8000'}");
    let said = faults_of(
        &fixed,
        &format!(
            "http:\n{routers}  services: {{s: {{loadBalancer: {{servers: []}}}}}}\n  middlewares: {{m: {{addPrefix: {{prefix: /x}}}}}}\n"
        ),
    );
    assert_eq!(said, ["static.yml:1:20: entryPoints.web: expected a mapping, found `:8000`"]);
}

#[test]
fn all_faults_of_a_router_and_chains_that_nobody_uses_are_told() {
    let dynamic = "\
http:
  routers:
    r: {rule: 'Path(`/`)', service: nos, middlewares: [cycle, nom, nom2], priority: 9223372036854775807}
  middlewares:
    cycle: {chain: {middlewares: [cycle, add]}}
    unused: {chain: {middlewares: [nom]}}
    add: {addPrefix: {prefix: /x}}
";
    assert_eq!(
        faults(dynamic),
        [
            "dynamic.yml:3:37: http.routers.r.service: service `nos@file` does not exist",
            "dynamic.yml:3:55: http.routers.r.middlewares: middleware `cycle@file` has faults (see there)",
            "dynamic.yml:3:55: http.routers.r.middlewares: middleware `nom@file` does not exist",
            "dynamic.yml:3:55: http.routers.r.middlewares: middleware `nom2@file` does not exist",
            "dynamic.yml:3:85: http.routers.r.priority: the highest possible is 9223372036854774807",
            "dynamic.yml:5:34: http.middlewares.cycle.chain.middlewares: chains form a cycle: cycle@file -> cycle@file",
            "dynamic.yml:6:35: http.middlewares.unused.chain.middlewares: middleware `nom@file` does not exist",
        ]
    );
}

#[test]
fn a_fault_of_an_oidc_block_is_told_once_however_many_routers_use_it() {
    let block = "providerURL: 'https://op.example', clientID: c, clientSecret: s, userInfo: perhaps, callbackURL: nowhere, \
                 sessionEncryptionKey: short";
    let dynamic = format!(
        "http:\n  middlewares:\n    m: {{plugin: {{traefikoidc: {{{block}}}}}}}\n  routers:\n    \
         a: {{rule: 'Path(`/a`)', service: noop@internal, middlewares: [m]}}\n    \
         b: {{rule: 'Path(`/b`)', service: noop@internal, middlewares: [m]}}\n"
    );
    let said = faults(&dynamic);
    let (blocks, routers) = said.split_at(3);
    for (key, line) in ["userInfo", "callbackURL", "sessionEncryptionKey"].iter().zip(blocks) {
        assert!(line.contains(&format!(": http.middlewares.m.plugin.traefikoidc.{key}: ")), "{key}: {line}");
    }
    assert_eq!(
        routers,
        [
            "dynamic.yml:5:66: http.routers.a.middlewares: middleware `m@file` has faults (see there)",
            "dynamic.yml:6:66: http.routers.b.middlewares: middleware `m@file` has faults (see there)",
        ]
    );
}

#[test]
fn an_item_tells_all_that_is_wrong_with_it() {
    let dynamic = "\
http:
  services:
    s: {loadBalancer: {strategy: p2c, serversTransport: t, servers: [{url: 'ftp://x'}, {url: none}]}}
    half: {loadBalancer: {servers: [{weight: x}, {url: 'gopher://x'}]}}
  serversTransports:
    t: {serverName: 'a b', rootCAs: [/a.pem], certificates: [{certFile: /c, keyFile: /k}]}
  middlewares:
    users: {basicAuth: {users: [one, 'a:b:c'], realm: r, headerField: 'a b'}}
    edits: {headers: {customRequestHeaders: {'a b': x, Content-Length: '1'}, stsSeconds: -1}}
    url: {redirectRegex: {regex: '(', replacement: x}}
";
    assert_eq!(
        faults(dynamic),
        [
            "dynamic.yml:3:34: http.services.s.loadBalancer.strategy: `p2c` is not supported yet; `wrr` is",
            "dynamic.yml:3:57: http.services.s.loadBalancer.serversTransport: serversTransport `t@file` has faults (see there)",
            "dynamic.yml:3:76: http.services.s.loadBalancer.servers[0].url: `ftp://x`: the scheme must be http, https or h2c",
            "dynamic.yml:3:94: http.services.s.loadBalancer.servers[1].url: `none` is not a URL: relative URL without a base",
            "dynamic.yml:4:37: http.services.half.loadBalancer.servers[0]: `url` is required",
            "dynamic.yml:4:46: http.services.half.loadBalancer.servers[0].weight: expected a whole number, found `x`",
            "dynamic.yml:4:56: http.services.half.loadBalancer.servers[1].url: `gopher://x`: the scheme must be http, https or h2c",
            "dynamic.yml:6:21: http.serversTransports.t.serverName: `a b` is not a server name",
            "dynamic.yml:6:38: http.serversTransports.t.rootCAs[0]: /a.pem: No such file or directory (os error 2)",
            "dynamic.yml:6:62: http.serversTransports.t.certificates[0]: /c: No such file or directory (os error 2)",
            "dynamic.yml:8:33: http.middlewares.users.basicAuth.users[0]: is not name:hash with exactly one colon",
            "dynamic.yml:8:38: http.middlewares.users.basicAuth.users[1]: is not name:hash with exactly one colon",
            "dynamic.yml:8:71: http.middlewares.users.basicAuth.headerField: \"a b\" is not a header name",
            "dynamic.yml:9:53: http.middlewares.edits.headers.customRequestHeaders.a b: \"a b\" is not a header name",
            "dynamic.yml:9:72: http.middlewares.edits.headers.customRequestHeaders.Content-Length: frames the message and cannot be changed",
            "dynamic.yml:9:90: http.middlewares.edits.headers.stsSeconds: cannot be negative",
            "dynamic.yml:10:34: http.middlewares.url.redirectRegex.regex: bad regular expression: unclosed group",
        ]
    );
}

#[test]
fn what_is_defined_with_a_provider_in_its_name_takes_nobodys_place() {
    let dynamic = "\
http:
  routers:
    r: {rule: 'Path(`/`)', service: noop@internal, middlewares: [auth, auth@file, other@file]}
  middlewares:
    auth: {addPrefix: {prefix: /x}}
    auth@file: {addPrefix: {prefix: ''}}
    other@file: {addPrefix: {prefix: /y}}
";
    assert_eq!(
        faults(dynamic),
        [
            "dynamic.yml:3:65: http.routers.r.middlewares: middleware `other@file` does not exist; did you mean `other@file@file`?",
            "dynamic.yml:6:37: http.middlewares.auth@file.addPrefix.prefix: cannot be empty",
        ]
    );
}

#[test]
fn what_only_the_start_would_find_is_told() {
    let fixed = format!("{}ping: {{}}\n", FIXED.replace("8000", "8080"));
    assert_eq!(
        faults_of(&fixed, ""),
        [
            "static.yml:1:30: entryPoints.web.address: entry point `traefik`, which ping, metrics or the API bring along, \
             listens on :8080 already; write one of that name with another address"
        ]
    );
    let fixed = FIXED.replace("':8000'", "':8000', http: {redirections: {entryPoint: {to: ':99999'}}}");
    assert_eq!(
        faults_of(&fixed, ""),
        [
            "static.yml:1:78: entryPoints.web.http.redirections.entryPoint.to: expected an entry point or :port, found `:99999`"
        ]
    );
}

#[test]
fn faults_of_tls_have_their_places_and_are_told_once() {
    let dynamic = "\
tls:
  certificates:
    - {certFile: /no.pem, keyFile: /no.key}
  options:
    old: {minVersion: VersionTLS10, cipherSuites: [NONE, NEITHER], clientAuth: {caFiles: [/a.pem, /b.pem]}}
http:
  routers:
    a: {rule: 'Host(`h`) && Path(`/a`)', service: noop@internal, tls: {options: nobody}}
    b: {rule: 'Host(`g`) && Path(`/b`)', service: noop@internal, tls: {}}
    c: {rule: 'Host(`g`) && Path(`/c`)', service: noop@internal, tls: {options: old}}
    d: {rule: 'Host(`g`) && Path(`/d`)', service: noop@internal, tls: {options: old}}
";
    assert_eq!(
        faults(dynamic),
        [
            "dynamic.yml:3:7: tls.certificates[0]: cannot read /no.pem: No such file or directory (os error 2)",
            "dynamic.yml:5:23: tls.options.old.minVersion: `VersionTLS10` is not served: use VersionTLS12 or VersionTLS13",
            "dynamic.yml:5:51: tls.options.old.cipherSuites: unknown cipher suite `NONE`",
            "dynamic.yml:5:51: tls.options.old.cipherSuites: unknown cipher suite `NEITHER`",
            "dynamic.yml:5:90: tls.options.old.clientAuth.caFiles: cannot read /a.pem: No such file or directory (os error 2)",
            "dynamic.yml:5:90: tls.options.old.clientAuth.caFiles: cannot read /b.pem: No such file or directory (os error 2)",
            "dynamic.yml:8:81: http.routers.a.tls.options: no TLS options are called `nobody@file`",
            "dynamic.yml:10:81: http.routers.c.tls.options: host `g` on entry point `web`: routers name different TLS \
             options, `default` and `old@file`",
        ]
    );
}

#[test]
fn faults_of_the_static_configuration_that_show_late_have_their_places() {
    let fixed = "entryPoints:\n  web: {address: ':8000', http: {middlewares: [nobody@file], tls: {options: nobody}}}\n\
                 providers: {file: {filename: DYNAMIC}}\nserversTransport: {rootCAs: [/nonexistent.pem]}\n\
                 log: {filePath: /dev/null/x}\n";
    let routers = "http: {routers: {a: {rule: 'Host(`a`)', service: noop@internal}, b: {rule: 'Host(`b`)', service: noop@internal}}}";
    assert_eq!(
        faults_of(fixed, routers),
        [
            "static.yml:5:17: log.filePath: cannot open /dev/null/x: Not a directory (os error 20)",
            "static.yml:2:47: entryPoints.web.http.middlewares: middleware `nobody@file` does not exist",
            "static.yml:2:77: entryPoints.web.http.tls.options: no TLS options are called `nobody@file`",
            "static.yml:4:30: serversTransport.rootCAs[0]: /nonexistent.pem: No such file or directory (os error 2)",
        ]
    );
    let fixed = FIXED.replace("DYNAMIC", "/nope.yml");
    assert_eq!(
        faults_of(&fixed, ""),
        [
            "static.yml:2:30: providers.file.filename: cannot read /nope.yml: No such file or directory (os error 2)"
        ]
    );
    let fixed = FIXED.replace("':8000'", "''");
    assert_eq!(
        faults_of(&fixed, ""),
        ["static.yml:1:30: entryPoints.web.address: expected [host]:port, found ``"]
    );
}

#[test]
fn what_works_but_not_as_it_seems_is_a_warning() {
    let fixed = format!(
        "{FIXED}accessLog: {{fields: {{names: {{ClientHst: keep, RequestLine: keep}}}}}}\nping: yes\nmetrics: {{prometheus: }}\n"
    )
    .replace("filename: DYNAMIC", "filename: DYNAMIC, directory: DYNAMIC");
    let said = told(&fixed, "http: {routers: {r: {rule: 'Path(`/{{ env \"PORTCULLIS_TEST_UNSET\" }}`)', service: noop@internal}, s: }}")
        .expect("it works");
    let warnings: Vec<_> = said.lines().filter(|line| line.starts_with("warning ")).collect();
    assert_eq!(
        warnings,
        [
            "warning       static.yml:2:30: providers.file.filename: has no effect beside `directory`",
            "warning       static.yml:3:41: accessLog.fields.names.ClientHst: no line has this field; did you mean `ClientHost`?",
            "warning       static.yml:4:7: ping: `yes` counts as absent, as in Traefik: write true or false",
            "warning       static.yml:5:21: metrics.prometheus: without a value it counts as absent, as in Traefik: write `{}` for its defaults",
            "warning       dynamic.yml:1:36: the environment variable `PORTCULLIS_TEST_UNSET` is not set: it counts as empty",
            "warning       dynamic.yml:1:67: http.routers.s: without a value it counts as absent, as in Traefik",
        ]
    );
}
