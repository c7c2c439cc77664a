use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::oidc::reach::Reach;
use crate::oidc::settings::ProviderSettings;

async fn metadata(methods: Value) -> Metadata {
    let document = json!({
        "issuer": "https://203.0.113.1", "authorization_endpoint": "https://203.0.113.1/auth",
        "token_endpoint": "https://203.0.113.1/token", "jwks_uri": "https://203.0.113.1/jwks",
        "token_endpoint_auth_methods_supported": methods,
    });
    let settings = ProviderSettings::default();
    Metadata::read(document.to_string().as_bytes(), "https://203.0.113.1", &settings, &Reach::new(false))
        .await
        .unwrap()
}

fn credentials(secret: Option<&str>) -> Credentials {
    Credentials {
        id: "a client".to_owned(),
        method: None,
        secret: secret.map(SecretString::from),
        assertion: None,
        audience: Audience::default(),
        has_certificate: false,
    }
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
}

fn form(request: &Request<Vec<u8>>) -> std::collections::BTreeMap<String, String> {
    url::form_urlencoded::parse(request.body()).into_owned().collect()
}

fn decode(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn the_method_by_what_is_listed() {
    let with = credentials(Some("s"));
    let without = credentials(None);
    let nothing = metadata(Value::Null).await;
    assert_eq!(with.method(&nothing), ClientAuth::SecretPost);
    assert_eq!(without.method(&nothing), ClientAuth::Public);
    let basic = metadata(json!(["client_secret_basic", "private_key_jwt"])).await;
    assert_eq!(with.method(&basic), ClientAuth::SecretBasic);
    let jwt = metadata(json!(["client_secret_jwt"])).await;
    assert_eq!(with.method(&jwt), ClientAuth::SecretJwt);
    let configured = Credentials { method: Some(ClientAuth::SecretPost), ..with };
    assert_eq!(configured.method(&basic), ClientAuth::SecretPost);
    let certified = Credentials { has_certificate: true, ..without };
    assert_eq!(certified.method(&nothing), ClientAuth::TlsClient);
}

#[tokio::test]
async fn basic_puts_nothing_into_the_body() {
    let basic = metadata(json!(["client_secret_basic"])).await;
    let proof = credentials(Some("s/+ä")).proof(&basic).await.unwrap();
    let request = proof.post(&basic.token_endpoint, &[("token", "t")]).unwrap();
    let header = request.headers()[AUTHORIZATION].to_str().unwrap();
    let pair = STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
    assert_eq!(pair, b"a+client:s%2F%2B%C3%A4");
    assert_eq!(form(&request).into_keys().collect::<Vec<_>>(), ["token"]);
    assert!(request.headers()[AUTHORIZATION].is_sensitive());
}

#[tokio::test]
async fn an_assertion_is_short_and_used_once() {
    let jwt = metadata(json!(["client_secret_jwt"])).await;
    let credentials = credentials(Some("secret"));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let proof = credentials.proof(&jwt).await.unwrap();
        let form = form(&proof.post(&jwt.token_endpoint, &[]).unwrap());
        assert_eq!(form["client_id"], "a client");
        assert_eq!(form["client_assertion_type"], JWT_BEARER);
        assert!(!form.contains_key("client_secret"));
        let parts: Vec<&str> = form["client_assertion"].split('.').collect();
        let (header, claims) = (decode(parts[0]), decode(parts[1]));
        assert_eq!(header["alg"], "HS256");
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("a client"), &json!("a client")));
        assert_eq!(claims["aud"], "https://203.0.113.1", "one string, the issuer");
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
        seen.push(claims["jti"].clone());
    }
    assert_ne!(seen[0], seen[1]);
    let other = Credentials { audience: Audience::TokenEndpoint, ..credentials };
    let proof = other.proof(&jwt).await.unwrap();
    let form = form(&proof.post(&jwt.token_endpoint, &[]).unwrap());
    assert_eq!(
        decode(form["client_assertion"].split('.').nth(1).unwrap())["aud"],
        "https://203.0.113.1/token"
    );
}

