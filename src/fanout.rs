//! From an event's bytes to frames in the sockets' queues.
//!
//! - `scan`: a strict JSON scanner that copies nothing;
//! - `peek`: the few fields that routing needs, and the event's own routing key;
//! - `normalise`: the public form of a body, once per event;
//! - `frame`: one frame per group, joined from its prefix and the event's tail;
//! - `deliver`: event -> groups -> queues.

mod deliver;
mod frame;
mod normalise;
mod peek;
mod scan;

pub use deliver::{Delivered, Dispatcher, Receiver, Refused};
pub use frame::{frame, tail};
pub use normalise::normalise;
pub use peek::{Peek, Unroutable, peek};
pub use scan::BadJson;
