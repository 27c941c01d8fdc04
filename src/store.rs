//! Accounts, users and signing keys on disk.
//!
//! - `sqlite`: the embedded database, opened by the server and by the commands beside it;
//! - `accounts`, `users`, `keys`: what is in it;
//! - `changes`: what nodes with databases of their own tell each other;
//! - `live`: the server's own thread for it, which keeps the [`crate::auth::Directory`] fresh.

mod accounts;
mod changes;
mod keys;
mod live;
mod sqlite;
mod users;

pub use accounts::{API_KEY_LENGTH, AccountChange, DocumentChange, NewAccount};
pub use changes::{Change, Kind, News, RevokedToken, State};
pub use live::{LiveStore, SEEN_WITHIN, Started};
pub use sqlite::{FirstStart, Store, StoreError};
pub use users::{NewUser, UserChange, check_password, check_username};