#[test]
fn keys_in_every_usual_form_sign_what_their_public_half_verifies() {
    use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, UnparsedPublicKey};
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
    // PKCS#8 wraps PKCS#1: 26 bytes go before it for a key of this size.
    let pkcs1 = pem("RSA PRIVATE KEY", &pkcs8.as_ref()[26..]);
    let pkcs8 = pem("PRIVATE KEY", pkcs8.as_ref());
    let public = rsa.public_key().as_ref();
    for (alg, verify) in [
        ("RS256", &signature::RSA_PKCS1_2048_8192_SHA256),
        ("RS384", &signature::RSA_PKCS1_2048_8192_SHA384),
        ("RS512", &signature::RSA_PKCS1_2048_8192_SHA512),
        ("PS256", &signature::RSA_PSS_2048_8192_SHA256),
        ("PS384", &signature::RSA_PSS_2048_8192_SHA384),
        ("PS512", &signature::RSA_PSS_2048_8192_SHA512),
    ] {
        for pem in [&pkcs8, &pkcs1] {
            let signature = Signer::from_pem(pem, alg).unwrap().sign(b"message").unwrap();
            UnparsedPublicKey::new(verify, public).verify(b"message", &signature).expect(alg);
        }
    }
    for (alg, signing, verify) in [
        ("ES256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING, &signature::ECDSA_P256_SHA256_FIXED),
        ("ES384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING, &signature::ECDSA_P384_SHA384_FIXED),
        ("ES512", &signature::ECDSA_P521_SHA512_FIXED_SIGNING, &signature::ECDSA_P521_SHA512_FIXED),
    ] {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let sec1 =
            AsDer::<aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_>>::as_der(&pair.private_key()).unwrap();
        let forms =
            [pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()), pem("EC PRIVATE KEY", sec1.as_ref())];
        for pem in &forms {
            let signature = Signer::from_pem(pem, alg).unwrap().sign(b"message").unwrap();
            UnparsedPublicKey::new(verify, pair.public_key().as_ref())
                .verify(b"message", &signature)
                .expect(alg);
            assert_eq!(Signer::from_pem(pem, "RS256").unwrap_err(), KeyFault::Kind("RS256"));
        }
    }
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let key = pem("PRIVATE KEY", ed25519.to_pkcs8().unwrap().as_ref());
    let signature = Signer::from_pem(&key, "EdDSA").unwrap().sign(b"message").unwrap();
    let public = UnparsedPublicKey::new(&signature::ED25519, ed25519.public_key().as_ref());
    public.verify(b"message", &signature).unwrap();
    assert_eq!(Signer::from_pem(&pkcs8, "ES256").unwrap_err(), KeyFault::Kind("ES256"));
    assert_eq!(Signer::from_pem(&pkcs8, "HS256").unwrap_err(), KeyFault::Algorithm);
    assert_eq!(Signer::from_pem(b"nonsense", "RS256").unwrap_err(), KeyFault::Unreadable);
}

#[tokio::test]
async fn a_key_file_is_read_again_and_the_last_good_key_serves_on() {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
    };
    let jwt = metadata(json!(["private_key_jwt"])).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let assertion = Assertion { key: KeySource::file(&path, "ES256"), key_id: Some("k".to_owned()) };
    let credentials = Credentials { assertion: Some(assertion), ..credentials(None) };
    assert!(credentials.load().unwrap_err().to_string().contains("key.pem"));
    let signed_by = async |pair: &EcdsaKeyPair| {
        let proof = credentials.proof(&jwt).await.unwrap();
        let form = form(&proof.post(&jwt.token_endpoint, &[]).unwrap());
        let (message, signature) = form["client_assertion"].rsplit_once('.').unwrap();
        assert_eq!(decode(message.split('.').next().unwrap())["kid"], "k");
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        key.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).is_ok()
    };
    let write = |pair: &EcdsaKeyPair| {
        std::fs::write(&path, pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref())).unwrap()
    };
    let [first, second] = [0, 1].map(|_| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    write(&first);
    credentials.load().unwrap();
    assert!(signed_by(&first).await);
    write(&second);
    assert!(signed_by(&second).await);
    std::fs::write(&path, "half a key").unwrap();
    assert!(signed_by(&second).await);
    std::fs::remove_file(&path).unwrap();
    assert!(signed_by(&second).await);
}

/// A registration is looked for by what its credentials look like, so another key under the same name must look otherwise.
#[test]
fn keys_look_different_and_show_nothing() {
    let shown = |pem: &str| format!("{:?}", Signer::from_pem(pem.as_bytes(), "ES256").unwrap());
    let [one, other] = [(); 2].map(|()| rcgen::KeyPair::generate().unwrap().serialize_pem());
    assert_eq!(shown(&one), shown(&one));
    assert_ne!(shown(&one), shown(&other));
    assert!(!format!("{:?}", Signer::from_secret(&"secret".into())).contains("secret"));
}
