//! No rule makes the parser panic, and the index agrees with the rule that it was built from.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use portcullis::router::{RequestView, RouteSpec, Router, Rule};

fuzz_target!(|input: (&str, &str, &str, Option<&str>)| {
    let (text, host, path, query) = input;
    let rule = match Rule::parse(text) {
        Ok(rule) => rule,
        Err(error) => {
            assert!(error.offset <= text.len());
            return;
        }
    };
    let headers = HeaderMap::new();
    let request = RequestView {
        method: &Method::GET,
        host,
        path,
        query,
        headers: &headers,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let holds = rule.matches(&request);
    let spec = RouteSpec { name: "r".to_owned(), rule, priority: 0, provider_rank: 0 };
    assert_eq!(Router::build(vec![spec]).route(&request).is_some(), holds);
});
