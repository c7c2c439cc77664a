//! Sessions that the browser carries: from its cookies to the session, and back when it has become another.
//!
//! A request must bring the whole session, sealed, and not only its id. What it brings is opened once; after that a
//! fingerprint tells that it is the same. Every answer to a request that brought anything but the newest generation carries
//! the newest one, so that tabs which raced meet again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use smallvec::SmallVec;

use super::asked::{Asked, Seen, SeenSession};
use super::cause::Cause;
use super::cookie::{ChunkError, Presented};
use super::fingerprint::{Fingerprint, Fingerprints};
use super::logout::MAX_HINT;
use super::policy::{Found, Policy};
use super::refresh::{Freshness, fresh_now, settled};
use super::seal::SealError;
use super::session::{
    Adopted, Brought, Lookup, PolicyId, SessionEntry, SessionId, SessionProfile, StoreError,
};
use super::{Decision, Identity, RequestParts};

/// How long a request whose tokens are still good waits for new ones, for only its answer takes them to the browser.
const PATIENCE: Duration = Duration::from_secs(2);

/// `Set-Cookie` values.
pub(super) type SetCookies = SmallVec<[HeaderValue; 4]>;

/// The names of a policy's memos of what browsers carry, and how they know it again. Under http and https its cookies have
/// other names, which they are sealed for, so what is known of the ones says nothing of the others.
pub(super) struct CarryMemos {
    http: PolicyId,
    https: PolicyId,
    fingerprints: Fingerprints,
}

impl CarryMemos {
    pub(super) fn new() -> Result<Self, SealError> {
        Ok(Self { http: PolicyId::next(), https: PolicyId::next(), fingerprints: Fingerprints::new()? })
    }
}

/// What the browser carries when it is up to date: a memo for each generation.
struct Current {
    is: Adopted,
    /// Of the sealed text and its generation; none where nothing the browser has can be up to date.
    fingerprint: Option<Fingerprint>,
    /// What makes it so; nothing for a session that was brought like this, or that cannot be carried.
    lines: Vec<HeaderValue>,
}

impl Current {
    /// Whether the browser carries this. Both are of one session, as it is found by the whole of its id.
    fn is_seen(&self, session: &SeenSession) -> bool {
        self.fingerprint.zip(session.fingerprint).is_some_and(|(ours, theirs)| ours == theirs)
    }
}

/// A request's cookies, looked at and not opened.
struct Look<'a> {
    seen: Seen,
    /// Chunks that fit together.
    presented: Option<Presented<'a>>,
    /// Their session, if it is in memory.
    entry: Option<Arc<SessionEntry>>,
}

impl Policy {
    /// Names the memos of what a request's browser carries; none if sessions live elsewhere.
    pub(super) fn carry_memo(&self, request: &RequestParts<'_>) -> Option<PolicyId> {
        let memos = self.carried.as_ref()?;
        Some(if self.is_https(request) { memos.https } else { memos.http })
    }

    /// The session of the request, with good tokens. If it is one that was opened before, and that nothing is to be done for,
    /// this waits for nothing.
    pub(super) async fn usable_carried(&self, request: &Asked<'_>, now: SystemTime, memo: PolicyId) -> Found {
        let look = self.look(request, now, memo);
        if let Some(entry) = self.known(&look, now)
            && entry.lasts(&self.lifetimes, now)
            && let Some(Freshness::Valid) = fresh_now(entry, now, &self.refresh)
        {
            request.saw(look.seen);
            self.sessions.used(entry, &self.lifetimes, now);
            return Found::Session(Arc::clone(entry));
        }
        Box::pin(self.fresh_carried(request, look, now, memo)).await
    }

