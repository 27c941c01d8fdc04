//! Keeps the connection going, for ever, and the advertisements; sorts what comes in.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::answers::{Answers, Job};
use super::link::{Link, Outbox, PATIENCE};
use super::message::{Advertisement, CHANGES, KAPPS, Message, NODES, Request, Writer, parse};
use super::peers::Peers;
use super::questions::Questions;
use super::{ClusterSettings, Node};
use crate::entropy::{fill, random_id};
use crate::telemetry::Metrics;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Time between advertisements, in milliseconds: a random one of these (kazoo-amqp.md 7.3 lets 5 to
/// 15 s).
const ADVERTISE_MS: RangeInclusive<u64> = 5000..=8000;
/// A newcomer is answered within this time; not at once, since all answer it.
const NEWCOMER_MS: RangeInclusive<u64> = 0..=300;
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// Requests of other nodes that may wait.
const JOBS: usize = 1024;
/// Longest wait for the good-bye.
const GOOD_BYE: Duration = Duration::from_secs(2);

/// What the handle and the task have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) writer: Arc<Writer>,
    peers: Mutex<Peers>,
    pub(super) questions: Arc<Questions>,
    /// While connected.
    outbox: Mutex<Option<Outbox>>,
    metrics: Arc<Metrics>,
}

pub(super) struct Task {
    settings: ClusterSettings,
    shared: Arc<Shared>,
    stop: mpsc::Receiver<oneshot::Sender<()>>,
    jobs: mpsc::Sender<(Job, Outbox)>,
    next_advertisement: Instant,
    /// A notice was dropped: ask anew what changed.
    missed_notice: bool,
    /// What was logged last, so that the same is not logged at each attempt.
    failure: String,
}

/// Why a link is no more.
enum Ended {
    Lost(String),
    /// Somebody waits for the end, or nobody holds a handle any more.
    Stopped(Option<oneshot::Sender<()>>),
}

impl Task {
    /// The task, and the task that answers, both to be run.
    pub(super) fn spawn(
        settings: ClusterSettings,
        node: Arc<dyn Node>,
        shared: Arc<Shared>,
        stop: mpsc::Receiver<oneshot::Sender<()>>,
    ) {
        let (jobs, waiting) = mpsc::channel(JOBS);
        let answers = Answers::new(node, shared.writer.clone());
        let task = Self {
            settings,
            shared,
            stop,
            jobs,
            next_advertisement: Instant::now(),
            missed_notice: false,
            failure: String::new(),
        };
        tokio::spawn(answers.run(waiting));
        tokio::spawn(task.run());
    }

    async fn run(mut self) {
        let mut pause = Duration::ZERO;
        let stopped = loop {
            let link = match self.open(pause).await {
                Ok(link) => link,
                Err(stopped) => break stopped,
            };
            pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            let mut link = match link {
                Ok(link) => link,
                Err(reason) => {
                    self.log_failure(&reason, "the other nodes cannot be reached");
                    continue;
                }
            };
            let opened = Instant::now();
            let ended = self.serve(&mut link).await;
            self.shared.lost();
            match ended {
                Ended::Stopped(done) => {
                    let farewell = self.shared.writer.farewell(&random_id());
                    let said = link.outbox().post_surely(NODES, "", &farewell, GOOD_BYE);
                    said.await;
                    link.leave().await;
                    break done;
                }
                Ended::Lost(reason) => {
                    self.log_failure(&reason, "the other nodes are lost");
                    // A link that ends at once, again and again, must not keep the broker busy.
                    if opened.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                }
            }
        };
        if let Some(done) = stopped {
            let _ = done.send(());
        }
    }

    /// One attempt, after a pause. `Err` is a stop.
    async fn open(
        &mut self,
        pause: Duration,
    ) -> Result<Result<Link, String>, Option<oneshot::Sender<()>>> {
        let settings = self.settings.clone();
        let advertisement = self.advertisement();
        let attempt = async {
            sleep(pause).await;
            timeout(PATIENCE, Link::open(&settings, &advertisement))
                .await
                .unwrap_or_else(|_| Err("no answer in time".into()))
        };
        tokio::select! {
            opened = attempt => Ok(opened),
            stopped = self.stop.recv() => Err(stopped),
        }
    }

