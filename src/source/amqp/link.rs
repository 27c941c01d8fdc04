//! One connection that consumes, from opening to loss.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Consumer};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::Ingress;
use super::super::bindings::Op;
use super::super::body::{Properties, decode};
use super::AmqpSettings;
use super::publisher::Publisher;
use super::wire::{OpError, Wire, short, text};
use crate::catalogue::Catalogue;
use crate::entropy::random_id;
use crate::model::Event;
use crate::telemetry::Metrics;

const HEARTBEAT_SECONDS: u16 = 10;

/// A connection with its queue. Dropping it ends its reader and closes the connection.
pub(super) struct Link {
    wire: Wire,
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
        let mut uri: AMQPUri = settings
            .url
            .expose()
            .parse()
            .map_err(|_| "the AMQP URL cannot be read".to_owned())?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        let wire = Wire::open(uri.clone(), &settings.node, catalogue.clone()).await?;
        let control = wire.connection.create_channel().await.map_err(text)?;
        let consuming = wire.connection.create_channel().await.map_err(text)?;
        // A new name each time: the broker may still hold the exclusive queue of a connection whose
        // loss it has not seen.
        let name = format!("blackhole-{}-{}", settings.node, &random_id()[..8]);
        let queue = ShortString::try_new(name).map_err(|error| error.to_string())?;
        let mut arguments = FieldTable::default();
        let max_bytes = i64::try_from(settings.queue_max_bytes).unwrap_or(i64::MAX);
        arguments.insert(
            "x-max-length-bytes".into(),
            AMQPValue::LongLongInt(max_bytes),
        );
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        consuming
            .queue_declare(queue.clone(), options, arguments)
            .await
            .map_err(text)?;
        Ok(Self {
            wire,
            control,
            consuming,
            queue,
            publisher: Arc::new(Publisher::new(uri, settings.node.clone(), catalogue)),
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
        if let Err(OpError::Refused(_)) = first
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
            self.wire.exchange(op.exchange()).await?;
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
        let options = BasicConsumeOptions {
            no_ack: true,
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let consuming = self.consuming.basic_consume(
            self.queue.clone(),
            "".into(),
            options,
            FieldTable::default(),
        );
        let consumer = consuming.await.map_err(text)?;
        let (ended, lost) = oneshot::channel();
        let exchanges = self.wire.catalogue().exchanges();
        let reader = Reader {
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
        let _ = self.wire.connection.close(200, "bye".into()).await;
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

/// Moves deliveries into the ingress.
struct Reader {
    /// Shared texts of the exchanges that events usually come from.
    names: HashMap<String, Arc<str>>,
    ingress: Arc<Ingress>,
    metrics: Arc<Metrics>,
    max_bytes: usize,
}

impl Reader {
    async fn run(self, mut consumer: Consumer) -> String {
        while let Some(delivery) = consumer.next().await {
            match delivery {
                Ok(delivery) => self.accept(delivery),
                Err(error) => return text(error),
            }
            // The stream is always ready under load; let the dispatcher run as well.
            tokio::task::coop::consume_budget().await;
        }
        "the broker ended the consumer".into()
    }

    fn accept(&self, delivery: Delivery) {
        let received = Instant::now();
        let said = &delivery.properties;
        let properties = Properties {
            content_type: said.content_type().as_ref().map(ShortString::as_str),
            content_encoding: said.content_encoding().as_ref().map(ShortString::as_str),
            for_process: said
                .headers()
                .as_ref()
                .is_some_and(|headers| headers.contains_key("Deliver-To-PID")),
        };
        let body = match decode(delivery.data, properties, self.max_bytes) {
            Ok(body) => body,
            Err(reason) => return self.metrics.event_dropped(reason),
        };
        let exchange = self.names.get(delivery.exchange.as_str());
        let event = Event {
            exchange: exchange
                .cloned()
                .unwrap_or_else(|| Arc::from(delivery.exchange.as_str())),
            routing_key: delivery.routing_key.into(),
            body,
            received,
        };
        if self.ingress.push(event).is_err() {
            self.metrics.event_dropped("ingress_full");
        }
    }
}
