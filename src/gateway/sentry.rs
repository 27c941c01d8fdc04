//! Whether open sockets may still be what they are: looked at again whenever accounts, users or
//! revoked tokens change.

use std::sync::Arc;

use super::close::CloseReason;
use super::connection::Shared;
use super::registry::Handle;
use crate::auth::Authority;
use crate::catalogue::Account;
use crate::model::clock::unix_now;
use crate::session::{Close, Listing};

/// Sockets looked at before others get their turn.
const AT_ONCE: usize = 256;

/// Looks at all sockets after every change, for as long as the program runs.
pub async fn keep_watch(shared: Arc<Shared>) {
    let mut news = shared.authority.live().news();
    while news.changed().await.is_ok() {
        for (at, handle) in shared.registry.all().iter().enumerate() {
            look(&shared.authority, handle);
            if at % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Closes a socket whose token or access is no more what it was.
pub(super) fn look(authority: &Authority, handle: &Handle) {
    if let Some(reason) = handle.with_listing(|listing| fault(authority, listing)) {
        handle.close(CloseReason::Session(reason));
    }
}

fn fault(authority: &Authority, listing: &Listing) -> Option<Close> {
    let held = listing.identity.as_ref()?;
    let identity = match authority.look_again(held, unix_now()) {
        Ok(identity) => identity,
        Err(error) => return Some(Close::Revoked(error.to_string())),
    };
    let same = |account: &Account| {
        authority
            .subscriber(&identity, account.scope.as_str())
            .as_ref()
            == Ok(account)
    };
    (!listing.accounts.iter().all(same)).then_some(Close::AccessChanged)
}
