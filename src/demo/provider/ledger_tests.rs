#![allow(clippy::unwrap_used)]

use super::*;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const LIVES: Lives = Lives { access: Duration::from_secs(30), refresh: Some(Duration::from_secs(3600)) };

fn ledger_with_code() -> (Ledger, String) {
    let mut ledger = Ledger::default();
    let (_, login) = ledger.log_in("alice", 1000).unwrap();
    let grant = Grant {
        client: "app".to_owned(),
        user: login.user,
        sid: login.sid,
        scope: "openid".to_owned(),
        auth_time: 1000,
        audience: None,
    };
    let code = Code {
        grant,
        nonce: Some("n".to_owned()),
        redirect_uri: "http://app/cb".to_owned(),
        challenge: keys::sha256_text(VERIFIER),
    };
    let value = ledger.issue_code(code, 1000).unwrap();
    (ledger, value)
}

fn shown(code: &str) -> Redemption<'_> {
    Redemption { code, client: "app", redirect_uri: "http://app/cb", verifier: VERIFIER }
}

fn issue(ledger: &mut Ledger, grant: &str, now: Millis) -> Tokens {
    ledger.issue_tokens(grant, keys::random_text().unwrap(), LIVES, now).unwrap()
}

fn ledger_with_tokens() -> (Ledger, Tokens) {
    let (mut ledger, code) = ledger_with_code();
    let (grant, _) = ledger.redeem(&shown(&code), 2000).unwrap();
    let tokens = issue(&mut ledger, &grant, 2000);
    (ledger, tokens)
}

#[test]
fn a_code_is_good_once_and_its_second_use_voids_the_tokens() {
    let (mut ledger, code) = ledger_with_code();
    let (grant, nonce) = ledger.redeem(&shown(&code), 2000).unwrap();
    assert_eq!(nonce.as_deref(), Some("n"));
    let tokens = issue(&mut ledger, &grant, 2000);
    assert!(ledger.by_access_token(&tokens.access, 2001).is_some());
    assert!(matches!(ledger.redeem(&shown(&code), 2002), Err(Refusal::SpentCode)));
    assert!(ledger.by_access_token(&tokens.access, 2003).is_none());
}

#[test]
fn a_code_is_bound_to_verifier_redirect_uri_client_and_time() {
    let (mut ledger, code) = ledger_with_code();
    let wrong = Redemption { verifier: "other", ..shown(&code) };
    assert!(matches!(ledger.redeem(&wrong, 2000), Err(Refusal::WrongVerifier)));
    let wrong = Redemption { redirect_uri: "http://evil/cb", ..shown(&code) };
    assert!(matches!(ledger.redeem(&wrong, 2000), Err(Refusal::ForeignCode)));
    let wrong = Redemption { client: "other", ..shown(&code) };
    assert!(matches!(ledger.redeem(&wrong, 2000), Err(Refusal::ForeignCode)));
    assert!(ledger.redeem(&shown(&code), 60_999).is_ok());

    let (mut ledger, code) = ledger_with_code();
    assert!(matches!(ledger.redeem(&shown(&code), 61_000), Err(Refusal::UnknownCode)));
}

#[test]
fn a_second_use_of_a_refresh_token_ends_the_family() {
    let (mut ledger, tokens) = ledger_with_tokens();
    let old = tokens.refresh.unwrap();
    let grant = ledger.refresh(&old, "app", Rotation::Strict, 3000).unwrap();
    let new = issue(&mut ledger, &grant, 3000).refresh.unwrap();
    let again = ledger.refresh(&old, "app", Rotation::Strict, 3001);
    assert!(matches!(again, Err(Refusal::SpentRefreshEndsGrant)));
    let winner = ledger.refresh(&new, "app", Rotation::Strict, 3002);
    assert!(matches!(winner, Err(Refusal::UnknownRefresh)));
}

#[test]
fn lenient_rotation_spares_the_winner() {
    let (mut ledger, tokens) = ledger_with_tokens();
    let old = tokens.refresh.unwrap();
    let grant = ledger.refresh(&old, "app", Rotation::Lenient, 3000).unwrap();
    let new = issue(&mut ledger, &grant, 3000).refresh.unwrap();
    let again = ledger.refresh(&old, "app", Rotation::Lenient, 3001);
    assert!(matches!(again, Err(Refusal::SpentRefresh)));
    assert!(ledger.refresh(&new, "app", Rotation::Lenient, 3002).is_ok());
}

#[test]
fn without_rotation_a_refresh_token_stays_good_for_its_client() {
    let (mut ledger, tokens) = ledger_with_tokens();
    let token = tokens.refresh.unwrap();
    assert!(ledger.refresh(&token, "app", Rotation::Off, 3000).is_ok());
    assert!(ledger.refresh(&token, "app", Rotation::Off, 3001).is_ok());
    assert!(ledger.refresh(&token, "other", Rotation::Off, 3002).is_err());
}

#[test]
fn logout_and_revocation_end_the_grant() {
    let (mut ledger, tokens) = ledger_with_tokens();
    let sid = ledger.by_access_token(&tokens.access, 2001).unwrap().sid.clone();
    assert_eq!(ledger.log_out(&sid).unwrap().user, "alice");
    assert!(ledger.by_access_token(&tokens.access, 2001).is_none());

    let (mut ledger, tokens) = ledger_with_tokens();
    let refresh = tokens.refresh.unwrap();
    assert!(ledger.revoke(&refresh, "other").is_none());
    assert!(ledger.revoke(&refresh, "app").is_some());
    assert!(ledger.refresh(&refresh, "app", Rotation::Strict, 2002).is_err());
}

#[test]
fn a_sweep_forgets_what_is_over_and_keeps_the_rest() {
    let (mut ledger, tokens) = ledger_with_tokens();
    ledger.sweep(40_000);
    assert!(ledger.access.is_empty());
    assert!(ledger.refresh(&tokens.refresh.unwrap(), "app", Rotation::Off, 40_001).is_ok());
    ledger.sweep(4_000_000);
    assert!(ledger.refresh.is_empty() && ledger.grants.is_empty() && ledger.codes.is_empty());
}
