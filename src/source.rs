//! Where events come from: an in-process bus by default, or RabbitMQ. Both speak the same exchanges
//! and routing keys, and both put what they receive into the one [`Ingress`].
//!
//! - `ingress`: the bounded queue between a source and the dispatcher;
//! - `bus`: the embedded topic bus;
//! - `amqp`: RabbitMQ, with reconnection;
//! - `bindings`: what must be bound on the broker, counted.

mod amqp;
mod bindings;
mod bus;
mod ingress;

pub use amqp::{Amqp, AmqpSettings};
pub use bus::Bus;
pub use ingress::Ingress;

use crate::broker::OpError;
use crate::catalogue::BrokerBinding;

/// Longest routing key that AMQP can carry, in bytes.
pub const MAX_KEY: usize = 255;

/// The source in force.
#[derive(Debug)]
pub enum Source {
    /// In this process.
    Embedded(Bus),
    /// RabbitMQ.
    Amqp(Amqp),
}

/// Whether events can come, for health and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// `embedded` or `amqp`.
    pub kind: &'static str,
    /// Whether events can come now.
    pub connected: bool,
    /// Unix seconds of the last change.
    pub since: u64,
    /// How often the broker was lost.
    pub lost: u64,
    /// Kinds of bindings that the broker refuses; tried again every few seconds.
    pub refused: usize,
    /// Why it is not connected.
    pub error: Option<String>,
}

/// An event to be published.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where.
    pub exchange: String,
    /// Under which key.
    pub routing_key: String,
    /// A JSON object.
    pub body: String,
}

/// Why a source did not do as asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SourceError {
    /// The broker is away; it is being reconnected.
    #[error("the event source is not connected")]
    Away,
    /// More events are waiting than may.
    #[error("the event source is overloaded, try again")]
    Full,
    /// There is no such exchange.
    #[error("exchange {0:?} does not exist")]
    NoExchange(String),
    /// The broker said no.
    #[error("the event source refused: {0}")]
    Refused(String),
    /// The broker did not confirm in time: the event may have been published.
    #[error("the event source did not confirm in time; the event may have been published")]
    Unconfirmed,
}

impl From<OpError> for SourceError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::Refused(reason) => Self::Refused(reason),
            OpError::NoExchange(name) => Self::NoExchange(name),
            OpError::Lost(_) => Self::Away,
        }
    }
}

impl SourceError {
    /// What a client is told: nothing of the broker's own words, which name hosts and users.
    pub fn told(&self) -> String {
        match self {
            Self::Refused(_) => "the event source refused the binding".into(),
            other => other.to_string(),
        }
    }
}

impl Source {
    /// Makes sure that events of these bindings come. Each call counts; [`Source::release`] takes it
    /// back. While the broker is away they are noted, and bound as soon as it is back.
    pub async fn listen(&self, bindings: Vec<BrokerBinding>) -> Result<(), SourceError> {
        match self {
            Self::Embedded(bus) => {
                bus.listen(&bindings);
                Ok(())
            }
            Self::Amqp(amqp) => amqp.listen(bindings).await,
        }
    }

    /// These bindings are needed once less.
    pub async fn release(&self, bindings: Vec<BrokerBinding>) {
        match self {
            Self::Embedded(bus) => bus.release(&bindings),
            Self::Amqp(amqp) => amqp.release(bindings).await,
        }
    }

    /// Publishes one event; true when some queue took it.
    pub async fn publish(&self, publication: Publication) -> Result<bool, SourceError> {
        match self {
            Self::Embedded(bus) => bus.publish(publication),
            Self::Amqp(amqp) => amqp.publish(publication).await,
        }
    }

    /// Whether events can come.
    pub fn state(&self) -> SourceState {
        match self {
            Self::Embedded(bus) => bus.state(),
            Self::Amqp(amqp) => amqp.state(),
        }
    }

    /// Leaves the broker in good order: unbinds, then drops the queue.
    pub async fn stop(&self) {
        match self {
            Self::Embedded(_) => {}
            Self::Amqp(amqp) => amqp.stop().await,
        }
    }
}
