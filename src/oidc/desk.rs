//! What the operator does with sessions: those of every store that a policy uses. A store that cannot be asked keeps none of
//! another from it, and is named.

use std::net::IpAddr;
use std::sync::Arc;

use super::session::{SessionEntry, SessionKey, SessionView, Sessions, StoreError, Swept};
use super::{AuditEvent, AuditRecord, Directory, Events, Member};

/// What the stores that could be asked have said.
#[derive(Debug, Default)]
pub struct Told<T> {
    /// All of them together.
    pub said: T,
    /// How many have said all that was asked.
    pub answered: usize,
    /// The others.
    pub silent: Vec<Silent>,
}

/// A store that could not be asked, or not to the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// Kind and place of the store.
    pub store: String,
    /// Why not.
    pub error: StoreError,
    /// Sessions of it that have ended in this process, and of which it will be told when it works again.
    pub pending: usize,
}

impl<T> Told<T> {
    fn hear(&mut self, store: &Sessions, failure: Option<StoreError>, pending: usize) {
        match failure {
            None => self.answered += 1,
            Some(error) => self.silent.push(Silent { store: store.name().to_owned(), error, pending }),
        }
    }
}

/// See the [module](self).
#[derive(Clone)]
pub struct SessionDesk {
    /// The policies.
    pub directory: Arc<Directory>,
    /// Told of every session that is revoked.
    pub events: Arc<dyn Events>,
    /// By which request the operator does it.
    pub via: Option<Via>,
}

/// A request of the operator's, for the audit trail.
#[derive(Debug, Clone)]
pub struct Via {
    /// Whence it comes.
    pub client: Option<IpAddr>,
    /// Its name.
    pub request_id: String,
}

/// Why one session ends.
const ONE: &str = "operator";

/// The same while its store is away.
const ONE_PENDING: &str = "operator; the store will be told";

impl SessionDesk {
    /// Sessions after `after`, by their names, at most `limit`.
    pub async fn list(&self, after: Option<&SessionKey>, limit: usize) -> Told<Vec<SessionView>> {
        let mut told: Told<Vec<SessionView>> = Told::default();
        for store in self.directory.stores() {
            let listed = store.list(after, limit).await;
            told.hear(&store, listed.as_ref().err().cloned(), 0);
            told.said.extend(listed.unwrap_or_default());
        }
        told.said.sort_unstable_by_key(|view| view.key);
        told.said.truncate(limit);
        told
    }

    /// The sessions of `user` at every provider, each once.
    pub async fn of_user(&self, user: &str) -> Told<Vec<SessionView>> {
        let mut told: Told<Vec<SessionView>> = Told::default();
        for store in self.directory.stores() {
            let found = self.of_user_in(&store, user).await;
            told.hear(&store, found.as_ref().err().cloned(), 0);
            told.said.extend(found.unwrap_or_default());
        }
        told
    }

    async fn of_user_in(&self, store: &Sessions, user: &str) -> Result<Vec<SessionView>, StoreError> {
        let mut views: Vec<SessionView> = Vec::new();
        for member in self.members_of(store) {
            for view in member.sessions.of_user(&member.scope, user).await? {
                if !views.iter().any(|known| known.key == view.key) {
                    views.push(view);
                }
            }
        }
        Ok(views)
    }

    /// Ends the session of this name; whether there was one. Where it is found no other store need be asked.
    pub async fn revoke(&self, key: &SessionKey) -> Told<bool> {
        let known = self.directory.known(key);
        let user = known.as_ref().map(|entry| entry.profile().identifier().to_owned());
        let mut told = Told::default();
        for store in self.directory.stores() {
            let swept = store.revoke(key).await;
            self.record_one(&swept, key, known.as_deref(), user.as_deref());
            if swept.ended > 0 {
                return Told { said: true, answered: told.answered + 1, silent: Vec::new() };
            }
            told.hear(&store, swept.failure, swept.pending);
        }
        told
    }

    /// Ends all sessions of `user`; how many.
    pub async fn revoke_user(&self, user: &str) -> Told<usize> {
        let mut told = Told::default();
        for store in self.directory.stores() {
            let Swept { ended, pending, failure } = self.revoke_user_in(&store, user).await;
            told.said += ended;
            told.hear(&store, failure, pending);
        }
        told
    }

