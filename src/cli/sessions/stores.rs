//! An order in one store.

use std::sync::Arc;

use jiff::Timestamp;

use super::Order;
use crate::oidc::session::SessionView;
use crate::oidc::{SessionDesk, Silent, Told};
use crate::runtime::{OpenStore, Sight};

/// Sessions that are read at once.
const PAGE: usize = 500;

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// A line for each session.
    pub(super) listed: String,
    /// So many sessions ended.
    pub(super) ended: usize,
    /// Why not more.
    pub(super) problem: Option<String>,
}

impl Done {
    fn nothing(problem: String) -> Self {
        Self { problem: Some(problem), ..Self::default() }
    }
}

/// Carries `order` out in `store`, where `desk` is that of all stores, as far as it can be asked.
pub(super) async fn carry_out(order: &Order, desk: &SessionDesk, store: &OpenStore) -> Done {
    match &store.sight {
        Sight::Shared => {}
        Sight::Own => {
            return Done::nothing(
                "only the running process knows its sessions: ask its API, /api/portcullis/sessions"
                    .to_owned(),
            );
        }
        Sight::Missing(path) => return Done::nothing(format!("there is no file {}", path.display())),
    }
    if let Err(error) = store.sessions.reached(store.patience).await {
        return Done::nothing(error.to_string());
    }
    let directory = Arc::new(desk.directory.within(&store.sessions));
    let desk = SessionDesk { directory, ..desk.clone() };
    match order {
        Order::List(Some(user)) => listed(&desk.of_user(user).await),
        Order::List(None) => list_all(&desk).await,
        Order::Revoke(key) => {
            let Told { said, silent, .. } = desk.revoke(key).await;
            ended(usize::from(said), &silent)
        }
        Order::RevokeUser(user) => {
            let Told { said, silent, .. } = desk.revoke_user(user).await;
            ended(said, &silent)
        }
        Order::RevokeAll => {
            let Told { said, silent, .. } = desk.revoke_all().await;
            ended(said, &silent)
        }
    }
}

fn ended(ended: usize, silent: &[Silent]) -> Done {
    Done { ended, problem: problem(silent), ..Done::default() }
}

fn listed(told: &Told<Vec<SessionView>>) -> Done {
    Done { listed: table(&told.said), problem: problem(&told.silent), ..Done::default() }
}

/// There is one store.
fn problem(silent: &[Silent]) -> Option<String> {
    silent.first().map(|silent| silent.error.to_string())
}

async fn list_all(desk: &SessionDesk) -> Done {
    let (mut all, mut after) = (Done::default(), None);
    loop {
        let told = desk.list(after.as_ref(), PAGE).await;
        let page = listed(&told);
        all.listed.push_str(&page.listed);
        all.problem = page.problem;
        match told.said.last() {
            Some(last) if all.problem.is_none() => after = Some(last.key),
            _ => return all,
        }
    }
}

/// One line for each: its id and its end.
fn table(views: &[SessionView]) -> String {
    let end = |view: &SessionView| Timestamp::try_from(view.expires).unwrap_or_default();
    views.iter().map(|view| format!("{} {:.0}\n", view.key.to_text(), end(view))).collect()
}
