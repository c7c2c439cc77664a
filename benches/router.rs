//! How long it takes to find the router of a request, with 10, 1,000 and 10,000 of them.
//!
//! `cargo bench --bench router`. Every shape is measured on a request to a router in the middle and on one that no
//! router answers; requests rotate so that the branch predictor does not learn a single one by heart.

#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use portcullis::router::{RequestView, RouteSpec, Router, Rule, default_priority};

const SIZES: [usize; 3] = [10, 1_000, 10_000];
const REQUESTS: usize = 1024;

/// A family of rules, and the requests that they answer.
struct Shape {
    name: &'static str,
    rule: fn(usize) -> String,
    host: fn(usize) -> String,
    path: fn(usize) -> String,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "host_and_prefix",
        rule: |at| format!("Host(`app{at}.example.com`) && PathPrefix(`/api`)"),
        host: |at| format!("app{at}.example.com"),
        path: |_| "/api/v1/items/42".to_owned(),
    },
    Shape {
        name: "one_host_many_prefixes",
        rule: |at| format!("Host(`example.com`) && PathPrefix(`/team{}/app{at}`)", at % 97),
        host: |_| "example.com".to_owned(),
        path: |at| format!("/team{}/app{at}/v1/items/42", at % 97),
    },
    Shape {
        name: "path_only",
        rule: |at| format!("Path(`/app{at}/login`)"),
        host: |_| "example.com".to_owned(),
        path: |at| format!("/app{at}/login"),
    },
    Shape {
        name: "wildcard_host_and_header",
        rule: |at| {
            format!(
                "Host(`*.team{at}.example.com`) && Header(`X-Env`, `prod`) || Host(`team{at}.example.com`)"
            )
        },
        host: |at| format!("team{at}.example.com"),
        path: |_| "/index.html".to_owned(),
    },
];

fn build(shape: &Shape, size: usize) -> Router {
    let spec = |at: usize| {
        let text = (shape.rule)(at);
        let rule = Rule::parse(&text).expect("the rule is valid");
        RouteSpec { name: format!("r{at}@file"), rule, priority: default_priority(&text), provider_rank: 0 }
    };
    Router::build((0..size).map(spec).collect())
}

fn lookups(criterion: &mut Criterion) {
    let headers: HeaderMap = [(http::header::USER_AGENT, "bench"), (http::header::ACCEPT, "*/*")]
        .map(|(k, v)| (k, v.parse().expect("valid")))
        .into_iter()
        .collect();
    for shape in &SHAPES {
        let mut group = criterion.benchmark_group(format!("route/{}", shape.name));
        for size in SIZES {
            let router = build(shape, size);
            let step = |at: usize| (at * 7919 + size / 2) % size;
            let hits: Vec<_> =
                (0..REQUESTS).map(step).map(|at| ((shape.host)(at), (shape.path)(at))).collect();
            let misses: Vec<_> =
                hits.iter().map(|(host, path)| (format!("{host}.invalid"), format!("/none{path}"))).collect();
            for (kind, requests) in [("hit", &hits), ("miss", &misses)] {
                let mut next = requests.iter().cycle();
                group.bench_function(BenchmarkId::new(kind, size), |bencher| {
                    bencher.iter(|| {
                        let (host, path) = next.next().expect("a cycle has no end");
                        let view = RequestView {
                            method: &Method::GET,
                            host,
                            path,
                            query: None,
                            headers: &headers,
                            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
                        };
                        let found = router.route(black_box(&view));
                        debug_assert_eq!(found.is_some(), kind == "hit");
                        black_box(found)
                    });
                });
            }
        }
        group.finish();
    }
}

fn build_time(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    group.sample_size(10);
    for size in SIZES {
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| build(&SHAPES[0], size));
        });
    }
    group.finish();
}

criterion_group!(benches, lookups, build_time);
criterion_main!(benches);
