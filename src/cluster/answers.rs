//! Carries out what other nodes ask for. On a task of its own: the answers that this node waits for
//! must not wait for those that it gives.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use super::link::Outbox;
use super::message::{Asker, CHANGED, CHANGES, KAPPS, Request, TARGETED, Writer};
use super::{ModuleRequest, Node, SocketQuestion};
use crate::entropy::random_id;

/// Starts and stops of modules under way.
const MODULES: usize = 8;

/// One thing to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Another node asks.
    Request(Request),
    /// The link is new: tell what is known here, ask what is known elsewhere.
    Greet,
}

/// Does the jobs, one after the other.
#[derive(Clone)]
pub(super) struct Answers {
    node: Arc<dyn Node>,
    writer: Arc<Writer>,
    modules: Arc<Semaphore>,
}

impl Answers {
    pub(super) fn new(node: Arc<dyn Node>, writer: Arc<Writer>) -> Self {
        Self {
            node,
            writer,
            modules: Arc::new(Semaphore::new(MODULES)),
        }
    }

    /// Until nobody gives jobs any more.
    pub(super) async fn run(self, mut jobs: mpsc::Receiver<(Job, Outbox)>) {
        while let Some((job, outbox)) = jobs.recv().await {
            let answers = self.clone();
            // A panic over one job must not leave all others unanswered.
            let done = tokio::spawn(async move { answers.carry_out(job, outbox).await });
            if let Err(error) = done.await {
                tracing::error!(%error, "a request of another node failed");
            }
        }
    }

    async fn carry_out(&self, job: Job, outbox: Outbox) {
        match job {
            Job::Request(request) => self.answer(request, outbox).await,
            Job::Greet => self.greet(&outbox).await,
        }
    }

    async fn answer(&self, request: Request, outbox: Outbox) {
        match request {
            Request::Sockets(question, asker) => {
                let body = self.writer.get_resp(self.sockets(&question), &asker.id);
                outbox.post(TARGETED, &asker.queue, &body);
            }
            Request::Close {
                account,
                socket,
                asker,
            } => {
                let closed = self.node.close_socket(&account, &socket);
                let body = self.writer.close_resp(closed, &asker.id);
                outbox.post(TARGETED, &asker.queue, &body);
            }
            Request::Changed(notice) => self.node.told(notice),
            Request::Changes(asker) => self.tell_known(TARGETED, &asker.queue, &outbox).await,
            Request::Module(request, asker) => self.module(request, asker, outbox),
        }
    }

    /// `Data` by the table of kazoo-amqp.md 7.1.
    fn sockets(&self, question: &SocketQuestion) -> Value {
        let mut sockets = self.node.sockets(question);
        match (&question.socket, sockets.is_empty()) {
            (Some(_), false) => Value::Object(sockets.swap_remove(0)),
            _ => json!(sockets),
        }
    }

    /// Apart from the rest, since it may take its time.
    fn module(&self, request: ModuleRequest, asker: Asker, outbox: Outbox) {
        let Ok(permit) = self.modules.clone().try_acquire_owned() else {
            let module = request.module;
            tracing::warn!(
                module,
                "a module request is not answered: too many under way"
            );
            return;
        };
        let (node, writer) = (self.node.clone(), self.writer.clone());
        tokio::spawn(async move {
            let answer = node.module(request).await;
            outbox.post(
                TARGETED,
                &asker.queue,
                &writer.module_resp(&answer, &asker.id),
            );
            drop(permit);
        });
    }

    async fn greet(&self, outbox: &Outbox) {
        self.tell_known(KAPPS, CHANGED, outbox).await;
        let body = self.writer.changes_req(&outbox.queue, &random_id());
        outbox.post(KAPPS, CHANGES, &body);
    }

    async fn tell_known(&self, exchange: &'static str, key: &str, outbox: &Outbox) {
        if let Some(notice) = self.node.known().await {
            let body = self.writer.changed(&notice, &outbox.queue, &random_id());
            outbox.post(exchange, key, &body);
        }
    }
}
