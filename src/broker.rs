//! A connection to RabbitMQ, and Kazoo's exchanges as Kazoo declares them. What the messages mean is
//! the business of those who use it.
//!
//! - `wire`: a connection, the exchanges known to exist on it, and what can be done with both;
//! - `exchanges`: Kazoo's exchanges;
//! - `body`: a message's bytes to JSON text.

mod body;
mod exchanges;
mod wire;

pub use body::read;
pub use exchanges::{Kind, kazoo};
pub use wire::{OpError, Wire, consume, short, text, uri};
