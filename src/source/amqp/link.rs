//! One connection to RabbitMQ, from opening to loss.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use tokio::sync::{Mutex, oneshot};

use super::super::bindings::Op;
use super::super::body::{Properties, decode};
use super::super::exchanges::{Kind, kazoo};
use super::super::{Ingress, Publication, SourceError};
use super::AmqpSettings;
use crate::catalogue::Catalogue;
use crate::entropy::random_id;
use crate::model::Event;
use crate::model::clock::GREGORIAN_OFFSET;
use crate::telemetry::Metrics;

const HEARTBEAT_SECONDS: u16 = 10;

/// A connection with its queue. Dropping it closes the connection and ends its reader.
pub(super) struct Link {
    wire: Arc<Wire>,
    control: Channel,
    queue: ShortString,
    lost: Option<oneshot::Receiver<String>>,
}

/// The part of a link that publishers share.
#[derive(Debug)]
pub(super) struct Wire {
    connection: Connection,
    catalogue: Arc<Catalogue>,
    /// Exchanges known to exist on this connection.
    declared: Mutex<HashSet<String>>,
    publisher: Mutex<Option<Channel>>,
}

/// Why the broker did not do one thing.
#[derive(Debug)]
pub(super) enum OpError {
    /// It said no; the connection lives on.
    Refused(SourceError),
    /// The connection is gone.
    Lost(String),
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
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("blackhole {}", settings.node).into());
        let connection = Connection::connect_uri(uri, properties)
            .await
            .map_err(text)?;
        let control = connection.create_channel().await.map_err(text)?;
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
        control
            .queue_declare(queue.clone(), options, arguments)
            .await
            .map_err(text)?;
        let wire = Wire {
            connection,
            catalogue,
            declared: Mutex::default(),
            publisher: Mutex::default(),
        };
        Ok(Self {
            wire: Arc::new(wire),
            control,
            queue,
            lost: None,
        })
    }

    /// Binds or unbinds.
    pub(super) async fn carry_out(&mut self, op: &Op) -> Result<(), OpError> {
        let refused = |text: String| OpError::Refused(SourceError::Refused(text));
        let exchange =
            ShortString::try_new(op.exchange()).map_err(|error| refused(error.to_string()))?;
        let key = ShortString::try_new(&*op.key)
            .map_err(|_| refused("the routing key is too long".into()))?;
        let queue = self.queue.clone();
        let done = if op.bind {
            self.wire.exchange(op.exchange()).await?;
            let options = QueueBindOptions::default();
            self.control
                .queue_bind(queue, exchange, key, options, FieldTable::default())
                .await
        } else {
            self.control
                .queue_unbind(queue, exchange, key, FieldTable::default())
                .await
        };
        let Err(error) = done else { return Ok(()) };
        // The broker closes the channel with its refusal.
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
    ) -> Result<Arc<Wire>, String> {
        let options = BasicConsumeOptions {
            no_ack: true,
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let consuming = self.control.basic_consume(
            self.queue.clone(),
            "".into(),
            options,
            FieldTable::default(),
        );
        let consumer = consuming.await.map_err(text)?;
        let (ended, lost) = oneshot::channel();
        let exchanges = self.wire.catalogue.exchanges();
        let reader = Reader {
            names: exchanges
                .map(|name| (name.to_owned(), Arc::from(name)))
                .collect(),
            ingress: ingress.clone(),
            metrics: metrics.clone(),
            max_bytes,
        };
        tokio::spawn(async move {
            let reason = reader.run(consumer).await;
            let _ = ended.send(reason);
        });
        self.lost = Some(lost);
        Ok(self.wire.clone())
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
        let wire = self.wire.clone();
        // Closing waits for the broker, which may be dead; nobody waits for that.
        tokio::spawn(async move { wire.connection.close(200, "bye".into()).await });
    }
}

