//! A connection to the broker, the exchanges known to exist on it, and what can be done with both.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use tokio::sync::Mutex;

use super::exchanges::{Kind, kazoo};
use crate::entropy::random_id;
use crate::model::Secret;
use crate::model::clock::GREGORIAN_OFFSET;

/// Seconds between heartbeats, unless the URL names others.
const HEARTBEAT_SECONDS: u16 = 10;

/// One TCP connection. Closed when dropped.
#[derive(Debug)]
pub struct Wire {
    connection: Connection,
    declared: Mutex<HashSet<String>>,
}

/// Why the broker did not do one thing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpError {
    /// It said no, in these words; the connection lives on.
    #[error("{0}")]
    Refused(String),
    /// There is no exchange of this name; the connection lives on.
    #[error("exchange {0:?} does not exist")]
    NoExchange(String),
    /// The connection is gone, for this reason.
    #[error("{0}")]
    Lost(String),
}

impl Wire {
    /// Connects, under a name that the broker's listings show.
    pub async fn open(uri: AMQPUri, name: &str) -> Result<Self, String> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        Ok(Self {
            connection: Connection::connect_uri(uri, properties)
                .await
                .map_err(text)?,
            declared: Mutex::default(),
        })
    }

    /// A new channel.
    pub async fn channel(&self) -> Result<Channel, OpError> {
        let channel = self.connection.create_channel().await;
        channel.map_err(|error| OpError::Lost(text(error)))
    }

    /// A new channel on which the broker confirms what is published.
    pub async fn confirming(&self) -> Result<Channel, OpError> {
        let channel = self.channel().await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        confirming.await.map_err(|error| self.classify(error))?;
        Ok(channel)
    }

    /// Whether the broker is short of something and takes nothing from publishers.
    pub fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Makes sure that an exchange exists: Kazoo's are declared as Kazoo does, any other is taken as
    /// it is; one that is not there is declared likewise if it may be, or is an error.
    pub async fn exchange(&self, name: &str, may_declare: bool) -> Result<(), OpError> {
        if self.declared.lock().await.contains(name) {
            return Ok(());
        }
        match kazoo(name) {
            Some(kind) => self.declare(name, kind, false).await?,
            None => match self.declare(name, Kind::Topic, true).await {
                Err(OpError::Refused(_)) if may_declare => {
                    self.declare(name, Kind::Topic, false).await?;
                }
                Err(OpError::Refused(_)) => return Err(OpError::NoExchange(name.to_owned())),
                other => other?,
            },
        }
        self.declared.lock().await.insert(name.to_owned());
        Ok(())
    }

    /// The exchange is declared anew when it is needed next.
    pub async fn forget(&self, name: &str) {
        self.declared.lock().await.remove(name);
    }

    /// On a channel of its own, since a refusal closes the channel.
    async fn declare(&self, name: &str, kind: Kind, passive: bool) -> Result<(), OpError> {
        let kind = match kind {
            Kind::Topic => ExchangeKind::Topic,
            Kind::Direct => ExchangeKind::Direct,
            Kind::Fanout => ExchangeKind::Fanout,
        };
        let exchange = short(name)?;
        let channel = self.channel().await?;
        let options = ExchangeDeclareOptions {
            passive,
            ..ExchangeDeclareOptions::default()
        };
        let declaring = channel.exchange_declare(exchange, kind, options, FieldTable::default());
        declaring.await.map_err(|error| self.classify(error))?;
        let _ = channel.close(200, "done".into()).await;
        Ok(())
    }

    /// Declares a queue of our own, which goes with the connection; its name begins with `prefix`.
    /// The broker drops the oldest messages beyond `max_bytes`.
    pub async fn own_queue(
        &self,
        channel: &Channel,
        prefix: &str,
        max_bytes: u64,
    ) -> Result<ShortString, OpError> {
        // A new name each time: the broker may still hold the exclusive queue of a connection whose
        // loss it has not seen.
        let queue = short(&format!("{prefix}-{}", &random_id()[..8]))?;
        let mut arguments = FieldTable::default();
        let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        arguments.insert(
            "x-max-length-bytes".into(),
            AMQPValue::LongLongInt(max_bytes),
        );
        let options = QueueDeclareOptions {
            // It goes with the connection, but not when its consumer pauses.
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let declaring = channel.queue_declare(queue.clone(), options, arguments);
        declaring.await.map_err(|error| self.classify(error))?;
        Ok(queue)
    }

    /// Publishes a JSON text on a channel that confirms; true when some queue took it. `Err` with the
    /// text `not confirmed` when the broker did not keep it.
    pub async fn publish(
        &self,
        channel: &Channel,
        (exchange, key): (&str, &str),
        body: &[u8],
    ) -> Result<bool, OpError> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_timestamp(gregorian_microseconds());
        let sending =
            channel.basic_publish(short(exchange)?, short(key)?, options, body, properties);
        let confirm = sending.await.map_err(|error| self.classify(error))?;
        let confirmed = confirm.await.map_err(|error| self.classify(error))?;
        if confirmed.is_nack() {
            return Err(OpError::Refused("not confirmed".into()));
        }
        Ok(confirmed.take_message().is_none())
    }

    /// Whether an error ended the connection, or only what was asked.
    pub fn classify(&self, error: lapin::Error) -> OpError {
        if self.connection.status().connected() {
            OpError::Refused(text(error))
        } else {
            OpError::Lost(text(error))
        }
    }

    /// Says good-bye to the broker.
    pub async fn close(&self) {
        let _ = self.connection.close(200, "bye".into()).await;
    }
}

/// Starts to consume a queue of our own, without acknowledgements.
pub async fn consume(channel: &Channel, queue: ShortString) -> Result<Consumer, String> {
    let options = BasicConsumeOptions {
        no_ack: true,
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    channel
        .basic_consume(queue, "".into(), options, FieldTable::default())
        .await
        .map_err(text)
}

/// Where an `amqp://` URL leads, with heartbeats in any case. The error does not show the URL, which
/// holds a password.
pub fn uri(url: &Secret) -> Result<AMQPUri, String> {
    let mut uri: AMQPUri = url
        .expose()
        .parse()
        .map_err(|_| "the AMQP URL cannot be read".to_owned())?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(uri)
}

/// A text that AMQP can carry as a name or key (255 bytes).
pub fn short(name: &str) -> Result<ShortString, OpError> {
    ShortString::try_new(name).map_err(|error| OpError::Refused(error.to_string()))
}

/// The broker's or the library's words.
pub fn text(error: lapin::Error) -> String {
    error.to_string()
}

/// Kazoo's timestamp property (kazoo-amqp.md 1.3).
fn gregorian_microseconds() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = unix.unwrap_or_default().as_micros();
    u64::try_from(micros)
        .unwrap_or(u64::MAX)
        .saturating_add(GREGORIAN_OFFSET * 1_000_000)
}
