//! Accounts, users and signing keys on disk.
//!
//! - `sqlite`: the embedded database, opened by the server and by the commands beside it;
//! - `live`: the server's own thread for it, which keeps the [`crate::auth::Directory`] fresh.

mod live;
mod sqlite;

pub use live::LiveStore;
pub use sqlite::{FirstStart, NewAccount, Store, StoreError};
