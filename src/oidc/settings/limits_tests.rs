//! What loads but could not work, or would be taken for something else, is refused at its key.

use super::tests::plugin;
use crate::config::Decoder;
use crate::config::value::{Entry, Node, Value};
use crate::oidc::flow_tests::block;

use super::*;

/// The keys at which these options are refused.
fn faults(lines: &[(&str, &str)]) -> Vec<String> {
    plugin(lines).map_or_else(|faults| faults.into_iter().map(|(key, _)| key).collect(), |_| Vec::new())
}

#[test]
fn a_reference_to_a_secret_of_kubernetes_is_refused_wherever_it_stands() {
    const REFERENCE: &str = "urn:k8s:secret:login:value";
    for key in [
        "sessionEncryptionKey",
        "clientSecret",
        "clientID",
        "providerURL",
        "clientAssertionPrivateKey",
        "caCertPEM",
        "redis.password",
        "extraAuthParams.key",
        "session.store.redis.password",
        "clientConfig.tls.key",
        "clientConfig.proxy",
    ] {
        let found = plugin(&[(key, REFERENCE)]).unwrap_err();
        assert!(
            found.iter().any(|(path, why)| path == key && why.contains("env \"NAME\"")),
            "{key}: {found:?}"
        );
        assert!(!format!("{found:?}").contains("login:value"), "{key}");
    }
    let listed = plugin(&[("previousSessionEncryptionKeys", "[URN:K8S:secret:a:b]")]).unwrap_err();
    assert_eq!(listed[0].0, "previousSessionEncryptionKeys[0]");
    assert!(plugin(&[("resource", "urn:k8s:service:a")]).is_ok(), "another name of that kind");
}

#[test]
fn a_blank_expression_does_not_open_the_route() {
    for blank in ["", "   ", "\t\n"] {
        assert_eq!(faults(&[("claims", blank)]), ["claims"], "{blank:?}");
    }
    assert!(plugin(&[]).unwrap().0.gate.claims.is_none());
}

/// `allowedUsers: {{ env "USERS" }}` without that variable is a key without a value, and `[{{ env "USERS" }}]` an empty list.
#[test]
fn a_rule_without_a_value_does_not_open_the_route() {
    let with = |key: &str, value: Value| {
        let mut node = block(super::tests::PLUGIN);
        let (at, Value::Map(entries)) = (node.at.clone(), &mut node.value) else { panic!() };
        let written = Node { value, at: at.clone() };
        entries.push(Entry { key: key.to_owned(), at, node: written });
        let mut decoder = Decoder::new();
        let settings = decode(&node, Dialect::Plugin, &mut decoder);
        let (errors, warnings) = decoder.told();
        let keys = |told: Vec<crate::config::ConfigError>| {
            told.into_iter().map(|fault| fault.path).collect::<Vec<_>>()
        };
        (settings.is_some(), keys(errors), keys(warnings))
    };
    for key in [
        "allowedUsers",
        "allowedUserDomains",
        "allowedRolesAndGroups",
        "allowedTenants",
        "claims",
        "acrValues",
        "maxAge",
        "bearerAllowedClients",
        "bearerRequireAtJwt",
        "requireTokenIntrospection",
        "strictAudienceValidation",
        "disableLogin",
    ] {
        assert_eq!(with(key, Value::Null), (false, vec![key.to_owned()], vec![]));
    }
    assert_eq!(with("ALLOWEDUSERS", Value::Null).1, ["allowedUsers"]);
    assert_eq!(with("allowedUsers", Value::List(vec![])), (true, vec![], vec!["allowedUsers".to_owned()]));
    assert!(with("audience", Value::Null).0, "no rule");
    // Blank text is a list with a blank name, which nobody has.
    assert_eq!(plugin(&[("allowedUsers", "")]).unwrap().0.gate.users, [""]);
}

