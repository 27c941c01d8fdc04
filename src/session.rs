//! The session protocol (websocket-protocol.md) as a state machine without I/O or clock.
//!
//! - `wire`: frames in, replies out, as text;
//! - `machine`: the order of checks, the states, the deadlines;
//! - `table`: what one session has subscribed to;
//! - `rate`: the token bucket.

mod machine;
mod rate;
mod table;
mod wire;

pub use machine::{Close, Done, Frame, Limits, Listing, Session, Step, Tick};
pub use rate::Bucket;
