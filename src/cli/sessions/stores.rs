//! An order in one store.

use std::sync::Arc;

use jiff::Timestamp;

use super::Order;
use crate::oidc::SessionDesk;
use crate::oidc::session::{SessionView, StoreError};
use crate::runtime::{OpenStore, Sight};

/// Sessions that are read at once.
const PAGE: usize = 500;

/// What was done.
pub(super) enum Done {
    /// A line for each session.
    Listed(String),
    /// So many sessions ended.
    Ended(usize),
}

/// Carries `order` out in `store`, where `desk` is that of all stores.
///
/// # Errors
/// The store cannot be asked, in words.
pub(super) async fn carry_out(order: &Order, desk: &SessionDesk, store: &OpenStore) -> Result<Done, String> {
    match &store.sight {
        Sight::Shared => {}
        Sight::Own => {
            return Err("only the running process knows its sessions: ask its API, /api/portcullis/sessions"
                .to_owned());
        }
        Sight::Missing(path) => return Err(format!("there is no file {}", path.display())),
    }
    let told = |error: StoreError| error.to_string();
    store.sessions.reached(store.patience).await.map_err(told)?;
    let directory = Arc::new(desk.directory.within(&store.sessions));
    let desk = SessionDesk { directory, ..desk.clone() };
    execute(order, &desk).await.map_err(told)
}

async fn execute(order: &Order, desk: &SessionDesk) -> Result<Done, StoreError> {
    Ok(match order {
        Order::List(Some(user)) => Done::Listed(table(&desk.directory.of_user(user).await?)),
        Order::List(None) => Done::Listed(list_all(desk).await?),
        Order::Revoke(key) => Done::Ended(usize::from(desk.revoke(key).await?)),
        Order::RevokeUser(user) => Done::Ended(desk.revoke_user(user).await?),
        Order::RevokeAll => Done::Ended(desk.revoke_all().await?),
    })
}

async fn list_all(desk: &SessionDesk) -> Result<String, StoreError> {
    let (mut text, mut after) = (String::new(), None);
    loop {
        let page = desk.list(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(text) };
        after = Some(last.key);
        text.push_str(&table(&page));
    }
}

/// One line for each: its id and its end.
fn table(views: &[SessionView]) -> String {
    let end = |view: &SessionView| Timestamp::try_from(view.expires).unwrap_or_default();
    views.iter().map(|view| format!("{} {:.0}\n", view.key.to_text(), end(view))).collect()
}
