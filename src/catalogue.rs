//! The catalogue of bindings, as data: which client bindings exist, what each needs from the broker
//! and which subscription keys it stands for.
//!
//! - `rule`: the rules in force;
//! - `parse`: the format (explained at the head of `builtin.toml`), read and checked once;
//! - `listing`: the catalogue as people see it;
//! - `expand`: client binding -> validation -> subscription keys and AMQP bindings.

mod expand;
mod listing;
mod parse;
mod rule;

pub use expand::{Account, BrokerBinding, Plan, Subscription};
pub use listing::{Entry, Section};
pub use parse::CatalogueError;
pub use rule::{Catalogue, Exchange, KeyStep, MONTH, Unnamed};

/// The answer for a binding that no category can serve (kazoo-amqp.md 3.6).
pub const NOT_AVAILABLE: &str = "no available subscriptions to requested binding";