#[test]
fn http_is_for_loopback_and_the_issuers_own_host() {
    for key in ["revocationURL", "introspectionURL", "oidcEndSessionURL", "postLogoutRedirectURI"] {
        assert_eq!(faults(&[(key, "http://id.example/x")]), [key]);
        assert_eq!(faults(&[(key, "http://localhost:9400/x")]), Vec::<String>::new(), "{key}");
    }
    let beside = [("providerURL", "http://op.test:9400"), ("revocationURL", "http://op.test:9400/revoke")];
    assert!(plugin(&beside).is_ok());
    for key in ["audience", "resource"] {
        assert_eq!(faults(&[(key, "http://api.example.com")]), [key]);
    }
}

#[test]
fn no_path_of_ours_is_where_our_cookies_do_not_come() {
    assert_eq!(faults(&[("cookiePath", "/app")]), ["callbackURL"]);
    let below = [("cookiePath", "/app"), ("callbackURL", "/app/cb")];
    assert!(plugin(&below).is_ok());
    for (key, place) in
        [("logoutURL", "/logout"), ("sessionEndpoints", "/apple"), ("frontchannelLogoutURL", "/front")]
    {
        let lines = [&below[..], &[("enableFrontchannelLogout", "true"), (key, place)]].concat();
        assert_eq!(faults(&lines), [key]);
    }
}

#[test]
fn a_time_for_calls_beyond_the_limit_is_told_as_what_it_is() {
    let (settings, warnings) = plugin(&[("clientConfig.timeoutSeconds", "60")]).unwrap();
    assert_eq!((settings.provider.timeout, warnings.len()), (Some(Duration::from_secs(10)), 1));
    assert_eq!(warnings, ["clientConfig.timeoutSeconds"]);
    assert!(plugin(&[("clientConfig.timeoutSeconds", "10")]).unwrap().1.is_empty());
    assert_eq!(faults(&[("clientConfig.timeoutSeconds", "0")]), ["clientConfig.timeoutSeconds"]);
}

#[test]
fn what_the_plugin_refuses_is_refused_although_it_does_nothing() {
    for (key, value) in [("logLevel", "warn"), ("rateLimit", "9")] {
        assert_eq!(faults(&[(key, value)]), [key]);
    }
    assert!(
        plugin(&[("logLevel", "ERROR"), ("rateLimit", "10")]).is_ok() && plugin(&[("logLevel", "")]).is_ok()
    );
    let redis = [("redis.enabled", "true"), ("redis.address", "redis:6379")];
    for (key, value) in
        [("redis.cacheMode", "foo"), ("redis.healthCheckInterval", "-1"), ("redis.hybridL1Size", "-5")]
    {
        assert_eq!(faults(&[&redis[..], &[(key, value)]].concat()), [key]);
    }
}

#[test]
fn a_parameter_of_the_login_is_set_once() {
    assert_eq!(faults(&[("extraAuthParams.prompt", "login"), ("authParams.prompt", "none")]), ["authParams"]);
    let both = plugin(&[("extraAuthParams.prompt", "login"), ("authParams.hd", "example.com")]).unwrap().0;
    assert_eq!(both.auth_params.len(), 2);
}

#[test]
fn a_header_is_set_once() {
    let twice = [("forwardHeaders.X-Mail", "email"), ("forwardHeaders.x_mail", "upn")];
    assert_eq!(faults(&twice), ["forwardHeaders"]);
    let mut node = block(super::tests::PLUGIN);
    let Value::Map(entries) = &mut node.value else { panic!() };
    let headers = ["X-Mail", "X-MAIL"].map(|name| block(&[("name", name), ("value", "{{.Claims.email}}")]));
    let list = Node { value: Value::List(headers.to_vec()), at: node.at.clone() };
    entries.push(Entry { key: "headers".into(), at: node.at.clone(), node: list });
    let mut decoder = Decoder::new();
    assert!(decode(&node, Dialect::Plugin, &mut decoder).is_none());
    let told = decoder.told().0;
    assert_eq!((told.len(), told[0].message.as_str()), (1, "`X-MAIL` is set already, as `X-Mail`"));
}
