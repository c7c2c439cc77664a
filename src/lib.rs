//! Portcullis: an edge reverse proxy with OpenID Connect built in.
//!
//! The modules, in the order in which a request meets them; dependencies point one way
//! (see `ARCHITECTURE.md`, enforced by `tests/it/layers.rs`).

pub mod cli;

pub mod admin;
pub mod demo;
pub mod entrypoint;
pub mod lifecycle;
pub mod provider;
pub mod runtime;

pub mod proxy;

pub mod middleware;
pub mod router;
pub mod service;

pub mod oidc;
pub mod tls;

pub mod config;
pub mod net;
pub mod observe;
