//! Publishing, on a connection of its own: a broker that is short of memory stops reading from
//! connections that publish, and must not stop our bindings with it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::super::{Publication, SourceError};
use super::PATIENCE;
use super::wire::{OpError, Wire, short, text};
use crate::catalogue::Catalogue;
use crate::model::clock::GREGORIAN_OFFSET;

/// Events that may wait for their confirmation.
const UNDER_WAY: usize = 256;

/// Connects with the first event, and anew after an error.
#[derive(Debug)]
pub(super) struct Publisher {
    uri: AMQPUri,
    node: String,
    catalogue: Arc<Catalogue>,
    open: Mutex<Option<Open>>,
    under_way: Semaphore,
}

#[derive(Debug, Clone)]
struct Open {
    wire: Arc<Wire>,
    channel: Channel,
}

impl Publisher {
    pub(super) fn new(uri: AMQPUri, node: String, catalogue: Arc<Catalogue>) -> Self {
        Self {
            uri,
            node,
            catalogue,
            open: Mutex::default(),
            under_way: Semaphore::new(UNDER_WAY),
        }
    }

    /// Publishes with the broker's confirmation; true when some queue took the event.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<bool, SourceError> {
        // Bounded: what a blocked broker does not take would pile up here.
        let _permit = self
            .under_way
            .try_acquire()
            .map_err(|_| SourceError::Full)?;
        let published = self.try_publish(publication).await;
        if let Err(OpError::Lost(_) | OpError::Refused(SourceError::Refused(_))) = &published {
            // The channel is closed, or an exchange that was there has gone.
            *self.open.lock().await = None;
        }
        published.map_err(|error| match error {
            OpError::Refused(error) => error,
            OpError::Lost(_) => SourceError::Away,
        })
    }

    async fn try_publish(&self, publication: &Publication) -> Result<bool, OpError> {
        let late = |_| OpError::Lost("no answer in time".into());
        let open = timeout(PATIENCE, self.open()).await.map_err(late)?;
        let open = open.map_err(OpError::Lost)?;
        if open.wire.connection.status().blocked() {
            return Err(OpError::Refused(SourceError::Full));
        }
        let declaring = open.wire.exchange(&publication.exchange);
        timeout(PATIENCE, declaring).await.map_err(late)??;
        let sent = timeout(PATIENCE, send(&open, publication)).await;
        sent.unwrap_or(Err(OpError::Refused(SourceError::Unconfirmed)))
    }

    async fn open(&self) -> Result<Open, String> {
        let mut open = self.open.lock().await;
        if let Some(open) = open.as_ref()
            && open.channel.status().connected()
        {
            return Ok(open.clone());
        }
        let catalogue = self.catalogue.clone();
        let wire = Wire::open(self.uri.clone(), &self.node, catalogue).await?;
        let channel = wire.connection.create_channel().await.map_err(text)?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        confirming.await.map_err(text)?;
        let fresh = Open {
            wire: Arc::new(wire),
            channel,
        };
        *open = Some(fresh.clone());
        Ok(fresh)
    }
}

async fn send(open: &Open, publication: &Publication) -> Result<bool, OpError> {
    let exchange = short(&publication.exchange)?;
    let key = short(&publication.routing_key)?;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_timestamp(gregorian_microseconds());
    let body = publication.body.as_bytes();
    let sending = open
        .channel
        .basic_publish(exchange, key, options, body, properties);
    let confirm = sending.await.map_err(|error| open.wire.classify(error))?;
    let confirmed = confirm.await.map_err(|error| open.wire.classify(error))?;
    if confirmed.is_nack() {
        let error = SourceError::Refused("not confirmed".into());
        return Err(OpError::Refused(error));
    }
    Ok(confirmed.take_message().is_none())
}

/// Kazoo's timestamp property (kazoo-amqp.md 1.3).
fn gregorian_microseconds() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = unix.unwrap_or_default().as_micros();
    u64::try_from(micros)
        .unwrap_or(u64::MAX)
        .saturating_add(GREGORIAN_OFFSET * 1_000_000)
}
