//! Second phase: the middleware chain, and answers that need no server.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::StatusCode;
use pingora::Result;
use pingora::proxy::Session;

use super::body;
use super::context::Ctx;
use super::early::not_found;
use super::respond::{linger, respond};
use super::sanity::{self, refuse, text};
use super::snapshot::{Route, RouteService};
use crate::middleware::{Exchange, Flow};
use crate::net::LocalResponse;
use crate::net::internal::{InternalAnswer, InternalRequest};

/// Runs the chain. True when the answer is written and the request goes no further.
pub(super) async fn run(session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
    // A panic costs this request alone, and the client learns of it.
    let decided = AssertUnwindSafe(decide(session, ctx)).catch_unwind().await;
    let answer = match decided {
        Ok(None) => return Ok(false),
        Ok(Some(answer)) => answer,
        Err(_) => {
            tracing::error!(request_id = ctx.request_id(), "a middleware or an internal service panicked");
            *refuse(StatusCode::INTERNAL_SERVER_ERROR)
        }
    };
    respond(session, ctx, answer).await?;
    linger(session).await;
    Ok(true)
}

/// The answer of our own, if there is one; otherwise a server has been picked.
async fn decide(session: &mut Session, ctx: &mut Ctx) -> Option<LocalResponse> {
    if let Some(answer) = ctx.answer.take() {
        if answer.status == StatusCode::BAD_REQUEST {
            // Whoever sends a malformed request may mean something else by what follows it.
            session.set_keepalive(None);
        }
        return Some(*answer);
    }
    let Some(route) = ctx.route.clone().filter(|route| route.broken.is_none()) else {
        return Some(*not_found());
    };
    if let Flow::Respond(answer) = run_chain(session, ctx, &route).await {
        return Some(answer);
    }
    if let Some(entry) = &ctx.entry {
        sanity::own_cookies(session.req_header_mut(), entry);
    }
    match &route.service {
        RouteService::Internal(service) => {
            let request = session.req_header();
            let answer = service(&InternalRequest {
                method: &request.method,
                path: request.uri.path(),
                query: request.uri.query(),
                headers: &request.headers,
                client: ctx.facts.as_ref().map(|facts| facts.outside_client),
                request_id: ctx.request_id(),
            });
            Some(match answer {
                InternalAnswer::Now(answer) => answer,
                InternalAnswer::Later(answer) => answer.await,
            })
        }
        RouteService::Balanced(service) => match service.pick() {
            Some(endpoint) => {
                ctx.origin.endpoint = Some(Arc::clone(endpoint));
                None
            }
            None => Some(text(StatusCode::SERVICE_UNAVAILABLE, "no available server\n")),
        },
    }
}

async fn run_chain(session: &mut Session, ctx: &mut Ctx, route: &Route) -> Flow {
    let Ctx { facts: Some(facts), state, chain_ran, .. } = ctx else { return Flow::Continue };
    *chain_ran = true;
    loop {
        let mut exchange = Exchange { request: session.req_header_mut(), facts, state };
        match route.chain.on_request(&mut exchange).await {
            Flow::ReadBody(limit) => match body::read(session, limit).await {
                Ok(body) => state.body = Some(body),
                Err(refusal) => return Flow::Respond(*refusal),
            },
            flow => return flow,
        }
    }
}
