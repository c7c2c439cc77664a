//! The background task of a provider.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::{Inner, ProviderError, State};
use crate::oidc::jwks::KeySet;
use crate::oidc::metadata::Metadata;
use crate::oidc::random::random_bytes;

/// How long metadata and keys count as fresh.
const FRESH: Duration = Duration::from_secs(3600);

/// First pause after a failure; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// With this a provider is in use within five seconds of its return.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// Attempts at a time: one that hangs must not hide that the provider has come back.
const MAX_ATTEMPTS: usize = 3;

pub(super) async fn keep_fresh(provider: Arc<Inner>) {
    loop {
        let (metadata, keys, asked) = fetch_until_it_works(&provider).await;
        provider.publish(keys, asked);
        provider.metadata.store(Some(Arc::new(metadata)));
        if provider.state.send_replace(State::Ready) != State::Ready {
            tracing::info!(issuer = provider.issuer, "OpenID provider is ready");
        }
        provider.events.provider_up(&provider.issuer, true);
        tokio::time::sleep(FRESH).await;
    }
}

async fn fetch_until_it_works(provider: &Inner) -> (Metadata, KeySet, Instant) {
    let mut attempts = FuturesUnordered::new();
    attempts.push(provider.fetch_all());
    let mut pause = FIRST_PAUSE;
    // The first attempt has all the time it needs: a slow provider is asked once.
    let mut next = None;
    let mut last_fault = None;
    loop {
        tokio::select! {
            Some(result) = attempts.next(), if !attempts.is_empty() => match result {
                Ok(all) => return all,
                Err(error) => {
                    report(provider, error, &mut last_fault);
                    next.get_or_insert_with(|| Instant::now() + jittered(pause));
                }
            },
            () = wait_until(next), if next.is_some() => {
                if attempts.len() < MAX_ATTEMPTS {
                    attempts.push(provider.fetch_all());
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                next = Some(Instant::now() + jittered(pause));
            }
        }
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// One log line for each new cause, not for each attempt.
fn report(provider: &Inner, error: ProviderError, last: &mut Option<ProviderError>) {
    if last.as_ref() != Some(&error) {
        tracing::warn!(issuer = provider.issuer, cause = %error, "OpenID provider cannot be used; trying on");
    }
    *last = Some(error);
    provider.events.provider_up(&provider.issuer, false);
    provider.state.send_if_modified(|state| {
        let first = *state == State::Starting;
        if first {
            *state = State::Failed;
        }
        first
    });
}

/// Up to a tenth less, so that many providers and replicas do not ask in step.
fn jittered(pause: Duration) -> Duration {
    let Ok([byte]) = random_bytes() else { return pause };
    pause - pause * u32::from(byte) / 2560
}
