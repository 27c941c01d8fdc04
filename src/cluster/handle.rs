//! What the rest of the program holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::link::{Outbox, PATIENCE};
use super::message::{CHANGED, CLOSE, GET, KAPPS, SYSCONF, Writer};
use super::peers::Peer;
use super::questions::{Enough, Outcome};
use super::task::{Shared, Task};
use super::{ClusterSettings, Node, SocketQuestion};
use crate::entropy::random_id;
use crate::model::AccountId;
use crate::model::clock::{gregorian, unix_now};
use crate::telemetry::Metrics;

/// Longest wait for the answers to a question (kazoo-amqp.md 7.1).
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Longest wait for the broker to take a notice.
const NOTICE_TIME: Duration = Duration::from_secs(5);

/// The other nodes. Cheap to clone; when the last one is dropped, the connection ends.
#[derive(Debug, Clone)]
pub struct Cluster(Option<Arc<Connected>>);

#[derive(Debug)]
struct Connected {
    shared: Arc<Shared>,
    stop: mpsc::Sender<oneshot::Sender<()>>,
}

/// What other nodes said of their sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Socket objects (kazoo-amqp.md 7.1) of all that answered.
    pub sockets: Vec<Map<String, Value>>,
    /// Names of nodes that did not answer.
    pub missing: Vec<String>,
}

impl Cluster {
    /// Without a broker: there are no other nodes.
    pub fn alone() -> Self {
        Self(None)
    }

    /// Starts connecting. Returns at once; the broker may be away.
    pub fn start(settings: ClusterSettings, node: Arc<dyn Node>, metrics: Arc<Metrics>) -> Self {
        let writer = Writer {
            node: settings.node.clone(),
            instance: random_id(),
            zone: settings.zone.clone(),
            startup: gregorian(unix_now()),
        };
        let shared = Arc::new(Shared::new(&settings, writer, metrics));
        let (stop, stopping) = mpsc::channel(1);
        Task::spawn(settings, node, shared.clone(), stopping);
        Self(Some(Arc::new(Connected { shared, stop })))
    }

    /// Asks all other nodes for their sockets (kazoo-amqp.md 7.1), for two seconds at most. A question
    /// for one socket ends with the first node that has it.
    pub async fn sockets(&self, question: &SocketQuestion) -> Gathered {
        let Some(connected) = &self.0 else {
            return Gathered::default();
        };
        let enough = match question.socket {
            Some(_) => Enough::Socket,
            None => Enough::Never,
        };
        let writer = &connected.shared.writer;
        let send = |outbox: &Outbox, id: &str| {
            let body = writer.get_req(question, &outbox.queue, id);
            outbox.post(SYSCONF, GET, &body)
        };
        let outcome = connected.ask(false, enough, send).await;
        let answers = outcome.answers.into_iter();
        Gathered {
            sockets: answers.flat_map(|answer| answer.sockets).collect(),
            missing: outcome.missing,
        }
    }

    /// Asks the other gateways of our own kind to close a socket of this account; whether one did,
    /// and the names of those who did not answer within two seconds.
    pub async fn close_socket(&self, account: &AccountId, socket: &str) -> (bool, Vec<String>) {
        let Some(connected) = &self.0 else {
            return (false, Vec::new());
        };
        let writer = &connected.shared.writer;
        let send = |outbox: &Outbox, id: &str| {
            let body = writer.close_req(account, socket, &outbox.queue, id);
            outbox.post(KAPPS, CLOSE, &body)
        };
        let outcome = connected.ask(true, Enough::Closed, send).await;
        let closed = outcome.answers.iter().any(|answer| answer.closed);
        (closed, outcome.missing)
    }

    /// Tells all other gateways of our own kind that something changed. False: the broker did not
    /// take it, and they may not know; what [`Node::known`] says reaches them after an outage.
    pub async fn tell(&self, notice: Value) -> bool {
        let Some(connected) = &self.0 else {
            return true;
        };
        let Some(outbox) = connected.shared.outbox() else {
            return false;
        };
        let writer = &connected.shared.writer;
        let body = writer.changed(&notice, &outbox.queue, &random_id());
        let telling = outbox.post_surely(KAPPS, CHANGED, &body, NOTICE_TIME);
        telling.await
    }

    /// The other nodes that answer for sockets, by name. While the broker is away: those that were
    /// there when it was lost.
    pub fn peers(&self) -> Vec<Peer> {
        let list = |connected: &Arc<Connected>| connected.shared.peers().list(Instant::now());
        self.0.as_ref().map_or_else(Vec::new, list)
    }

    /// Whether others can be asked now. Without a broker there is nobody to ask: false.
    pub fn connected(&self) -> bool {
        let connected = self.0.as_ref();
        connected.is_some_and(|connected| connected.shared.outbox().is_some())
    }

    /// Says good-bye, so that nobody waits for this node's answers, and leaves the broker.
    pub async fn stop(&self) {
        let Some(connected) = &self.0 else { return };
        let (done, stopped) = oneshot::channel();
        if connected.stop.send(done).await.is_ok() {
            let _ = timeout(PATIENCE, stopped).await;
        }
    }
}

impl Connected {
    /// Asks all peers, or those of our own kind only. `send` publishes the question of this id.
    async fn ask(
        &self,
        only_ours: bool,
        enough: Enough,
        send: impl Fn(&Outbox, &str) -> bool,
    ) -> Outcome {
        let nodes = self.shared.peers().names(only_ours, Instant::now());
        if nodes.is_empty() {
            return Outcome::default();
        }
        let nobody = |missing| Outcome {
            missing,
            ..Outcome::default()
        };
        let Some(outbox) = self.shared.outbox() else {
            return nobody(nodes);
        };
        let id = random_id();
        let mut ticket = self.shared.questions.ask(id.clone(), nodes.clone(), enough);
        if !send(&outbox, &id) {
            return nobody(nodes);
        }
        // Without the rest's answers those that came are as good.
        let _ = timeout(ANSWER_TIME, ticket.done()).await;
        ticket.outcome()
    }
}
