//! Words that every other module uses: identifiers, topics, events, time. Knows nothing else.

pub mod clock;
mod event;
pub mod id;
mod identity;
mod network;
mod rate;
mod secret;
pub mod topic;

pub use event::Event;
pub use id::{AccountId, Scope, SessionId};
pub use identity::{Claims, Grant, Identity, Token, TokenDigest, Voucher};
pub use network::{client_network, reached_at};
pub use rate::Bucket;
pub use secret::Secret;
