//! One connection of the control traffic, from opening to loss. It is not the events' connection, so
//! that neither their load nor a refusal there stops this, nor the other way round.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{QueueBindOptions, QueueDeleteOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ClusterSettings;
use super::message::{CHANGED, CHANGES, CLOSE, GET, KAPPS, MODULE, NODES, SYSCONF, TARGETED};
use crate::broker::{OpError, Wire, consume, read, short, text, uri};

/// Longest wait for the broker's answer to one thing.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The broker's bound for our queue, and ours for one message.
const QUEUE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Messages that may wait to be published.
const OUTBOX: usize = 256;

/// What our queue gets, beside answers.
const BINDINGS: [(&str, &str); 6] = [
    (SYSCONF, GET),
    (KAPPS, MODULE),
    (KAPPS, CLOSE),
    (KAPPS, CHANGED),
    (KAPPS, CHANGES),
    (NODES, ""),
];

/// A connection with its queue. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Link {
    wire: Arc<Wire>,
    channel: Channel,
    queue: ShortString,
    consumer: Consumer,
    outbox: Outbox,
    postman: JoinHandle<()>,
    lost: oneshot::Receiver<String>,
}

/// Publishes over one link, without waiting. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    /// Our queue, to which answers go.
    pub(super) queue: Arc<str>,
    letters: mpsc::Sender<Letter>,
}

#[derive(Debug)]
struct Letter {
    exchange: &'static str,
    key: String,
    body: Vec<u8>,
    /// Told whether the broker confirmed it.
    kept: Option<oneshot::Sender<bool>>,
}

impl Link {
    /// Connects, binds, consumes, and advertises: who may not advertise is not there for the others.
    pub(super) async fn open(
        settings: &ClusterSettings,
        advertisement: &Value,
    ) -> Result<Self, String> {
        let name = format!("blackhole {} control", settings.node);
        let wire = Arc::new(Wire::open(uri(&settings.url)?, &name).await?);
        let opening = Self::set_up(&wire, settings, advertisement);
        let (channel, queue, consumer, publishing) =
            opening.await.map_err(|error| error.to_string())?;
        let (letters, waiting) = mpsc::channel(OUTBOX);
        let (ended, lost) = oneshot::channel();
        let postman = Postman {
            wire: wire.clone(),
            channel: publishing,
            refused: None,
        };
        let postman = tokio::spawn(async move {
            let reason = postman.run(waiting).await;
            let _ = ended.send(reason);
        });
        let outbox = Outbox {
            queue: queue.as_str().into(),
            letters,
        };
        Ok(Self {
            wire,
            channel,
            queue,
            consumer,
            outbox,
            postman,
            lost,
        })
    }

    async fn set_up(
        wire: &Wire,
        settings: &ClusterSettings,
        advertisement: &Value,
    ) -> Result<(Channel, ShortString, Consumer, Channel), OpError> {
        let channel = wire.channel().await?;
        let prefix = format!("blackhole-{}-control", settings.node);
        let max_bytes = u64::try_from(QUEUE_MAX_BYTES).unwrap_or(u64::MAX);
        let queue = wire.own_queue(&channel, &prefix, max_bytes).await?;
        for (exchange, key) in BINDINGS.into_iter().chain([(TARGETED, queue.as_str())]) {
            wire.exchange(exchange, false).await?;
            let (exchange, key) = (short(exchange)?, short(key)?);
            let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
            let binding = channel.queue_bind(queue.clone(), exchange, key, options, arguments);
            binding.await.map_err(|error| wire.classify(error))?;
        }
        let consuming = consume(&channel, queue.clone());
        let consumer = consuming.await.map_err(OpError::Lost)?;
        let publishing = wire.confirming().await?;
        let body = advertisement.to_string();
        wire.publish(&publishing, (NODES, ""), body.as_bytes())
            .await?;
        Ok((channel, queue, consumer, publishing))
    }