    /// The session, opened if need be, refreshed if need be.
    async fn fresh_carried(
        &self,
        request: &Asked<'_>,
        look: Look<'_>,
        now: SystemTime,
        memo: PolicyId,
    ) -> Found {
        let found = self.find_looked_at(request, look, now, memo).await;
        let entry = match self.sessions.within(found, &self.lifetimes, now).await {
            Lookup::Live(entry) => entry,
            Lookup::None => return Found::None,
            Lookup::StoreDown => return Found::Wait(Duration::from_secs(1)),
        };
        self.sessions.used(&entry, &self.lifetimes, now);
        match self.refresher(request).ensure_fresh(&entry, now).await {
            Freshness::ValidRefreshing => {
                settled(&self.sessions, &entry, PATIENCE).await;
                if entry.is_ended() { Found::None } else { Found::Session(entry) }
            }
            Freshness::Valid | Freshness::Renewed => Found::Session(entry),
            Freshness::Unavailable { retry_after } => Found::Wait(retry_after),
            Freshness::Ended => Found::None,
        }
    }

    /// The session that the request brings, whether its tokens are good or not.
    pub(super) async fn find_carried(&self, request: &Asked<'_>, now: SystemTime, memo: PolicyId) -> Lookup {
        let look = self.look(request, now, memo);
        self.find_looked_at(request, look, now, memo).await
    }

