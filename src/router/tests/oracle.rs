//! The index against the definition: walk every router in order of priority and take the first whose rule holds.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use crate::router::{RequestView, RouteSpec, Router, Rule};

fn spec(name: &str, rule: &str, priority: i64, provider_rank: u32) -> RouteSpec {
    RouteSpec { name: name.to_owned(), rule: Rule::parse(rule).unwrap(), priority, provider_rank }
}

/// What Traefik does.
fn walk(specs: &[RouteSpec], request: &RequestView<'_>) -> Option<usize> {
    let mut order: Vec<usize> = (0..specs.len()).collect();
    order.sort_by(|&left, &right| {
        let (left, right) = (&specs[left], &specs[right]);
        right
            .priority
            .cmp(&left.priority)
            .then(left.provider_rank.cmp(&right.provider_rank))
            .then_with(|| left.name.cmp(&right.name))
    });
    order.into_iter().find(|&at| specs[at].rule.matches(request))
}

#[derive(Debug, Clone)]
struct Request {
    method: Method,
    host: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    header: Option<&'static str>,
    client: Ipv4Addr,
}

impl Request {
    fn with<T>(&self, run: impl FnOnce(&RequestView<'_>) -> T) -> T {
        let mut headers = HeaderMap::new();
        if let Some(value) = self.header {
            headers.insert("x-a", HeaderValue::from_static(value));
        }
        run(&RequestView {
            method: &self.method,
            host: self.host,
            path: self.path,
            query: self.query,
            headers: &headers,
            client: IpAddr::V4(self.client),
        })
    }
}

const HOSTS: [&str; 6] = ["a.example", "b.example", "x.a.example", "example", "", "c"];
const PATHS: [&str; 10] = ["/", "/a", "/a/", "/a/b", "/ab", "/b", "/a/b/c", "/zz", "/a!", "/a/b0"];

fn matcher() -> impl Strategy<Value = String> {
    let hosts = ["a.example", "b.example", "*.example", "*.a.example", "*", "c"];
    let prefixes = ["/", "/a", "/a/", "/a/b", "/b", "/a/b/", "/z"];
    prop_oneof![
        4 => prop::sample::select(hosts.to_vec()).prop_map(|host| format!("Host(`{host}`)")),
        3 => prop::sample::select(PATHS.to_vec()).prop_map(|path| format!("Path(`{path}`)")),
        4 => prop::sample::select(prefixes.to_vec()).prop_map(|prefix| format!("PathPrefix(`{prefix}`)")),
        1 => prop::sample::select(vec!["^a", "^.+$", "x?", "b"]).prop_map(|re| format!("HostRegexp(`{re}`)")),
        1 => prop::sample::select(vec!["^/a", "b$", "c"]).prop_map(|re| format!("PathRegexp(`{re}`)")),
        1 => prop::sample::select(vec!["GET", "post"]).prop_map(|method| format!("Method(`{method}`)")),
        1 => Just("Header(`X-A`, `1`)".to_owned()),
        1 => Just("Query(`q`, `1`)".to_owned()),
        1 => Just("ClientIP(`10.0.0.0/8`)".to_owned()),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    matcher().prop_recursive(4, 24, 4, |inner| {
        let list = |inner: BoxedStrategy<String>| prop::collection::vec(inner, 2..4);
        prop_oneof![
            3 => list(inner.clone().boxed()).prop_map(|parts| format!("({})", parts.join(" && "))),
            3 => list(inner.clone().boxed()).prop_map(|parts| format!("({})", parts.join(" || "))),
            1 => inner.prop_map(|part| format!("!({part})")),
        ]
    })
}

fn request() -> impl Strategy<Value = Request> {
    (
        prop::sample::select(vec![Method::GET, Method::POST]),
        prop::sample::select(HOSTS.to_vec()),
        prop::sample::select(PATHS.to_vec()),
        prop::sample::select(vec![None, Some("q=1"), Some("q=2")]),
        prop::sample::select(vec![None, Some("1"), Some("2")]),
        prop::sample::select(vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 1)]),
    )
        .prop_map(|(method, host, path, query, header, client)| Request {
            method,
            host,
            path,
            query,
            header,
            client,
        })
}

fn specs() -> impl Strategy<Value = Vec<RouteSpec>> {
    prop::collection::vec((rule(), -2_i64..3, 0_u32..2, "[a-c]"), 0..14).prop_map(|routes| {
        let name = |at: usize, name: &str| format!("{name}{at}");
        let build = |(at, (rule, priority, rank, letter)): (usize, (String, i64, u32, String))| {
            spec(&name(at, &letter), &rule, priority, rank)
        };
        routes.into_iter().enumerate().map(build).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn the_index_agrees_with_the_walk(specs in specs(), requests in prop::collection::vec(request(), 1..20)) {
        let router = Router::build(specs.clone());
        for request in requests {
            request.with(|view| {
                prop_assert_eq!(router.route(view), walk(&specs, view), "{:?}", request);
                Ok(())
            })?;
        }
    }
}

fn routed(specs: Vec<RouteSpec>, host: &'static str, path: &'static str) -> Option<usize> {
    let request =
        Request { method: Method::GET, host, path, query: None, header: None, client: Ipv4Addr::LOCALHOST };
    request.with(|view| Router::build(specs).route(view))
}

#[test]
fn ties_go_to_the_provider_and_then_to_the_name() {
    let specs = vec![
        spec("b", "Path(`/a`)", 1, 1),
        spec("z", "PathPrefix(`/a`)", 1, 0),
        spec("y", "Host(`h`)", 1, 0),
        spec("low", "Host(`h`)", 0, 0),
    ];
    assert_eq!(routed(specs, "h", "/a"), Some(2));
}

#[test]
fn nothing_matches() {
    assert_eq!(routed(Vec::new(), "h", "/"), None);
    assert_eq!(routed(vec![spec("a", "Host(`x`)", 1, 0)], "h", "/"), None);
}

#[test]
fn many_hosts_times_many_paths_stay_bounded_and_right() {
    let list = |name: &str, value: &dyn Fn(usize) -> String| {
        let calls: Vec<_> = (0..200).map(|at| format!("{name}(`{}`)", value(at))).collect();
        format!("({})", calls.join(" || "))
    };
    let hosts = list("Host", &|at| format!("h{at}"));
    let paths = list("Path", &|at| format!("/p{at}"));
    let rule = format!("{hosts} && {paths}");
    assert_eq!(routed(vec![spec("a", &rule, 1, 0)], "h7", "/p9"), Some(0));
    assert_eq!(routed(vec![spec("a", &rule, 1, 0)], "h7", "/x"), None);
    assert_eq!(routed(vec![spec("a", &rule, 1, 0)], "x", "/p9"), None);
}
