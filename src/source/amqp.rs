//! RabbitMQ as the source: one connection, one queue of our own name, few coarse bindings.
//!
//! One task owns the connection and the table of bindings and takes commands, so that bindings are
//! made and removed in the order asked for. When the connection is lost it says so, reconnects for
//! ever with back-off, and declares everything anew; recovery is never left to the AMQP library,
//! which does it silently.

mod link;
mod publisher;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::link::Link;
use self::publisher::Publisher;
use super::bindings::Bindings;
use super::{Ingress, Publication, SourceError, SourceState};
use crate::broker::OpError;
use crate::catalogue::{BrokerBinding, Catalogue};
use crate::model::Secret;
use crate::model::clock::unix_now;
use crate::telemetry::Metrics;

/// Longest wait for the broker's answer to one thing.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// What the source needs to know.
#[derive(Debug, Clone)]
pub struct AmqpSettings {
    /// `amqp://user:password@host:port/vhost`.
    pub url: Secret,
    /// Names the queue and the connection.
    pub node: String,
    /// The broker's bound for our queue.
    pub queue_max_bytes: u64,
    /// Accounts with a binding of their own, before one binding serves all.
    pub wide_threshold: usize,
    /// How long a binding stays that nobody needs.
    pub unbind_delay: Duration,
    /// Larger events are dropped.
    pub event_max_bytes: usize,
}

/// The handle that the rest of the program holds.
#[derive(Debug)]
pub struct Amqp {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<SourceState>,
    /// For publishers, while connected.
    publisher: Mutex<Option<Arc<Publisher>>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Command {
    Listen(Vec<BrokerBinding>, oneshot::Sender<Result<(), SourceError>>),
    Release(Vec<BrokerBinding>),
    Stop(oneshot::Sender<()>),
}

/// Why a link is no more.
enum Ended {
    Lost(String),
    Stopped(oneshot::Sender<()>),
}

impl Amqp {
    /// Starts connecting. Returns at once; the broker may be away.
    pub fn start(
        settings: AmqpSettings,
        catalogue: Arc<Catalogue>,
        ingress: Arc<Ingress>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (commands, mailbox) = mpsc::channel(1024);
        let shared = Arc::new(Shared {
            state: Mutex::new(SourceState {
                kind: "amqp",
                connected: false,
                since: unix_now(),
                lost: 0,
                refused: 0,
                error: Some("connecting".into()),
            }),
            publisher: Mutex::new(None),
            metrics,
        });
        shared.metrics.source_changed(false, unix_now());
        let bindings = Bindings::new(settings.wide_threshold, settings.unbind_delay);
        let task = Task {
            settings,
            catalogue,
            ingress,
            bindings,
            mailbox,
            shared: shared.clone(),
        };
        tokio::spawn(task.run());
        Self { commands, shared }
    }

    pub(super) async fn listen(&self, bindings: Vec<BrokerBinding>) -> Result<(), SourceError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(Command::Listen(bindings, answer)).await;
        sent.map_err(|_| SourceError::Away)?;
        answered.await.unwrap_or(Err(SourceError::Away))
    }

    pub(super) async fn release(&self, bindings: Vec<BrokerBinding>) {
        // Fails only when the task has ended, and the bindings with it.
        let _ = self.commands.send(Command::Release(bindings)).await;
    }

    pub(super) async fn publish(&self, publication: Publication) -> Result<bool, SourceError> {
        let publisher = self.shared.publisher.lock();
        let publisher = publisher.unwrap_or_else(PoisonError::into_inner).clone();
        let publisher = publisher.ok_or(SourceError::Away)?;
        publisher.publish(&publication).await
    }

    pub(super) fn state(&self) -> SourceState {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            let _ = timeout(PATIENCE, stopped).await;
        }
    }
}

struct Task {
    settings: AmqpSettings,
    catalogue: Arc<Catalogue>,
    ingress: Arc<Ingress>,
    bindings: Bindings,
    mailbox: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
}

impl Task {
    async fn run(mut self) {
        let mut pause = Duration::ZERO;
        let stopped = loop {
            let opened = match self.open(pause).await {
                Ok(opened) => opened,
                Err(stopped) => break Some(stopped),
            };
            pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            let mut link = match opened {
                Ok(link) => link,
                Err(reason) => {
                    self.shared.still_away(&reason, pause);
                    continue;
                }
            };
            self.bindings.lost();
            // What is refused is logged and tried again; it must not keep the others away.
            let ended = match self.carry_out(&mut link).await {
                Err(reason) => Ended::Lost(reason),
                Ok(()) => {
                    let max_bytes = self.settings.event_max_bytes;
                    let consuming = link.consume(&self.ingress, &self.shared.metrics, max_bytes);
                    match timeout(PATIENCE, consuming).await {
                        Ok(Ok(())) => {
                            self.shared.connected(link.publisher());
                            pause = Duration::ZERO;
                            self.serve(&mut link).await
                        }
                        Ok(Err(reason)) => Ended::Lost(reason),
                        Err(_) => Ended::Lost("no answer in time".into()),
                    }
                }
            };
            match ended {
                Ended::Stopped(done) => break Some(done),
                Ended::Lost(reason) => {
                    pause = pause.max(FIRST_PAUSE);
                    self.shared.lost(&reason, pause);
                }
            }
        };
        if let Some(done) = stopped {
            let _ = done.send(());
        }
    }