    /// For as long as this link lives.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The next message's text, or why it is dropped; `Err`: the link is lost, and why.
    pub(super) async fn next(&mut self) -> Result<Result<String, &'static str>, String> {
        tokio::select! {
            delivery = self.consumer.next() => match delivery {
                Some(Ok(delivery)) => Ok(read(delivery, QUEUE_MAX_BYTES)),
                Some(Err(error)) => Err(text(error)),
                None => Err("the broker ended the consumer".into()),
            },
            reason = &mut self.lost => Err(reason.unwrap_or_else(|_| "publishing ended".into())),
        }
    }

    /// Leaves the broker in good order.
    pub(super) async fn leave(self) {
        let leaving = async {
            let options = QueueDeleteOptions::default();
            let _ = self.channel.queue_delete(self.queue.clone(), options).await;
            self.wire.close().await;
        };
        let _ = timeout(PATIENCE, leaving).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // It holds the connection, too.
        self.postman.abort();
    }
}

impl Outbox {
    /// Publishes soon; false when too much is waiting.
    pub(super) fn post(&self, exchange: &'static str, key: &str, body: &Value) -> bool {
        self.put(exchange, key, body, None)
    }

    /// Publishes; true when the broker has confirmed it, within a bounded time.
    pub(super) async fn post_surely(
        &self,
        exchange: &'static str,
        key: &str,
        body: &Value,
        patience: Duration,
    ) -> bool {
        let (sender, kept) = oneshot::channel();
        self.put(exchange, key, body, Some(sender))
            && matches!(timeout(patience, kept).await, Ok(Ok(true)))
    }

    fn put(
        &self,
        exchange: &'static str,
        key: &str,
        body: &Value,
        kept: Option<oneshot::Sender<bool>>,
    ) -> bool {
        let letter = Letter {
            exchange,
            key: key.to_owned(),
            body: body.to_string().into_bytes(),
            kept,
        };
        let put = self.letters.try_send(letter).is_ok();
        if !put {
            tracing::debug!(exchange, key, "control message dropped: the broker is slow");
        }
        put
    }
}

/// Publishes what is in the outbox, one after the other.
struct Postman {
    wire: Arc<Wire>,
    channel: Channel,
    /// The broker's last refusal, so that it is logged once.
    refused: Option<String>,
}

impl Postman {
    /// Ends, with a reason, when the link is lost.
    async fn run(mut self, mut letters: mpsc::Receiver<Letter>) -> String {
        while let Some(letter) = letters.recv().await {
            // What waits for a broker that takes nothing is stale when it takes something again.
            let kept = !self.wire.blocked() && {
                match self.deliver(&letter).await {
                    Ok(kept) => kept,
                    Err(reason) => return reason,
                }
            };
            if let Some(tell) = letter.kept {
                let _ = tell.send(kept);
            }
        }
        "nobody publishes any more".into()
    }

    /// Whether the broker has it; `Err`: the link is lost.
    async fn deliver(&mut self, letter: &Letter) -> Result<bool, String> {
        let place = (letter.exchange, &*letter.key);
        let publishing = self.wire.publish(&self.channel, place, &letter.body);
        match timeout(PATIENCE, publishing).await {
            Ok(Ok(_)) => {
                self.refused = None;
                Ok(true)
            }
            Ok(Err(OpError::Lost(reason))) => Err(reason),
            // All is declared and bound anew with the next link.
            Ok(Err(refused)) if letter.exchange == NODES => Err(refused.to_string()),
            Ok(Err(refused)) => {
                self.refused(letter, refused.to_string());
                self.renew().await?;
                Ok(false)
            }
            Err(_) if self.wire.blocked() => Ok(false),
            Err(_) => Err("no answer in time".into()),
        }
    }

    fn refused(&mut self, letter: &Letter, reason: String) {
        if self.refused.as_ref() != Some(&reason) {
            let (exchange, key, bytes) = (letter.exchange, &*letter.key, letter.body.len());
            tracing::warn!(
                exchange,
                key,
                bytes,
                reason,
                "a control message was refused"
            );
            self.refused = Some(reason);
        }
    }

    /// A refusal closed the channel.
    async fn renew(&mut self) -> Result<(), String> {
        let renewed = timeout(PATIENCE, self.wire.confirming()).await;
        let renewed = renewed.map_err(|_| "no answer in time".to_owned())?;
        self.channel = renewed.map_err(|error| error.to_string())?;
        Ok(())
    }
}
