//! Requests, configurations and answers in few words, for the tests of every middleware.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;

use pingora::http::{RequestHeader, ResponseHeader};

use super::{Chain, Exchange, Facts, Flow, Middleware, ResponseFacts, State};
use crate::config::middleware as config;
use crate::config::value::{Entry, Node, Position, Value};
use crate::config::{Decode, Decoder};
use crate::net::{LocalResponse, Scheme};

/// The middleware that this YAML stands for.
pub(crate) fn middleware(yaml: &str) -> Middleware {
    compile(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

/// A chain of one middleware.
pub(crate) fn chain(yaml: &str) -> Chain {
    Chain::new([Arc::new(middleware(yaml))])
}

/// Why this YAML makes no middleware.
pub(crate) fn refused(yaml: &str) -> String {
    compile(yaml).map(|_| ()).expect_err("it is accepted")
}

fn compile(yaml: &str) -> Result<Middleware, String> {
    let node = node(serde_yaml::from_str(yaml).unwrap());
    let mut decoder = Decoder::new();
    let decoded = config::Middleware::decode(&node, &mut decoder);
    let (config, _) = decoder.finish(decoded).unwrap_or_else(|errors| panic!("{yaml}: {errors:?}"));
    Middleware::new(&config)
}

fn node(value: serde_yaml::Value) -> Node {
    let at = Position::whole("test");
    let text = |value: &serde_yaml::Value| match value {
        serde_yaml::Value::String(text) => text.clone(),
        other => serde_yaml::to_string(other).unwrap().trim().to_owned(),
    };
    let value = match value {
        serde_yaml::Value::Null => Value::Null,
        serde_yaml::Value::Sequence(items) => Value::List(items.into_iter().map(node).collect()),
        serde_yaml::Value::Mapping(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry { key: text(&key), at: at.clone(), node: node(value) })
                .collect(),
        ),
        scalar => Value::Scalar(text(&scalar)),
    };
    Node { value, at }
}

/// A request on its way through a chain.
pub(crate) struct Request {
    header: RequestHeader,
    facts: Facts,
    pub(crate) state: State,
}

impl Request {
    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn new(method: &str, target: &str) -> Self {
        let facts = Facts {
            client: ([192, 0, 2, 1], 40_000).into(),
            tls: false,
            scheme: Scheme::Http,
            entry_point: "web".into(),
            peer_trusted: false,
            request_id: "test".to_owned(),
            headers_logged: false,
        };
        let header = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        Self { header, facts, state: State::default() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.header.append_header(name, value).unwrap();
        self
    }

    pub(crate) fn tls(mut self) -> Self {
        self.facts.tls = true;
        self.facts.scheme = Scheme::Https;
        self
    }

    /// Path and query as they stand.
    pub(crate) fn target(&self) -> &str {
        std::str::from_utf8(self.header.raw_path()).unwrap()
    }

    /// Every value of a header as it stands.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        self.header.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// The headers as HTTP/1 writes them.
    pub(crate) fn wire(&self) -> String {
        let mut wire = bytes::BytesMut::new();
        self.header.header_to_h1_wire(&mut wire);
        String::from_utf8(wire.to_vec()).unwrap()
    }

    pub(crate) async fn run(&mut self, chain: &Chain) -> Flow {
        let mut exchange = Exchange { request: &mut self.header, facts: &self.facts, state: &mut self.state };
        chain.on_request(&mut exchange).await
    }

    /// Expects that the middleware lets the request pass.
    pub(crate) async fn passes(&mut self, yaml: &str) {
        if let Some(answer) = self.maybe_answered(yaml).await {
            panic!("{yaml} answered {}", answer.status);
        }
    }

    /// Expects that the middleware answers.
    pub(crate) async fn answered(&mut self, yaml: &str) -> LocalResponse {
        self.maybe_answered(yaml).await.unwrap_or_else(|| panic!("{yaml} did not answer"))
    }

    pub(crate) async fn maybe_answered(&mut self, yaml: &str) -> Option<LocalResponse> {
        match self.run(&chain(yaml)).await {
            Flow::Continue => None,
            Flow::Respond(answer) => Some(answer),
            Flow::ReadBody(_) => panic!("{yaml} wants the body"),
        }
    }

    /// What becomes of an answer with these headers on its way back.
    pub(crate) fn answer(&self, chain: &Chain, headers: &[(&'static str, &str)]) -> ResponseHeader {
        let mut header = ResponseHeader::build(200, None).unwrap();
        for (name, value) in headers {
            header.append_header(*name, *value).unwrap();
        }
        let response = ResponseFacts { request: &self.header, facts: &self.facts, state: &self.state };
        chain.on_response(&response, &mut header);
        header
    }
}