    /// One attempt, after a pause. Commands are served meanwhile; `Err` is a stop.
    async fn open(&mut self, pause: Duration) -> Result<Result<Link, String>, oneshot::Sender<()>> {
        let settings = self.settings.clone();
        let catalogue = self.catalogue.clone();
        let attempt = async {
            sleep(pause).await;
            timeout(PATIENCE, Link::open(&settings, catalogue))
                .await
                .unwrap_or_else(|_| Err("no answer in time".into()))
        };
        tokio::pin!(attempt);
        loop {
            tokio::select! {
                opened = &mut attempt => return Ok(opened),
                command = self.mailbox.recv() => match command {
                    Some(Command::Listen(bindings, answer)) => {
                        bindings.iter().for_each(|binding| self.bindings.want(binding));
                        // Bound as soon as the broker is back; until then nobody gets anything.
                        let _ = answer.send(Ok(()));
                    }
                    Some(Command::Release(bindings)) => self.release(&bindings),
                    Some(Command::Stop(done)) => return Err(done),
                    None => return Err(oneshot::channel().0),
                },
            }
        }
    }

    async fn serve(&mut self, link: &mut Link) -> Ended {
        let mut sweep = interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                reason = link.lost() => return Ended::Lost(reason),
                command = self.mailbox.recv() => match command {
                    Some(Command::Listen(bindings, answer)) => {
                        bindings.iter().for_each(|binding| self.bindings.want(binding));
                        if let Err(reason) = self.carry_out(link).await {
                            // As for those who subscribed before: bound when the broker is back.
                            let _ = answer.send(Ok(()));
                            return Ended::Lost(reason);
                        }
                        let outcome = if bindings.iter().all(|binding| self.bindings.covers(binding)) {
                            Ok(())
                        } else {
                            bindings.iter().for_each(|binding| self.bindings.cancel(binding));
                            Err(SourceError::Refused("the log has the broker's reason".into()))
                        };
                        let _ = answer.send(outcome);
                    }
                    Some(Command::Release(bindings)) => self.release(&bindings),
                    Some(Command::Stop(done)) => {
                        link.leave(&self.bindings.bound()).await;
                        return Ended::Stopped(done);
                    }
                    None => return Ended::Stopped(oneshot::channel().0),
                },
                _ = sweep.tick() => {
                    self.bindings.sweep(Instant::now());
                    if let Err(reason) = self.carry_out(link).await {
                        return Ended::Lost(reason);
                    }
                }
            }
        }
    }

    fn release(&mut self, bindings: &[BrokerBinding]) {
        let now = Instant::now();
        bindings
            .iter()
            .for_each(|binding| self.bindings.release(binding, now));
    }

    /// Brings the broker to what the table wants, as far as it lets us. `Err`: the link is lost.
    async fn carry_out(&mut self, link: &mut Link) -> Result<(), String> {
        for op in self.bindings.plan(Instant::now()) {
            if !self.bindings.may(&op, Instant::now()) {
                continue;
            }
            match timeout(PATIENCE, link.carry_out(&op)).await {
                Ok(Ok(())) => self.bindings.done(&op),
                Ok(Err(OpError::Lost(reason))) => return Err(reason),
                Ok(Err(refused)) => {
                    let error = SourceError::from(refused);
                    if self.bindings.refused(&op, Instant::now()) {
                        let (exchange, key) = (op.exchange(), &*op.key);
                        tracing::error!(exchange, key, %error, "a broker binding was refused");
                    }
                }
                Err(_) => return Err("no answer in time".into()),
            }
        }
        self.bindings.settled(Instant::now());
        self.shared
            .report(self.bindings.len(), self.bindings.missing());
        Ok(())
    }
}

impl Shared {
    fn connected(&self, publisher: Arc<Publisher>) {
        *self
            .publisher
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(publisher);
        let now = unix_now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::info!(
            away_seconds = now.saturating_sub(state.since),
            "RabbitMQ connected"
        );
        state.connected = true;
        state.since = now;
        state.error = None;
        self.metrics.source_changed(true, now);
    }

    fn lost(&self, reason: &str, pause: Duration) {
        *self
            .publisher
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        self.report(0, 0);
        let now = unix_now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.connected {
            drop(state);
            return self.still_away(reason, pause);
        }
        state.connected = false;
        state.since = now;
        state.lost += 1;
        state.error = Some(reason.to_owned());
        self.metrics.source_lost.inc();
        self.metrics.source_changed(false, now);
        let times = state.lost;
        tracing::warn!(reason, times, "RabbitMQ lost: no events until it is back");
    }

    /// How many bindings are on the broker, and how many it refuses.
    fn report(&self, bound: usize, refused: usize) {
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.source_bindings.set(gauge(bound));
        self.metrics.source_bindings_refused.set(gauge(refused));
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .refused = refused;
    }

    fn still_away(&self, reason: &str, pause: Duration) {
        tracing::warn!(
            reason,
            next_try_ms = pause.as_millis(),
            "RabbitMQ cannot be reached"
        );
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.error = Some(reason.to_owned());
    }
}
