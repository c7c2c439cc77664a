//! Limits of logins, as clients meet them on the wire.

use crate::harness::http1::Connection;
use crate::harness::idp::Plan;

/// By the address that a trusted proxy tells, and by nothing that a client writes itself.
#[tokio::test]
async fn logins_of_one_address_are_limited_and_nobody_elses() {
    let trusted = "forwardedHeaders:\n  trustedIPs: [127.0.0.2]\n";
    let plan = Plan::new().entry_point("web", trusted).plugin("perSourceLoginRateLimit: 4");
    let world = plan.start().await;
    let from = async |peer: &str, told: &str| {
        let head = format!("GET /x HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {told}\r\n");
        let mut connection = Connection::open_from(peer, world.proxy.web()).await;
        connection.send(format!("{head}Sec-Fetch-Mode: navigate\r\nConnection: close\r\n\r\n")).await;
        connection.response().await
    };
    for _ in 0..4 {
        assert_eq!(from("127.0.0.2", "203.0.113.7").await.status(), 302);
    }
    let refused = from("127.0.0.2", "203.0.113.7").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.get("retry-after").is_some_and(|seconds| seconds.parse::<u8>().is_ok_and(|s| s <= 15)));
    assert!(refused.get("set-cookie").is_none() && refused.get("location").is_none());
    // A forged address beside the true one does not make another client of it, nor one of anybody else.
    assert_eq!(from("127.0.0.2", "198.51.100.1, 203.0.113.7").await.status(), 429);
    assert_eq!(from("127.0.0.2", "203.0.113.8").await.status(), 302);
    // A peer that is not trusted is itself, whatever it says; this one is on a network of ours, which is not limited.
    for n in 0..8 {
        assert_eq!(from("127.0.0.1", "203.0.113.7").await.status(), 302, "{n}");
    }
    // Who is logged in is not concerned.
    let browser = world.browser_of("alice").await;
    assert_eq!(browser.fetch(&world.at("/x")).await.status, 200);
}