    async fn revoke_user_in(&self, store: &Sessions, user: &str) -> Swept {
        let mut all = Swept::default();
        let found = self.of_user_in(store, user).await;
        all.failure = found.as_ref().err().cloned();
        for view in found.unwrap_or_default() {
            let swept = store.revoke(&view.key).await;
            self.record_one(&swept, &view.key, view.known.as_deref(), Some(user));
            all.ended += swept.ended;
            all.pending += swept.pending;
            all.failure = all.failure.or(swept.failure);
        }
        if all.failure.is_some() {
            all.pending += self.end_known(store, user);
        }
        all
    }

    /// Ends all sessions; how many.
    pub async fn revoke_all(&self) -> Told<usize> {
        let mut told = Told::default();
        for store in self.directory.stores() {
            let swept = store.revoke_all().await;
            told.said += swept.ended;
            told.hear(&store, swept.failure, swept.pending);
        }
        let ended = told.said;
        let rest = told.silent.iter().map(|silent| {
            let Silent { store, error, pending } = silent;
            format!("; not all of {store}, of which {pending} have ended in this process: {error}")
        });
        let rest: String = rest.collect();
        self.record(None, None, None, &format!("operator: all sessions: {ended} ended{rest}"));
        told
    }

    /// Ends what memory has of a user's sessions, where their store cannot say which there are.
    fn end_known(&self, store: &Sessions, user: &str) -> usize {
        let mut ended = 0;
        for member in self.members_of(store) {
            for entry in member.sessions.end_known_of_user(&member.scope, user) {
                self.record(Some(entry.key()), Some(&entry), Some(user), ONE_PENDING);
                ended += 1;
            }
        }
        ended
    }

    /// The policies whose sessions are in this store.
    fn members_of(&self, store: &Sessions) -> impl Iterator<Item = Arc<Member>> {
        let members = self.directory.members().into_iter();
        members.filter(move |member| member.sessions.is_same_store(store))
    }

    fn record_one(&self, swept: &Swept, key: &SessionKey, known: Option<&SessionEntry>, user: Option<&str>) {
        let cause = match (swept.ended, swept.pending) {
            (0, 0) => return,
            (0, _) => ONE_PENDING,
            _ => ONE,
        };
        self.record(Some(key), known, user, cause);
    }

