//! Publishing, on a connection of its own: a broker that is short of memory stops reading from
//! connections that publish, and must not stop our bindings with it.

use std::sync::Arc;

use lapin::Channel;
use lapin::uri::AMQPUri;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::super::{Publication, SourceError};
use super::PATIENCE;
use crate::broker::{OpError, Wire};
use crate::catalogue::Catalogue;

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
        if let Err(SourceError::Away | SourceError::Refused(_)) = &published {
            // The channel is closed, or an exchange that was there has gone.
            *self.open.lock().await = None;
        }
        published
    }

    async fn try_publish(&self, publication: &Publication) -> Result<bool, SourceError> {
        let late = |_| SourceError::Away;
        let open = timeout(PATIENCE, self.open()).await.map_err(late)??;
        if open.wire.blocked() {
            return Err(SourceError::Full);
        }
        let exchange = &publication.exchange;
        let ours = self.catalogue.exchange(exchange).is_some();
        let declaring = open.wire.exchange(exchange, ours);
        timeout(PATIENCE, declaring).await.map_err(late)??;
        let place = (&**exchange, &*publication.routing_key);
        let body = publication.body.as_bytes();
        let sending = open.wire.publish(&open.channel, place, body);
        match timeout(PATIENCE, sending).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(SourceError::Unconfirmed),
        }
    }

    async fn open(&self) -> Result<Open, OpError> {
        let mut open = self.open.lock().await;
        if let Some(open) = open.as_ref()
            && open.channel.status().connected()
        {
            return Ok(open.clone());
        }
        let name = format!("blackhole {}", self.node);
        let wire = Wire::open(self.uri.clone(), &name);
        let wire = wire.await.map_err(OpError::Lost)?;
        let channel = wire.confirming().await?;
        let fresh = Open {
            wire: Arc::new(wire),
            channel,
        };
        *open = Some(fresh.clone());
        Ok(fresh)
    }
}
