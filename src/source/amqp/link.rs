//! One connection that consumes, from opening to loss.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, QueueBindOptions, QueueDeleteOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::Ingress;
use super::super::bindings::Op;
use super::AmqpSettings;
use super::publisher::Publisher;
use crate::broker::{OpError, Wire, consume, read, short, text, uri};
use crate::catalogue::Catalogue;
use crate::model::Event;
use crate::telemetry::Metrics;

/// A connection with its queue. Dropping it ends its reader and closes the connection.
pub(super) struct Link {
    wire: Wire,
    catalogue: Arc<Catalogue>,
    /// Binds and unbinds; the broker closes it with each refusal.
    control: Channel,
    /// Has the queue's consumer; nothing that could be refused happens on it.
    consuming: Channel,
    queue: ShortString,
    publisher: Arc<Publisher>,
    reader: Option<JoinHandle<()>>,
    lost: Option<oneshot::Receiver<String>>,
}

impl Link {
    /// Connects and declares the queue.
    pub(super) async fn open(
        settings: &AmqpSettings,
        catalogue: Arc<Catalogue>,
    ) -> Result<Self, String> {
        let uri = uri(&settings.url)?;
        let wire = Wire::open(uri.clone(), &format!("blackhole {}", settings.node)).await?;
        let lost = |error: OpError| error.to_string();
        let control = wire.channel().await.map_err(lost)?;
        let consuming = wire.channel().await.map_err(lost)?;
        let prefix = format!("blackhole-{}", settings.node);
        let declaring = wire.own_queue(&consuming, &prefix, settings.queue_max_bytes);
        let queue = declaring.await.map_err(lost)?;
        Ok(Self {
            wire,
            control,
            consuming,
            queue,
            publisher: Arc::new(Publisher::new(
                uri,
                settings.node.clone(),
                catalogue.clone(),
            )),
            catalogue,
            reader: None,
            lost: None,
        })
    }

    /// For publishers, for as long as this link lives.
    pub(super) fn publisher(&self) -> Arc<Publisher> {
        self.publisher.clone()
    }

    /// Binds or unbinds.
    pub(super) async fn carry_out(&mut self, op: &Op) -> Result<(), OpError> {
        let first = self.try_out(op).await;
        if let Err(OpError::Refused(_) | OpError::NoExchange(_)) = first
            && op.bind
        {
            // The exchange may have been deleted since it was declared.
            self.wire.forget(op.exchange()).await;
            return self.try_out(op).await;
        }
        first
    }

    async fn try_out(&mut self, op: &Op) -> Result<(), OpError> {
        let (exchange, key) = (short(op.exchange())?, short(&op.key)?);
        let (queue, arguments) = (self.queue.clone(), FieldTable::default());
        let done = if op.bind {
            let ours = self.catalogue.exchange(op.exchange()).is_some();
            self.wire.exchange(op.exchange(), ours).await?;
            let options = QueueBindOptions::default();
            self.control
                .queue_bind(queue, exchange, key, options, arguments)
                .await
        } else {
            self.control
                .queue_unbind(queue, exchange, key, arguments)
                .await
        };
        let Err(error) = done else { return Ok(()) };
        let error = self.wire.classify(error);
        if let OpError::Refused(_) = &error {
            self.control = self.wire.channel().await?;
        }
        Err(error)
    }

    /// Starts to consume: bindings are in place already.
    pub(super) async fn consume(
        &mut self,
        ingress: &Arc<Ingress>,
        metrics: &Arc<Metrics>,
        max_bytes: usize,
    ) -> Result<(), String> {
        let consumer = consume(&self.consuming, self.queue.clone()).await?;
        let (ended, lost) = oneshot::channel();
        let exchanges = self.catalogue.exchanges();
        let reader = Reader {
            channel: self.consuming.clone(),
            queue: self.queue.clone(),
            names: exchanges
                .map(|name| (name.to_owned(), Arc::from(name)))
                .collect(),
            ingress: ingress.clone(),
            metrics: metrics.clone(),
            max_bytes,
        };
        self.reader = Some(tokio::spawn(async move {
            let reason = reader.run(consumer).await;
            let _ = ended.send(reason);
        }));
        self.lost = Some(lost);
        Ok(())
    }

    /// Waits until the link is gone, and says why.
    pub(super) async fn lost(&mut self) -> String {
        match &mut self.lost {
            Some(lost) => lost.await.unwrap_or_else(|_| "the reader ended".into()),
            None => std::future::pending().await,
        }
    }

    /// Leaves the broker in good order. Unbinds first: dropping a queue with many bindings blocks
    /// publishers on their exchanges (rabbitmq-server#12926).
    pub(super) async fn leave(&mut self, bound: &[Op]) {
        for op in bound {
            if self.carry_out(op).await.is_err() {
                return;
            }
        }
        let _ = self
            .control
            .queue_delete(self.queue.clone(), QueueDeleteOptions::default())
            .await;
        self.wire.close().await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // What an old connection still brings must not come beside what the new one brings.
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

/// Moves deliveries into the ingress. While too much waits there it does not consume, and events wait in
/// our queue on the broker.
struct Reader {
    channel: Channel,
    queue: ShortString,
    /// Shared texts of the exchanges that events usually come from.
    names: HashMap<String, Arc<str>>,
    ingress: Arc<Ingress>,
    metrics: Arc<Metrics>,
    max_bytes: usize,
}

impl Reader {
    async fn run(self, mut consumer: Consumer) -> String {
        loop {
            if let Some(reason) = self.drain(consumer).await {
                return reason;
            }
            self.ingress.has_room().await;
            consumer = match consume(&self.channel, self.queue.clone()).await {
                Ok(consumer) => consumer,
                Err(reason) => return reason,
            };
        }
    }

    /// Takes what comes, until the consumer ends: `None` when that was our wish.
    async fn drain(&self, mut consumer: Consumer) -> Option<String> {
        let mut paused = false;
        while let Some(delivery) = consumer.next().await {
            let full = match delivery {
                Ok(delivery) => self.accept(delivery),
                Err(error) => return Some(text(error)),
            };
            if full && !paused {
                paused = true;
                self.metrics.source_paused.inc();
                let (tag, options) = (consumer.tag(), BasicCancelOptions::default());
                if let Err(error) = self.channel.basic_cancel(tag, options).await {
                    return Some(text(error));
                }
            }
            // The stream is always ready under load; let the dispatcher run as well.
            tokio::task::coop::consume_budget().await;
        }
        (!paused).then(|| "the broker ended the consumer".into())
    }

    /// True: too much waits to be routed.
    fn accept(&self, delivery: Delivery) -> bool {
        let received = Instant::now();
        let (from, routing_key) = (delivery.exchange.clone(), delivery.routing_key.clone());
        let body = match read(delivery, self.max_bytes) {
            Ok(body) => body,
            Err(reason) => {
                self.metrics.event_dropped(reason);
                return false;
            }
        };
        let exchange = self.names.get(from.as_str());
        let event = Event {
            exchange: exchange
                .cloned()
                .unwrap_or_else(|| Arc::from(from.as_str())),
            routing_key: routing_key.into(),
            body,
            received,
        };
        self.ingress.append(event)
    }
}