    /// Looks at the cookies of a request, and opens nothing.
    fn look<'a>(&self, request: &Asked<'a>, now: SystemTime, memo: PolicyId) -> Look<'a> {
        let chunks = self.cookies.chunks(request.headers, self.is_https(request));
        let presented = chunks.presented();
        let mut entry = None;
        let session = presented.as_ref().map(|presented| {
            let (id, generation, count) = (presented.id, presented.generation, presented.count());
            let fingerprint = self.fingerprint(generation, presented.parts());
            let mut session = SeenSession { id, fingerprint, count, known: None, genuine: false };
            entry = self.sessions.lookup_cached(&id, &self.core.scope, now);
            let current = entry.as_ref().and_then(|entry| self.current(entry, memo));
            session.known = current.filter(|current| current.is_seen(&session)).map(|current| current.is);
            session.genuine = session.known.is_some();
            session
        });
        Look { seen: Seen::of(&chunks, session), presented, entry }
    }

    /// The session, if the request brings its newest generation, which was opened before.
    fn known<'l>(&self, look: &'l Look<'_>, now: SystemTime) -> Option<&'l Arc<SessionEntry>> {
        look.seen.session.and_then(|session| session.known)?;
        look.entry.as_ref().filter(|entry| self.sessions.holds(entry, now))
    }

    async fn find_looked_at(
        &self,
        request: &Asked<'_>,
        look: Look<'_>,
        now: SystemTime,
        memo: PolicyId,
    ) -> Lookup {
        if let Some(entry) = self.known(&look, now) {
            request.saw(look.seen);
            return Lookup::Live(Arc::clone(entry));
        }
        let Look { mut seen, presented, .. } = look;
        let (Some(session), Some(presented)) = (&mut seen.session, presented) else {
            request.saw(seen);
            return Lookup::None;
        };
        let (https, scope) = (self.is_https(request), &self.core.scope);
        let sealed = presented.sealed();
        let adopted = match &sealed {
            Some(sealed) => self.sessions.adopt(&self.brought(&presented, sealed, https), scope, now).await,
            None => Ok(None),
        };
        session.genuine = matches!(adopted, Ok(Some(_)));
        let SeenSession { id, fingerprint, .. } = *session;
        request.saw(seen);
        let adopted = match adopted {
            Ok(Some(adopted)) => adopted,
            Ok(None) => return Lookup::None,
            Err(_) => return Lookup::StoreDown,
        };
        let found = self.sessions.lookup(&id, scope, now).await;
        if let Lookup::Live(entry) = &found
            && is_current(entry, &adopted)
        {
            let current = Current { is: adopted, fingerprint, lines: Vec::new() };
            entry.set_memo(memo, adopted.generation, Arc::new(current));
        }
        found
    }

    /// Whether there is nothing to tell the browser: it carries the newest generation of the session that the request is let
    /// pass with, and no chunk more.
    pub(super) fn is_up_to_date(request: &Asked<'_>, decision: &Decision) -> bool {
        let Decision::Forward(Identity { session: Some(session), .. }) = decision else { return false };
        let entry = &session.entry;
        let Some(seen) = request.seen() else { return false };
        let Some(session) = &seen.session else { return false };
        session.known.is_some_and(|known| is_current(entry, &known))
            && seen.indexes().all(|index| index < session.count)
    }

    /// The decision, with what the browser is to carry from now on.
    pub(super) async fn with_cookies(
        &self,
        request: &Asked<'_>,
        mut decision: Decision,
        now: SystemTime,
        memo: PolicyId,
    ) -> Decision {
        let lines = self.renewed_cookies(request, now, memo).await;
        match &mut decision {
            Decision::Forward(identity) => identity.set_cookies.extend(lines),
            Decision::Respond(response) => {
                if !lines.is_empty() {
                    response.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                }
                lines.into_iter().for_each(|line| _ = response.headers.append(SET_COOKIE, line));
            }
        }
        decision
    }

    async fn renewed_cookies(&self, request: &Asked<'_>, now: SystemTime, memo: PolicyId) -> SetCookies {
        let seen = request.seen().unwrap_or_else(|| self.glance(request, now, memo));
        let Some(session) = seen.session else { return SetCookies::new() };
        let Some(entry) = self.sessions.lookup_cached(&session.id, &self.core.scope, now) else {
            return SetCookies::new();
        };
        let current = self.current(&entry, memo);
        if current.as_ref().is_some_and(|current| current.is_seen(&session)) {
            return self.cleared_chunks(request, session.count);
        }
        // The id alone must not fetch the rest.
        if !session.genuine {
            return SetCookies::new();
        }
        let current = match current {
            Some(current) => current,
            None => match self.make_current(request, session.id, &entry, now, memo).await {
                Ok(current) => current,
                Err(cause @ Cause::TooLarge(_)) => self.uncarried(&entry, memo, &cause),
                // It has just ended, or there is no room for it: the next request brings it again.
                Err(_) => return SetCookies::new(),
            },
        };
        let mut lines: SetCookies = current.lines.iter().cloned().collect();
        if !lines.is_empty() {
            lines.extend(self.cleared_chunks(request, lines.len()));
        }
        lines
    }

    /// What a request brings that needs no session. It is opened only if there is something to tell its browser.
    fn glance(&self, request: &Asked<'_>, now: SystemTime, memo: PolicyId) -> Seen {
        let Look { mut seen, presented, entry } = self.look(request, now, memo);
        if let (Some(session), Some(presented), Some(_)) = (&mut seen.session, presented, entry)
            && !session.genuine
        {
            session.genuine = presented.sealed().is_some_and(|sealed| {
                let brought = self.brought(&presented, &sealed, self.is_https(request));
                self.sessions.is_genuine(&brought, &self.core.scope)
            });
        }
        request.saw(seen);
        seen
    }

    /// The cookies of a new session.
    ///
    /// # Errors
    /// [`Cause::TooLarge`], [`Cause::Store`]: the browser cannot carry it.
    pub(super) async fn new_carried(
        &self,
        request: &Asked<'_>,
        id: SessionId,
        entry: &SessionEntry,
        now: SystemTime,
        memo: PolicyId,
    ) -> Result<SetCookies, Cause> {
        let current = self.make_current(request, id, entry, now, memo).await?;
        let mut lines: SetCookies = current.lines.iter().cloned().collect();
        lines.extend(self.cleared_chunks(request, lines.len()));
        Ok(lines)
    }

    /// Removes the chunks that a request brings from number `from` on.
    pub(super) fn cleared_chunks(&self, request: &Asked<'_>, from: usize) -> SetCookies {
        let https = self.is_https(request);
        let look = || Seen::of(&self.cookies.chunks(request.headers, https), None);
        let stale = request.seen().unwrap_or_else(look).indexes().filter(|index| *index >= from);
        stale.filter_map(|index| self.clear_cookie(request, &self.cookies.chunk_name(https, index))).collect()
    }

    fn brought<'a>(&'a self, presented: &Presented<'_>, sealed: &'a [u8], https: bool) -> Brought<'a> {
        let name = self.cookies.session_name(https);
        Brought { id: presented.id, generation: presented.generation, sealed, name }
    }

    fn fingerprint(&self, generation: u64, text: &[&[u8]]) -> Option<Fingerprint> {
        self.carried.as_ref()?.fingerprints.of(generation, text)
    }

    fn current(&self, entry: &SessionEntry, memo: PolicyId) -> Option<Arc<Current>> {
        let current = entry.memo::<Current>(memo, entry.profile().generation);
        current.filter(|current| is_current(entry, &current.is))
    }

    async fn make_current(
        &self,
        request: &RequestParts<'_>,
        id: SessionId,
        entry: &SessionEntry,
        now: SystemTime,
        memo: PolicyId,
    ) -> Result<Arc<Current>, Cause> {
        let wanted = self.wanted_id_token();
        let current = match self.try_carry(request, id, entry, now, wanted).await {
            // Without it a logout at the provider may ask the user; no session at all is worse.
            Err(Cause::TooLarge(_)) if wanted == MAX_HINT => self.try_carry(request, id, entry, now, 0).await,
            result => result,
        }?;
        let current = Arc::new(current);
        entry.set_memo(memo, current.is.generation, Arc::clone(&current));
        Ok(current)
    }

    async fn try_carry(
        &self,
        request: &RequestParts<'_>,
        id: SessionId,
        entry: &SessionEntry,
        now: SystemTime,
        longest_id_token: usize,
    ) -> Result<Current, Cause> {
        let https = self.is_https(request);
        let carried = self.sessions.carry(entry, self.cookies.session_name(https), longest_id_token).await;
        let carried = carried.map_err(|error| match error {
            StoreError::Unsupported(_) => Cause::TooLarge(error.to_string()),
            error => Cause::Store(error.to_string()),
        })?;
        let carried = carried.ok_or_else(|| Cause::Store("the session has just ended".to_owned()))?;
        let age = carried.expires.duration_since(now).unwrap_or_default();
        let lines = self.cookies.carry(id, carried.is.generation, &carried.sealed, age, https);
        let made = lines.map_err(|error| match error {
            ChunkError::TooLarge(_) => Cause::TooLarge(error.to_string()),
            ChunkError::Cookie(_) => Cause::Internal("the session is no cookie value"),
        })?;
        let fingerprint = self.fingerprint(carried.is.generation, &[made.text.as_bytes()]);
        Ok(Current { is: carried.is, fingerprint, lines: made.lines })
    }

    /// The session lives on in this process, and the browser keeps what it has.
    fn uncarried(&self, entry: &SessionEntry, memo: PolicyId, cause: &Cause) -> Arc<Current> {
        tracing::error!(
            policy = %self.core.name, session = ?entry.key(), %cause,
            "the browser cannot carry its refreshed session: it ends with this process"
        );
        let profile = entry.profile();
        let (generation, ends) = (profile.generation, ends(entry, &profile));
        let current = Current { is: Adopted { generation, ends }, fingerprint: None, lines: Vec::new() };
        let current = Arc::new(current);
        entry.set_memo(memo, generation, Arc::clone(&current));
        current
    }

    /// The longest ID token that is good for anything: a template may name it, or a logout sends it as a hint.
    fn wanted_id_token(&self) -> usize {
        let metadata = self.core.provider.metadata();
        if self.templates_need_tokens {
            usize::MAX
        } else if metadata.is_none_or(|metadata| metadata.end_session_endpoint.is_some()) {
            MAX_HINT
        } else {
            0
        }
    }
}

/// When the session ends unless it is used.
fn ends(entry: &SessionEntry, profile: &SessionProfile) -> u64 {
    profile.timing.absolute.min(entry.idle_end().unwrap_or(u64::MAX))
}

fn is_current(entry: &SessionEntry, is: &Adopted) -> bool {
    let profile = entry.profile();
    is.generation == profile.generation && is.ends == ends(entry, &profile)
}
