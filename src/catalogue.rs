//! The catalogue of bindings, as data: which client bindings exist, what each needs from the broker
//! and which subscription keys it stands for.
//!
//! - `rule`: the format (explained at the head of `builtin.toml`), parsed and checked once;
//! - `expand`: client binding -> validation -> subscription keys and AMQP bindings.

mod expand;
mod rule;

pub use expand::{Account, BrokerBinding, Plan, Subscription};
pub use rule::{Catalogue, CatalogueError, Entry, Exchange, KeyStep, MONTH, Section, Unnamed};

/// The answer for a binding that no category can serve (kazoo-amqp.md 3.6).
pub const NOT_AVAILABLE: &str = "no available subscriptions to requested binding";
