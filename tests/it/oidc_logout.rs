//! Logouts that the provider starts.

use http::Request;
use serde_json::json;

use crate::harness::client::{Browser, Http2};
use crate::harness::http1::Connection;
use crate::harness::idp::{CLIENT, Plan, World};

const BACK: &str = "/oauth2/backchannel";

fn plan() -> Plan {
    Plan::new().plugin("enableBackchannelLogout: true").plugin(&format!("backchannelLogoutURL: {BACK}"))
}

fn form(world: &World, user: &str) -> String {
    let target = json!({ "sub": user });
    let token = world.idp.logout_token(CLIENT, target.as_object().unwrap().clone()).unwrap();
    format!("logout_token={token}")
}

/// A logout of the provider's, over HTTP/1.
async fn back_channel(world: &World, user: &str, extra: &str) -> u16 {
    let form = form(world, user);
    let mut connection = Connection::open(world.proxy.web()).await;
    connection
        .send(format!(
            "POST {BACK} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n{extra}\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            form.len()
        ))
        .await;
    if !extra.is_empty() {
        assert_eq!(connection.response().await.status(), 100);
    }
    connection.send(form).await;
    let answer = connection.response().await;
    assert_eq!(answer.get("cache-control"), Some("no-store"));
    answer.status()
}

async fn is_in(world: &World, browser: &Browser) -> bool {
    browser.fetch(&world.at("/x")).await.status == 200
}

#[tokio::test]
async fn the_provider_logs_out_over_every_protocol() {
    let world = plan().start().await;
    for round in 0..4 {
        let browser = world.browser_of("alice").await;
        let bob = world.browser_of("bob").await;
        let status = match round {
            0 => back_channel(&world, "alice", "").await,
            1 => back_channel(&world, "alice", "Expect: 100-continue\r\n").await,
            _ => {
                let form = form(&world, "alice");
                let request = Request::post(format!("http://localhost{BACK}"))
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(())
                    .unwrap();
                let http2 = Http2::open(world.proxy.web()).await;
                let (head, tail) = form.as_bytes().split_at(100);
                http2.send(request, &[head, tail], round == 3).await.status
            }
        };
        assert_eq!(status, 200, "round {round}");
        assert!(!is_in(&world, &browser).await && is_in(&world, &bob).await, "round {round}");
    }
    assert!(!world.proxy.log().contains("eyJ"), "a token in the log");
    assert_eq!(world.proxy.metric("portcullis_oidc_logouts_total", &["back_channel"]).await, 4.0);
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let world = plan().start().await;
    let mut connection = Connection::open(world.proxy.web()).await;
    let head = "Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000000\r\n\r\n";
    connection.send(format!("POST {BACK} HTTP/1.1\r\n{head}")).await;
    connection.send("x".repeat(100_000)).await;
    assert_eq!(connection.response().await.status(), 400);
}
