//! A connection to the broker and the exchanges known to exist on it.

use std::collections::HashSet;
use std::sync::Arc;

use lapin::options::ExchangeDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::sync::Mutex;

use super::super::SourceError;
use super::super::exchanges::{Kind, kazoo};
use crate::catalogue::Catalogue;

/// One TCP connection. Closed when dropped.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) connection: Connection,
    catalogue: Arc<Catalogue>,
    declared: Mutex<HashSet<String>>,
}

/// Why the broker did not do one thing.
#[derive(Debug)]
pub(super) enum OpError {
    /// It said no; the connection lives on.
    Refused(SourceError),
    /// The connection is gone.
    Lost(String),
}

impl Wire {
    pub(super) async fn open(
        uri: AMQPUri,
        node: &str,
        catalogue: Arc<Catalogue>,
    ) -> Result<Self, String> {
        let name = format!("blackhole {node}");
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        Ok(Self {
            connection: Connection::connect_uri(uri, properties)
                .await
                .map_err(text)?,
            catalogue,
            declared: Mutex::default(),
        })
    }

    pub(super) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    pub(super) async fn channel(&self) -> Result<Channel, OpError> {
        let channel = self.connection.create_channel().await;
        channel.map_err(|error| OpError::Lost(text(error)))
    }

    /// Makes sure that an exchange exists: Kazoo's are declared as Kazoo does, one of the catalogue
    /// is taken as it is or declared likewise, any other must be there.
    pub(super) async fn exchange(&self, name: &str) -> Result<(), OpError> {
        if self.declared.lock().await.contains(name) {
            return Ok(());
        }
        match kazoo(name) {
            Some(kind) => self.declare(name, kind, false).await?,
            None => match self.declare(name, Kind::Topic, true).await {
                Err(OpError::Refused(_)) if self.catalogue.exchange(name).is_some() => {
                    self.declare(name, Kind::Topic, false).await?;
                }
                Err(OpError::Refused(_)) => {
                    let error = SourceError::NoExchange(name.to_owned());
                    return Err(OpError::Refused(error));
                }
                other => other?,
            },
        }
        self.declared.lock().await.insert(name.to_owned());
        Ok(())
    }

    /// The exchange is declared anew when it is needed next.
    pub(super) async fn forget(&self, name: &str) {
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

    /// Whether an error ended the connection, or only what was asked.
    pub(super) fn classify(&self, error: lapin::Error) -> OpError {
        if self.connection.status().connected() {
            OpError::Refused(SourceError::Refused(text(error)))
        } else {
            OpError::Lost(text(error))
        }
    }
}

/// A text that AMQP can carry as a name or key (255 bytes).
pub(super) fn short(name: &str) -> Result<ShortString, OpError> {
    ShortString::try_new(name)
        .map_err(|error| OpError::Refused(SourceError::Refused(error.to_string())))
}

pub(super) fn text(error: lapin::Error) -> String {
    error.to_string()
}
