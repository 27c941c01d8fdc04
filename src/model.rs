//! Words that every other module uses: identifiers, topics, time. Knows nothing else.

pub mod clock;
pub mod id;
pub mod topic;

pub use id::{AccountId, Scope, SessionId};