    fn record(
        &self,
        session: Option<&SessionKey>,
        known: Option<&SessionEntry>,
        user: Option<&str>,
        cause: &str,
    ) {
        tracing::warn!(?session, user, cause, "sessions revoked by the operator");
        let provider = known.and_then(|entry| self.directory.issuer(entry.scope()));
        self.events.audit(&AuditRecord {
            session,
            user,
            provider: provider.as_deref(),
            client: self.via.as_ref().and_then(|via| via.client),
            request_id: self.via.as_ref().map(|via| via.request_id.as_str()),
            cause: Some(cause),
            ..AuditRecord::new(AuditEvent::Revoked)
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::oidc::session::SessionRecord;
    use crate::oidc::session::contract::at;
    use crate::oidc::session::testing::{Faulty, owes, process, record, scope};
    use crate::oidc::userinfo::Wish;

    /// Writes down user, provider, request and cause of what an audit is told.
    #[derive(Default)]
    struct Heard(Mutex<Vec<[Option<String>; 4]>>);

    impl Events for Heard {
        fn audit(&self, record: &AuditRecord<'_>) {
            let told = [record.user, record.provider, record.request_id, record.cause];
            self.0.lock().unwrap().push(told.map(|text| text.map(str::to_owned)));
        }
    }

    impl Heard {
        fn causes(&self) -> Vec<String> {
            self.0.lock().unwrap().drain(..).filter_map(|[.., cause]| cause).collect()
        }
    }

    /// Two stores, of which the first can be made to fail, with three sessions each.
    async fn desk() -> (SessionDesk, Arc<Heard>, Arc<Faulty>, Vec<Arc<Member>>) {
        let (directory, heard) = (Arc::new(Directory::default()), Arc::new(Heard::default()));
        let stores = [Faulty::new(None), Faulty::new(None)];
        let mut members = Vec::new();
        for (store, name) in stores.iter().zip(["first", "second"]) {
            let (sessions, _) = process(Arc::clone(store) as _);
            let sessions = sessions.named(name);
            for user in ["alice", "bob", "carol"] {
                let record = SessionRecord { subject: user.into(), identifier: user.into(), ..record() };
                sessions.create(record).await.unwrap();
            }
            let (name, issuer) = ("login".into(), "https://op.example".to_owned());
            members.push(directory.enter(Member { name, issuer, scope: scope(), sessions, wish: wish() }));
        }
        let via = Some(Via { client: None, request_id: "request-7".to_owned() });
        let events = Arc::clone(&heard) as Arc<dyn Events>;
        let [first, _] = stores;
        (SessionDesk { directory, events, via }, heard, first, members)
    }

    fn wish() -> Wish {
        Wish::of(&crate::oidc::flow_tests::settings("https://op.example", &[]))
    }

    fn no_route() -> StoreError {
        StoreError::Failed("no route".to_owned())
    }

    fn silent(pending: usize) -> Vec<Silent> {
        vec![Silent { store: "first".to_owned(), error: no_route(), pending }]
    }

    #[tokio::test]
    async fn a_store_that_fails_keeps_no_other_from_its_end_and_the_trail_says_how_many() {
        let (desk, heard, first, members) = desk().await;
        first.fails(Some(no_route()));
        let told = desk.revoke_all().await;
        assert_eq!((told.said, told.answered, told.silent), (3, 1, silent(3)));
        assert_eq!(members[1].sessions.count().await.unwrap(), 0);
        assert_eq!(members[0].sessions.cached(), 3, "ended, and yet to be told");
        first.fails(None);
        members[0].sessions.save_unsaved().await;
        assert_eq!((members[0].sessions.count().await.unwrap(), owes(&members[0].sessions)), (0, false));
        let told = desk.revoke_all().await;
        assert_eq!((told.said, told.silent), (0, Vec::new()));
        assert!(heard.0.lock().unwrap().iter().all(|line| line[2].as_deref() == Some("request-7")));
        let causes = heard.causes();
        let cut =
            "operator: all sessions: 3 ended; not all of first, of which 3 have ended in this process: ";
        assert!(causes[0].starts_with(cut), "{causes:?}");
        assert_eq!(causes[1..], ["operator: all sessions: 0 ended"]);
    }

    #[tokio::test]
    async fn what_other_stores_hold_is_shown_and_who_is_silent_is_named() {
        let (desk, _, first, members) = desk().await;
        assert_eq!(desk.list(None, 10).await.said.len(), 6);
        assert_eq!(desk.of_user("bob").await.said.len(), 2);
        first.fails(Some(no_route()));
        let told = desk.list(None, 10).await;
        assert_eq!((told.said.len(), told.answered, &told.silent), (3, 1, &silent(0)));
        let there = members[1].sessions.list(None, 10).await.unwrap();
        assert_eq!(keys(&told.said), keys(&there));
        let told = desk.of_user("bob").await;
        assert_eq!((told.said.len(), told.silent), (1, silent(0)));
    }

    fn keys(views: &[SessionView]) -> Vec<SessionKey> {
        views.iter().map(|view| view.key).collect()
    }

    /// Whoever has a user's sessions ended in an outage must not have to come back for those that are in use here.
    #[tokio::test]
    async fn a_users_sessions_end_where_they_can_be_and_here_in_any_case() {
        let (desk, heard, first, members) = desk().await;
        first.fails(Some(no_route()));
        let told = desk.revoke_user("bob").await;
        assert_eq!((told.said, told.answered, told.silent), (1, 1, silent(1)));
        assert_eq!(heard.causes(), ["operator; the store will be told", "operator"]);
        first.fails(None);
        members[0].sessions.save_unsaved().await;
        assert_eq!(members[0].sessions.count().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn one_session_ends_whichever_store_fails() {
        let (desk, heard, first, members) = desk().await;
        let one = async |member: &Member| member.sessions.list(None, 1).await.unwrap().remove(0);
        let (of_first, of_second) = (one(&members[0]).await, one(&members[1]).await);
        first.fails(Some(no_route()));
        let told = desk.revoke(&of_second.key).await;
        assert_eq!((told.said, told.silent), (true, Vec::new()), "it is in no other");
        let told = desk.revoke(&of_first.key).await;
        assert_eq!((told.said, told.silent), (false, silent(1)));
        assert!(of_first.known.unwrap().is_ended());
        let told = desk.revoke(&of_second.key).await;
        assert_eq!((told.said, told.answered, told.silent), (false, 1, silent(0)), "who knows");
        assert_eq!(heard.causes(), ["operator", "operator; the store will be told"]);
        assert_eq!(of_first.expires, at(3600));
    }

    #[tokio::test]
    async fn the_trail_says_whose_session_was_ended_by_which_request() {
        let (desk, heard, _, members) = desk().await;
        let view = members[0].sessions.list(None, 1).await.unwrap().remove(0);
        let user = view.known.unwrap().profile().identifier().to_owned();
        assert!(desk.revoke(&view.key).await.said);
        let told = heard.0.lock().unwrap().remove(0).map(Option::unwrap);
        assert_eq!(told, [user.as_str(), "https://op.example", "request-7", "operator"]);
    }
}
