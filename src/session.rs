//! The session protocol (websocket-protocol.md) as a state machine without I/O or clock.
//!
//! - `wire`: frames in, replies out, as text;
//! - `step`: what goes in and what comes out;
//! - `machine`: the order of checks, the states, the deadlines;
//! - `table`: what one session has subscribed to.

mod machine;
mod step;
mod table;
mod wire;

pub use machine::Session;
pub use step::{Close, Denied, Done, Frame, Limits, Listing, Outcome, Step, Tick};