impl Wire {
    /// Publishes with the broker's confirmation; true when some queue took the event.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<bool, SourceError> {
        let refused = |text: String| SourceError::Refused(text);
        self.exchange(&publication.exchange)
            .await
            .map_err(|error| match error {
                OpError::Refused(error) => error,
                OpError::Lost(_) => SourceError::Away,
            })?;
        let exchange = ShortString::try_new(publication.exchange.as_str())
            .map_err(|e| refused(e.to_string()))?;
        let key = ShortString::try_new(publication.routing_key.as_str())
            .map_err(|e| refused(e.to_string()))?;
        let channel = self.publisher().await.map_err(|_| SourceError::Away)?;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_timestamp(gregorian_microseconds());
        let sent = channel
            .basic_publish(
                exchange,
                key,
                options,
                publication.body.as_bytes(),
                properties,
            )
            .await;
        let confirmed = match sent {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        let confirmed = confirmed.map_err(|error| refused(error.to_string()))?;
        if confirmed.is_nack() {
            return Err(refused("not confirmed".into()));
        }
        Ok(confirmed.take_message().is_none())
    }

    async fn publisher(&self) -> lapin::Result<Channel> {
        let mut publisher = self.publisher.lock().await;
        if let Some(channel) = publisher
            .as_ref()
            .filter(|channel| channel.status().connected())
        {
            return Ok(channel.clone());
        }
        let channel = self.connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        *publisher = Some(channel.clone());
        Ok(channel)
    }

    /// Makes sure that an exchange exists: Kazoo's are declared as Kazoo does, one of the catalogue
    /// is taken as it is or declared likewise, any other must be there.
    async fn exchange(&self, name: &str) -> Result<(), OpError> {
        let mut declared = self.declared.lock().await;
        if declared.contains(name) {
            return Ok(());
        }
        match kazoo(name) {
            Some(kind) => self.declare(name, kind, false).await?,
            None => match self.declare(name, Kind::Topic, true).await {
                Err(OpError::Refused(_)) if self.catalogue.exchange(name).is_some() => {
                    self.declare(name, Kind::Topic, false).await?;
                }
                Err(OpError::Refused(_)) => {
                    return Err(OpError::Refused(SourceError::NoExchange(name.to_owned())));
                }
                other => other?,
            },
        }
        declared.insert(name.to_owned());
        Ok(())
    }

    /// On a channel of its own, since a refusal closes the channel.
    async fn declare(&self, name: &str, kind: Kind, passive: bool) -> Result<(), OpError> {
        let kind = match kind {
            Kind::Topic => ExchangeKind::Topic,
            Kind::Direct => ExchangeKind::Direct,
            Kind::Fanout => ExchangeKind::Fanout,
        };
        let refused = |text: String| OpError::Refused(SourceError::Refused(text));
        let exchange = ShortString::try_new(name).map_err(|error| refused(error.to_string()))?;
        let channel = self.channel().await?;
        let options = ExchangeDeclareOptions {
            passive,
            ..ExchangeDeclareOptions::default()
        };
        let declared = channel
            .exchange_declare(exchange, kind, options, FieldTable::default())
            .await;
        declared.map_err(|error| self.classify(error))?;
        let _ = channel.close(200, "done".into()).await;
        Ok(())
    }

    async fn channel(&self) -> Result<Channel, OpError> {
        self.connection
            .create_channel()
            .await
            .map_err(|error| OpError::Lost(text(error)))
    }

    fn classify(&self, error: lapin::Error) -> OpError {
        if self.connection.status().connected() {
            OpError::Refused(SourceError::Refused(text(error)))
        } else {
            OpError::Lost(text(error))
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

/// Kazoo's timestamp property (kazoo-amqp.md 1.3).
fn gregorian_microseconds() -> u64 {
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(unix.as_micros())
        .unwrap_or(u64::MAX)
        .saturating_add(GREGORIAN_OFFSET * 1_000_000)
}

fn text(error: lapin::Error) -> String {
    error.to_string()
}
