//! What other processes changed: one stream for each bucket, read from where we were.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;

use super::link::Link;
use super::names::{BUCKETS, Bucket, Names};
use crate::oidc::session::{Changes, OwnerId, SessionKey, StoreError};

/// More than a stream holds, nearly always.
const AT_ONCE: usize = 2000;

/// A stream may be trimmed when it has as many.
const KEPT: usize = 1000;

/// An entry of a stream: its id and its fields.
type Entry = (String, HashMap<String, Vec<u8>>);

/// The last entry that was read from each stream; empty if the stream was.
#[derive(Default)]
pub(super) struct Feed {
    read: Mutex<Read>,
}

#[derive(Default, Clone)]
struct Read {
    cursor: u64,
    last: [Option<String>; BUCKETS],
}

impl Feed {
    /// What is new. A bucket that cannot be read is silent, and read next time; only if none can is that an error.
    pub(super) async fn read(
        &self,
        link: &Link,
        names: &Names,
        origin: OwnerId,
        cursor: Option<u64>,
    ) -> Result<Changes, StoreError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = cursor == Some(read.cursor);
        let mut changes = Changes { lost: cursor.is_some() && !known, ..Changes::default() };
        if !known {
            read.last = Default::default();
        }
        let news = join_all(Bucket::all().map(async |bucket| {
            let last = read.last.get(bucket.index()).and_then(Option::as_deref);
            match known {
                true => entries(link, names, bucket, last).await,
                false => newest(link, names, bucket).await,
            }
        }))
        .await;
        if let Some(error) = nothing_but_errors(&news) {
            return Err(error);
        }
        for ((part, last), entries) in read.last.iter_mut().enumerate().zip(news) {
            let Ok(mut entries) = entries else {
                changes.silent.add(part);
                continue;
            };
            if known && let Some(before) = last {
                // The entry that we know stands first, unless it was trimmed or a failover lost it.
                if entries.first().is_some_and(|(id, _)| id == before) {
                    entries.remove(0);
                } else {
                    changes.lost = true;
                    *last = None;
                }
            }
            if known && last.is_none() && entries.len() >= KEPT {
                // So many that the first ones after an empty stream may have been trimmed.
                changes.lost = true;
            }
            if let Some((id, _)) = entries.last() {
                *last = Some(id.clone());
            }
            if known {
                changes.rows.extend(entries.iter().filter_map(|(_, fields)| row(fields, origin)));
            }
        }
        read.cursor = read.cursor.wrapping_add(1);
        changes.cursor = read.cursor;
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(changes)
    }
}

/// Each bucket stands for itself. One that was silent from the beginning is read from its beginning when it speaks.
fn nothing_but_errors(news: &[Result<Vec<Entry>, StoreError>]) -> Option<StoreError> {
    let mut errors = news.iter().filter_map(|entries| entries.as_ref().err());
    if news.iter().any(Result::is_ok) { None } else { errors.next().cloned() }
}

/// The entries from `last` on, that one included.
async fn entries(
    link: &Link,
    names: &Names,
    bucket: Bucket,
    last: Option<&str>,
) -> Result<Vec<Entry>, StoreError> {
    let mut command = redis::cmd("XRANGE");
    command.arg(names.feed(bucket)).arg(last.unwrap_or("-")).arg("+").arg("COUNT").arg(AT_ONCE);
    link.ask(bucket, &command).await
}

async fn newest(link: &Link, names: &Names, bucket: Bucket) -> Result<Vec<Entry>, StoreError> {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(names.feed(bucket)).arg("+").arg("-").arg("COUNT").arg(1);
    link.ask(bucket, &command).await
}

fn row(fields: &HashMap<String, Vec<u8>>, origin: OwnerId) -> Option<(SessionKey, Option<u64>)> {
    if fields.get("o").is_some_and(|by| by.as_slice() == origin.0) {
        return None;
    }
    let key = SessionKey::from_bytes(fields.get("k")?.as_slice().try_into().ok()?);
    let generation = std::str::from_utf8(fields.get("g")?).ok()?;
    // Empty: it was deleted.
    Some((key, generation.parse().ok()))
}
