//! The shared index: which groups of sockets does a routing key reach?
//!
//! - `trie`: patterns by topic words; cost grows with the words of the key and the patterns that
//!   match, not with the number of patterns;
//! - `group`: subscriptions that share a frame, and their members.

mod group;
mod trie;

pub use group::{Group, Index, Member};
pub use trie::Trie;
