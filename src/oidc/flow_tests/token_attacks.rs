//! Attacks on bearer tokens, by their number in the list of what must not be possible.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::bearer::{at_jwt, claims, ready, show, sign};
use super::*;

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

async fn is_refused(world: &World, policy: &Policy, token: &str, what: &str) {
    let outcome = show(world, policy, token).await;
    assert!(matches!(outcome.status(), 400 | 401), "{what}: {}", outcome.status());
}

/// A policy that never makes anybody wait.
async fn patient(world: &World) -> Policy {
    ready(world, &[("bearerFailureThreshold", "0")]).await
}

#[tokio::test]
async fn n47_algorithms() {
    let world = World::new().await;
    let policy = patient(&world).await;
    let keys = world.provider.count("jwks");
    let payload = encode(&Value::Object(claims(&world)).to_string());
    let public_key = world.provider.script().keys[0].jwk.to_string();
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "None", "kid": "key-1"}),
        json!({"kid": "key-1"}),
        json!({"alg": "HS256", "kid": "key-1"}),
        json!({"alg": "HS384", "kid": "unknown"}),
        json!({"alg": "ES512", "kid": "key-1"}),
        json!({"alg": ["ES256"], "kid": "key-1"}),
        json!({"alg": "", "kid": "key-1"}),
    ] {
        let message = format!("{}.{payload}", encode(&header.to_string()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public_key.as_bytes());
        let mac = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes()));
        for signature in ["", mac.as_str()] {
            is_refused(&world, &policy, &format!("{message}.{signature}"), &header.to_string()).await;
        }
    }
    assert_eq!(world.provider.count("jwks"), keys, "no key was fetched for them");
}

