//! The whole loop in one process: real sockets, a small application behind them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod harness;
mod herds;
mod http1;
mod http2;
mod lifecycle;
mod limits;
mod proxy_header;
mod tls;
mod tls_client;
