//! Publishers: HTTP connections to the server, or a channel to RabbitMQ.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use http::Method;
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep_until;

use crate::Lab;
use crate::api::Http;
use crate::events::{Filling, Sample};
use crate::server::Server;
use crate::tally::Board;

/// HTTP connections at most, each with one request at a time.
const CONNECTIONS: usize = 16;

/// Ready to publish the events of a board.
#[derive(Debug)]
pub(crate) struct Publisher {
    lanes: Vec<Lane>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    samples: Vec<Sample>,
    /// Events a second, over all lanes.
    rate: Option<u32>,
}

/// Publishes its share of the events, in their order.
#[derive(Debug)]
enum Lane {
    Http(Http),
    Amqp(Box<Amqp>),
}

#[derive(Debug)]
struct Amqp {
    channel: Channel,
    // Closes when dropped.
    _connection: Connection,
}

impl Publisher {
    /// To the server's source: RabbitMQ if there is one, otherwise the embedded bus.
    pub(crate) fn new(lab: &Lab, server: &Server, rate: Option<u32>) -> anyhow::Result<Self> {
        let samples = Sample::all()?;
        let lanes = match &lab.amqp_url {
            None => (0..CONNECTIONS)
                .map(|_| Lane::Http(Http::new(server)))
                .collect(),
            Some(url) => vec![lab.runtime.block_on(amqp(url, &samples))?],
        };
        let shared = Arc::new(Shared { samples, rate });
        Ok(Self { lanes, shared })
    }

    /// Lanes: lane `l` publishes the events `l`, `l + lanes` and so on.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Publishes in the background. Dropping the handle does not end it; aborting does.
    pub(crate) fn start(self, lab: &Lab, board: &Arc<Board>) -> JoinHandle<anyhow::Result<()>> {
        let board = board.clone();
        lab.runtime.spawn(async move {
            let count = self.lanes.len();
            let start = Instant::now();
            let mut running = JoinSet::new();
            for (first, mut lane) in self.lanes.into_iter().enumerate() {
                let (shared, board) = (self.shared.clone(), board.clone());
                running.spawn(async move {
                    for event in (first..board.script.events.len()).step_by(count) {
                        let due = shared.rate.map(|rate| {
                            start
                                + Duration::from_secs(1) * u32::try_from(event).unwrap_or(u32::MAX)
                                    / rate
                        });
                        if let Some(due) = due {
                            sleep_until(due.into()).await;
                        }
                        lane.publish(&shared.samples, &board, event, due).await?;
                    }
                    anyhow::Ok(())
                });
            }
            while let Some(lane) = running.join_next().await {
                lane?.context("publishing")?;
            }
            Ok(())
        })
    }
}

impl Lane {
    async fn publish(
        &mut self,
        samples: &[Sample],
        board: &Board,
        number: usize,
        due: Option<Instant>,
    ) -> anyhow::Result<()> {
        let event = board.script.events[number];
        let sample = &samples[usize::from(event.kind)];
        let filling = Filling {
            account: &board.script.accounts[event.account as usize],
            call: event.call,
            number,
        };
        match self {
            Self::Http(http) => {
                let body = sample.request(filling);
                board.begin(number, due).await;
                http.send(Method::PUT, "/v2/events", body).await?;
            }
            Self::Amqp(amqp) => {
                let (key, body) = (sample.key(filling), sample.body(filling));
                board.begin(number, due).await;
                let properties =
                    BasicProperties::default().with_content_type("application/json".into());
                // Without confirms, as Kazoo does it; the sockets tell what was lost.
                let sent = amqp.channel.basic_publish(
                    ShortString::try_new(&*sample.exchange)?,
                    ShortString::try_new(&*key)?,
                    BasicPublishOptions::default(),
                    body.as_bytes(),
                    properties,
                );
                sent.await?;
            }
        }
        Ok(())
    }
}

/// A channel on a connection of its own, and the exchanges as every Kazoo node declares them.
async fn amqp(url: &str, samples: &[Sample]) -> anyhow::Result<Lane> {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .context("connecting to RabbitMQ")?;
    let channel = connection.create_channel().await?;
    let exchanges: BTreeSet<&str> = samples.iter().map(|sample| &*sample.exchange).collect();
    for exchange in exchanges {
        channel
            .exchange_declare(
                ShortString::try_new(exchange)?,
                ExchangeKind::Topic,
                ExchangeDeclareOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    Ok(Lane::Amqp(Box::new(Amqp {
        channel,
        _connection: connection,
    })))
}