    async fn serve(&mut self, link: &mut Link) -> Ended {
        let outbox = link.outbox().clone();
        self.failure.clear();
        self.shared.connected(&outbox);
        self.job(Job::Greet, &outbox);
        let mut sweep = interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                next = link.next() => match next {
                    Ok(Ok(body)) => self.take(&body, &outbox),
                    Ok(Err(reason)) => tracing::debug!(reason, "control message ignored"),
                    Err(reason) => return Ended::Lost(reason),
                },
                () = sleep_until(self.next_advertisement) => {
                    let advertisement = self.advertisement();
                    outbox.post(NODES, "", &advertisement);
                }
                _ = sweep.tick() => self.sweep(&outbox),
                stopped = self.stop.recv() => return Ended::Stopped(stopped),
            }
            // Messages are always ready under load; let others run as well.
            tokio::task::coop::consume_budget().await;
        }
    }

    fn take(&mut self, body: &str, outbox: &Outbox) {
        match parse(body, &outbox.queue) {
            Ok(Some(Message::Answer(answer))) => self.shared.questions.answered(answer),
            Ok(Some(Message::Advertisement(advertisement))) => self.heard(advertisement),
            Ok(Some(Message::Request(request))) => {
                let notice = matches!(request, Request::Changed(_));
                let taken = self.job(Job::Request(request), outbox);
                self.missed_notice |= notice && !taken;
            }
            Ok(None) => {}
            Err(reason) => tracing::debug!(reason, "control message ignored"),
        }
    }

    /// False when too many wait.
    fn job(&self, job: Job, outbox: &Outbox) -> bool {
        let taken = self.jobs.try_send((job, outbox.clone())).is_ok();
        if !taken {
            tracing::debug!("request of another node dropped: too many wait");
        }
        taken
    }

    fn heard(&mut self, advertisement: Advertisement) {
        let name = advertisement.node.clone();
        let heard = {
            let mut peers = self.shared.peers();
            peers.heard(advertisement, Instant::now().into_std())
        };
        if heard.namesake {
            tracing::error!(
                node = name,
                "another gateway has this node's name: give each its own with the setting node"
            );
        }
        if heard.new {
            tracing::debug!(node = name, "a node came");
            let soon = Instant::now() + random_ms(NEWCOMER_MS);
            self.next_advertisement = self.next_advertisement.min(soon);
        }
        self.shared.count_peers();
    }

    fn sweep(&mut self, outbox: &Outbox) {
        self.shared.peers().sweep(Instant::now().into_std());
        self.shared.count_peers();
        if self.missed_notice {
            let body = self.shared.writer.changes_req(&outbox.queue, &random_id());
            self.missed_notice = !outbox.post(KAPPS, CHANGES, &body);
        }
    }

    /// An advertisement, good until the next one, which it sets the time of.
    fn advertisement(&mut self) -> Value {
        let expires = random_ms(ADVERTISE_MS);
        self.next_advertisement = Instant::now() + expires;
        let writer = &self.shared.writer;
        writer.advertisement(expires, used_memory(), &random_id())
    }

    fn log_failure(&mut self, reason: &str, message: &str) {
        // Without the random end of a queue's name.
        let gist: String = reason.chars().filter(|c| !c.is_ascii_hexdigit()).collect();
        if gist == self.failure {
            tracing::debug!(reason, "{message}");
        } else {
            tracing::warn!(reason, "{message}");
            self.failure = gist;
        }
    }
}

impl Shared {
    pub(super) fn new(settings: &ClusterSettings, writer: Writer, metrics: Arc<Metrics>) -> Self {
        let peers = Peers::new(&settings.node, &writer.instance, &settings.zone);
        Self {
            writer: Arc::new(writer),
            peers: Mutex::new(peers),
            questions: Arc::default(),
            outbox: Mutex::default(),
            metrics,
        }
    }

    /// `None` while the broker is away.
    pub(super) fn outbox(&self) -> Option<Outbox> {
        let outbox = self.outbox.lock();
        outbox.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_outbox(&self, outbox: Option<Outbox>) {
        *self.outbox.lock().unwrap_or_else(PoisonError::into_inner) = outbox;
    }

    fn connected(&self, outbox: &Outbox) {
        tracing::info!("connected with the other nodes");
        // Others may come back as late as we may have.
        self.peers().thaw(Instant::now().into_std(), LONGEST_PAUSE);
        self.set_outbox(Some(outbox.clone()));
        self.metrics.cluster_connected.set(1);
    }

    fn lost(&self) {
        self.peers().freeze(Instant::now().into_std());
        self.set_outbox(None);
        self.questions.give_up();
        self.metrics.cluster_connected.set(0);
    }

    fn count_peers(&self) {
        let count = self.peers().names(false, Instant::now().into_std()).len();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.cluster_nodes.set(count);
    }
}

fn random_ms(range: RangeInclusive<u64>) -> Duration {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    let span = range.end() - range.start() + 1;
    Duration::from_millis(range.start() + u64::from_le_bytes(bytes) % span)
}

/// Bytes of this process that are in memory; 0 where the system does not say.
fn used_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
