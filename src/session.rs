//! The session protocol (websocket-protocol.md) as a state machine without I/O or clock.
//!
//! - `wire`: frames in, replies out, as text;
//! - `machine`: the order of checks, the states, the deadlines;
//! - `table`: what one session has subscribed to.

mod machine;
mod table;
mod wire;

pub use machine::{Close, Done, Frame, Limits, Listing, Outcome, Session, Step, Tick};