#[tokio::test]
async fn n48_headers_and_shapes() {
    let world = World::new().await;
    let policy = patient(&world).await;
    for header in [
        json!({"crit": ["exp"]}),
        json!({"crit": [], "b64": false}),
        json!({"b64": false}),
        json!({"cty": "JWT"}),
        json!({"typ": 5}),
        json!({"kid": 5}),
        json!({"zip": "DEF", "enc": "A256GCM"}),
    ] {
        let token = sign(&world, header.clone(), &claims(&world));
        let outcome = show(&world, &policy, &token).await;
        // A `zip` without encryption says nothing, as any unknown member.
        if header.get("zip").is_none() {
            assert_eq!(outcome.status(), 401, "{header}");
        }
    }
    let good = at_jwt(&world, |_| {});
    let (head, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let deep = encode(&format!("{{\"alg\":\"ES256\",\"a\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000)));
    for token in [
        format!("{head}.{payload}"),
        format!("{head}.{payload}.{signature}.a.b.c"),
        format!("{head}.{payload}.{signature}.a.b"),
        format!("{}.{payload}.{signature}", "A".repeat(30_000)),
        format!("{}.{payload}.{signature}", "A".repeat(1_000_000)),
        ".".repeat(10_000),
        "..".to_owned(),
        format!("{deep}.{payload}.{signature}"),
        format!("{head}.{payload}.{signature}="),
        format!("{head}.{payload}."),
        format!("{head}.{payload}.{}", signature.to_ascii_uppercase()),
    ] {
        let what = token.get(..60.min(token.len())).unwrap();
        let mut quickest = Duration::MAX;
        // What takes long does so each time, and what the machine does besides does not.
        for _ in 0..200 {
            let started = std::time::Instant::now();
            is_refused(&world, &policy, &token, what).await;
            quickest = quickest.min(started.elapsed());
            if quickest < Duration::from_millis(5) {
                break;
            }
        }
        assert!(quickest < Duration::from_millis(5), "{what}: {quickest:?}");
    }
}

/// There is no list of tokens that were seen: one may come as often as its client likes, at any process. And no text is
/// exempt from what all tokens must be (the plugin let this one pass its list).
#[tokio::test]
async fn n60_a_token_comes_as_often_as_it_likes() {
    let world = World::new().await;
    let token = at_jwt(&world, |_| {});
    let mut processes = Vec::new();
    for _ in 0..3 {
        let clock = Arc::clone(&world.clock);
        let one = World::process(world.provider.clone(), Arc::new(MemoryStore::new(100)), clock);
        let policy = patient(&one).await;
        processes.push((one, policy));
    }
    for n in 0..500 {
        let (world, policy) = &processes[n % 3];
        show(world, policy, &token).await.identity();
    }
    let header = "eyJhbGciOiJSUzI1NiIsImtpZCI6InRlc3Qta2V5LWlkIiwidHlwIjoiSldUIn0";
    let (_, rest) = token.split_once('.').unwrap();
    let (world, policy) = &processes[0];
    is_refused(world, policy, &format!("{header}.{rest}"), "the plugin's test token").await;
}

#[tokio::test]
async fn n48_deep_and_double_claims() {
    let world = World::new().await;
    let policy = patient(&world).await;
    let text = Value::Object(claims(&world)).to_string();
    let inner = text.trim_start_matches('{');
    for payload in [
        format!("{{\"sub\":\"admin\",{inner}"),
        format!("{{\"\\u0061ud\":\"other\",{inner}"),
        format!("{{\"deep\":{}{},{inner}", "[".repeat(10_000), "]".repeat(10_000)),
        "[]".to_owned(),
        "null".to_owned(),
    ] {
        let token = world.provider.script().keys[0].sign_text(json!({"typ": "at+jwt"}), &payload);
        is_refused(&world, &policy, &token, payload.get(..40).unwrap_or(&payload)).await;
    }
}

#[tokio::test]
async fn n49_types_of_claims() {
    let world = World::new().await;
    let policy = patient(&world).await;
    let odd = [json!("1"), json!(null), json!(1e300), json!(-1), json!([1]), json!({}), json!(true)];
    for name in ["exp", "iat", "nbf"] {
        for value in odd.iter().filter(|value| name != "nbf" || !value.is_null()) {
            let token = at_jwt(&world, |c| drop(c.insert(name.into(), value.clone())));
            is_refused(&world, &policy, &token, &format!("{name} {value}")).await;
        }
    }
    let issuer = world.provider.issuer.clone();
    for (name, value) in [
        ("iss", json!([issuer])),
        ("iss", json!(5)),
        ("aud", json!(5)),
        ("aud", json!({"https://api": 1})),
        ("aud", json!([])),
        ("aud", json!(["https://api", 5])),
        ("aud", json!([["https://api"]])),
        ("sub", json!(["machine-1"])),
        ("sub", json!(5)),
    ] {
        let token = at_jwt(&world, |c| drop(c.insert(name.into(), value.clone())));
        is_refused(&world, &policy, &token, &format!("{name} {value}")).await;
    }
    let fraction = at_jwt(&world, |c| c["exp"] = json!(c["exp"].as_f64().unwrap() + 0.5));
    show(&world, &policy, &fraction).await.identity();
}

#[tokio::test]
async fn n50_missing_claims() {
    let world = World::new().await;
    let policy = patient(&world).await;
    for name in ["exp", "iss", "aud", "iat", "sub", "jti", "client_id"] {
        is_refused(&world, &policy, &at_jwt(&world, |c| drop(c.remove(name))), name).await;
    }
    for (name, value) in
        [("jti", json!("")), ("jti", json!(5)), ("client_id", json!("")), ("client_id", json!(5))]
    {
        is_refused(&world, &policy, &at_jwt(&world, |c| c[name] = value.clone()), &format!("{name} {value}"))
            .await;
    }
    // Providers that do not follow RFC 9068 promise neither.
    let mut plain = claims(&world);
    plain.retain(|name, _| name != "jti" && name != "client_id");
    show(&world, &policy, &sign(&world, json!({"typ": "JWT"}), &plain)).await.identity();
}

#[tokio::test]
async fn n51_other_audiences_and_parties() {
    let world = World::new().await;
    let policy = patient(&world).await;
    let with = |aud: Value, azp: Value| {
        at_jwt(&world, move |c| {
            c["aud"] = aud;
            c.insert("azp".into(), azp);
        })
    };
    for (aud, azp) in [(json!("https://api"), json!("machine")), (json!(["https://api"]), json!("machine"))] {
        show(&world, &policy, &with(aud, azp)).await.identity();
    }
    for (aud, azp) in [
        (json!("https://api/"), json!("client")),
        (json!("client"), json!("client")),
        (json!(["b"]), json!("client")),
        (json!([]), json!("client")),
        (json!(["https://api", 1]), json!("client")),
        (json!(["https://api", "b"]), json!(["client"])),
    ] {
        is_refused(&world, &policy, &with(aud.clone(), azp), &aud.to_string()).await;
    }
    for issuer in ["https://evil.example", &format!("{}/", world.provider.issuer)] {
        is_refused(&world, &policy, &at_jwt(&world, |c| c["iss"] = json!(issuer)), issuer).await;
    }
}

/// A token for these audiences that was issued to this client, as `azp` and as `client_id` say it. Only what has a
/// `client_id` can be an access token of RFC 9068.
fn issued_to(world: &World, aud: &Value, azp: &Value, client: &Value) -> String {
    let typ = if client.is_null() { "JWT" } else { "at+jwt" };
    let mut claims = claims(world);
    claims["aud"] = aud.clone();
    claims.extend([("azp".into(), azp.clone()), ("client_id".into(), client.clone())]);
    claims.retain(|_, value| !value.is_null());
    sign(world, json!({"typ": typ}), &claims)
}

/// Shows a token of [`issued_to`] for each case, which says in the end whether it passes.
async fn judge(world: &World, policy: &Policy, aud: &Value, cases: &[(Value, Value, bool)]) {
    for (azp, client, passes) in cases {
        let outcome = show(world, policy, &issued_to(world, aud, azp, client)).await;
        let passed = matches!(outcome.decision, Decision::Forward(_));
        assert_eq!(passed, *passes, "{aud} {azp} {client}");
    }
}

/// Our own client as the audience, alone or among others.
#[tokio::test]
async fn n51_other_clients_of_our_tokens() {
    let world = World::new().await;
    let ours = ready(&world, &[("audience", "client"), ("bearerFailureThreshold", "0")]).await;
    judge(&world, &ours, &json!("client"), &[(json!("b"), json!("b"), true)]).await;
    let several = [
        (json!("client"), json!(null), true),
        (json!("b"), json!(null), false),
        (json!("client"), json!("b"), false),
        (json!(null), json!(null), false),
    ];
    judge(&world, &ours, &json!(["client", "b"]), &several).await;
}

/// An audience that is no client.
#[tokio::test]
async fn n51_other_clients_of_an_api() {
    let world = World::new().await;
    let api = patient(&world).await;
    let several = json!(["https://api", "b"]);
    let cases = [
        (json!("client"), json!(null), true),
        (json!("client"), json!("client"), true),
        (json!(null), json!("client"), true),
        (json!("b"), json!(null), false),
        (json!("b"), json!("b"), false),
        (json!(null), json!("b"), false),
        (json!("client"), json!("b"), false),
        (json!(null), json!(null), false),
        (json!(["client"]), json!(null), false),
    ];
    judge(&world, &api, &several, &cases).await;
    // Outside RFC 9068 a `client_id` says nothing for certain.
    let mut unmarked = claims(&world);
    unmarked.extend([("aud".into(), several), ("client_id".into(), json!("client"))]);
    let unmarked = sign(&world, json!({"typ": "JWT"}), &unmarked);
    is_refused(&world, &api, &unmarked, "for several, without azp").await;
}

#[tokio::test]
async fn n51_clients_that_are_not_listed() {
    let world = World::new().await;
    let listed = [("bearerAllowedClients", "[machine]"), ("bearerFailureThreshold", "0")];
    let listed = ready(&world, &listed).await;
    let cases = [
        (json!("machine"), json!(null), true),
        (json!(null), json!("machine"), true),
        (json!("client"), json!(null), true),
        (json!("machine"), json!("b"), false),
        (json!("b"), json!(null), false),
        (json!(null), json!(null), false),
    ];
    for aud in [json!("https://api"), json!(["https://api", "b"])] {
        judge(&world, &listed, &aud, &cases).await;
    }
}

#[tokio::test]
async fn n52_other_kinds_of_token() {
    let world = World::new().await;
    let policy = patient(&world).await;
    for typ in ["logout+jwt", "application/logout+jwt", "id+jwt", "JOSE", "secevent+jwt", "dpop+jwt"] {
        let token = sign(&world, json!({"typ": typ}), &claims(&world));
        is_refused(&world, &policy, &token, typ).await;
    }
    for (name, value) in [
        ("nonce", json!("n")),
        ("at_hash", json!("h")),
        ("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})),
        ("token_use", json!("id")),
        ("token_use", json!(["access"])),
        ("typ", json!(["Bearer"])),
        // Of no use without the key whose proof nobody asks for here.
        ("cnf", json!({"jkt": "thumbprint"})),
        ("cnf", json!({"x5t#S256": "digest"})),
        ("typ", json!("Refresh")),
        ("typ", json!("ID")),
    ] {
        is_refused(&world, &policy, &at_jwt(&world, |c| drop(c.insert(name.into(), value))), name).await;
    }
    let marked = at_jwt(&world, |_| {});
    let plain = sign(&world, json!({"typ": "JWT"}), &claims(&world));
    let strict = ready(&world, &[("bearerRequireAtJwt", "true")]).await;
    is_refused(&world, &strict, &plain, "plain where at+jwt is required").await;
    show(&world, &strict, &marked).await.identity();
    // With the client as the audience, an ID token without a nonce looks like an access token.
    let client = ready(&world, &[("audience", "client")]).await;
    let mut id_token = claims(&world);
    id_token["aud"] = json!("client");
    id_token.remove("scope");
    is_refused(&world, &client, &sign(&world, json!({"typ": "JWT"}), &id_token), "ID token").await;
}

#[tokio::test]
async fn n55_unknown_keys_cost_one_fetch() {
    let world = World::new().await;
    let policy = patient(&world).await;
    let keys = world.provider.count("jwks");
    let stranger = crate::oidc::fake_provider::SigningKey::new("key-1");
    let started = std::time::Instant::now();
    for n in 0..1_000 {
        let token = stranger.sign(json!({"typ": "at+jwt", "kid": format!("random-{n}")}), &claims(&world));
        let outcome = show(&world, &policy, &token).await;
        // The provider does not know the first one; nobody may ask it about the others yet.
        assert_eq!(outcome.status(), if n == 0 { 401 } else { 503 }, "{n}");
        assert_eq!(outcome.answer().headers.contains_key("retry-after"), n > 0);
    }
    assert!(started.elapsed() < Duration::from_millis(20) * 1_000, "{:?}", started.elapsed());
    is_refused(&world, &policy, &stranger.sign(json!({"typ": "at+jwt"}), &claims(&world)), "forged").await;
    assert!(world.provider.count("jwks") - keys <= 1);
}

#[tokio::test]
async fn n55_odd_key_ids_cost_none() {
    let world = World::new().await;
    let policy = patient(&world).await;
    let keys = world.provider.count("jwks");
    for kid in
        ["../../etc/passwd", "a b", "a' OR 1=1 --", "", &"k".repeat(257), "key\u{0}", "https://evil/key"]
    {
        let kid = if kid.is_empty() { "é" } else { kid };
        let token = sign(&world, json!({"typ": "at+jwt", "kid": kid}), &claims(&world));
        is_refused(&world, &policy, &token, kid).await;
    }
    assert_eq!(world.provider.count("jwks"), keys);
}

/// Cognito names its keys in base64.
#[tokio::test]
async fn keys_with_names_in_base64_are_found() {
    let world = World::new().await;
    let name = "zxL2uOaEZqr8R0jgrm1/YGMDr+c8cPfYLKmT4Y2tZpk=";
    world.provider.script().keys = vec![crate::oidc::fake_provider::SigningKey::new(name)];
    show(&world, &patient(&world).await, &at_jwt(&world, |_| {})).await.identity();
}

/// The only key of that id is one for encryption: what it signed is nothing, as bearer and as ID token.
#[tokio::test]
async fn n57_a_key_for_encryption_verifies_nothing() {
    for marks in [
        json!({"use": "enc"}),
        json!({"key_ops": ["encrypt", "wrapKey"]}),
        json!({"use": "enc", "alg": "ES256"}),
    ] {
        let world = World::new().await;
        let mut encrypting = world.provider.script().keys[0].jwk.clone();
        encrypting.as_object_mut().unwrap().retain(|name, _| name != "use" && name != "alg");
        let unmarked = encrypting.clone();
        encrypting.as_object_mut().unwrap().extend(marks.as_object().unwrap().clone());
        let other = crate::oidc::fake_provider::SigningKey::new("another").jwk;
        let publish = |keys: &[&Value]| world.provider.script().jwks = Some(json!({ "keys": keys }));
        publish(&[&encrypting, &other]);
        let policy = patient(&world).await;
        is_refused(&world, &policy, &at_jwt(&world, |_| {}), &marks.to_string()).await;
        let another = World::with(world.provider.clone());
        let anonymous = sign(&another, json!({"typ": "at+jwt", "kid": null}), &claims(&another));
        is_refused(&another, &patient(&another).await, &anonymous, "no key id").await;
        assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 502, "{marks}");
        // The mark is what makes the difference.
        publish(&[&unmarked, &other]);
        world.clock.advance(Duration::from_secs(11));
        let fresh = World::with(world.provider.clone());
        let policy = patient(&fresh).await;
        show(&fresh, &policy, &at_jwt(&fresh, |_| {})).await.identity();
    }
}

#[tokio::test]
async fn n58_the_header_does_not_choose_the_key() {
    let world = World::new().await;
    let policy = patient(&world).await;
    let evil = World::new().await;
    let at = format!("{}/jwks", evil.provider.issuer);
    let stranger = crate::oidc::fake_provider::SigningKey::new("key-1");
    for header in [
        // First, as without a key id it is judged only by keys that are fetched for it.
        json!({"jku": at, "kid": null}),
        json!({"jku": at}),
        json!({"x5u": at}),
        json!({"jwk": stranger.jwk}),
        json!({"x5c": ["MIIB"]}),
    ] {
        is_refused(&world, &policy, &stranger.sign(header.clone(), &claims(&world)), &header.to_string())
            .await;
    }
    assert_eq!(evil.provider.count("jwks"), 0);
    let harmless = sign(&world, json!({"typ": "at+jwt", "jku": at}), &claims(&world));
    show(&world, &policy, &harmless).await.identity();
    assert_eq!(evil.provider.count("jwks"), 0);
}

#[tokio::test]
async fn n59_encrypted_and_compressed() {
    let world = World::new().await;
    let policy = patient(&world).await;
    let header = encode("{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\",\"zip\":\"DEF\"}");
    is_refused(&world, &policy, &format!("{header}.AA.AA.AA.AA"), "JWE").await;
}
