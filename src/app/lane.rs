//! The lane of events: one thread that reads them from the broker, routes them and writes their frames.
//! Nothing else has a turn there, so an event on its way wakes no other thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, EnterGuard, Handle as Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

use crate::catalogue::Catalogue;
use crate::fanout::Dispatcher;
use crate::gateway::{Handle, Room};
use crate::index::Index;
use crate::model::Event;
use crate::source::Ingress;
use crate::telemetry::Metrics;

/// Events routed in a round, in which every socket is written to once: as many as one write gathers.
const ROUTED_AT_ONCE: usize = 64;
/// Their bytes: well below what may wait for a socket.
const ROUTED_BYTES: usize = 256 * 1024;
/// Sockets written to before others get their turn, and events that came meanwhile are routed: a
/// millisecond or less.
const SENT_AT_ONCE: usize = 128;

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Lane {
    runtime: Runtime,
    _open: oneshot::Sender<()>,
}

impl Lane {
    pub(super) fn open() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (open, dropped) = oneshot::channel();
        thread::Builder::new()
            .name("events".into())
            .spawn(move || runtime.block_on(dropped))?;
        Ok(Self {
            runtime: handle,
            _open: open,
        })
    }

    /// Until the guard is dropped, tasks are started in the lane.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    pub(super) fn spawn(&self, dispatch: Dispatch) -> JoinHandle<()> {
        self.runtime.spawn(dispatch.run())
    }
}

/// Events from the ingress to the sockets, one after the other.
pub(super) struct Dispatch {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) index: Arc<Index<Arc<Handle>>>,
    pub(super) ingress: Arc<Ingress>,
    pub(super) room: Arc<Room>,
    pub(super) metrics: Arc<Metrics>,
}

impl Dispatch {
    /// Events that come while a round is written are routed at once, and join what is not written yet:
    /// the busier it is, the more goes out with each write.
    async fn run(self) {
        let mut dispatcher = Dispatcher::new(self.catalogue.clone(), self.index.clone());
        let mut batch = VecDeque::new();
        let mut round = Round::default();
        loop {
            if dispatcher.touched() == 0 {
                // Out of budget as a whole, and not for one: only then does the source wait. Who is
                // in the dispatcher's own hands is served first.
                self.room.within().await;
            }
            if batch.is_empty() && !self.ingress.try_take(&mut batch) && dispatcher.touched() == 0 {
                self.ingress.take(&mut batch).await;
            }
            let open = self.room.is_within();
            while open
                && round.has_room()
                && let Some(event) = batch.pop_front()
            {
                round.routed(&event);
                self.route(&mut dispatcher, &event);
            }
            dispatcher.flush(SENT_AT_ONCE);
            round.sent(SENT_AT_ONCE, dispatcher.touched());
            yield_now().await;
        }
    }

    fn route(&self, dispatcher: &mut Dispatcher<Arc<Handle>>, event: &Event) {
        let metrics = &self.metrics;
        match dispatcher.dispatch(event) {
            Ok(delivered) => {
                metrics
                    .events_matched
                    .inc_by(u64::from(delivered.groups > 0));
                metrics.deliveries.inc_by(delivered.deliveries);
                metrics.delivered_bytes.inc_by(delivered.bytes);
                metrics.withheld.inc_by(delivered.withheld);
            }
            Err(refused) => {
                metrics.event_dropped(refused.reason());
                let (exchange, key) = (&event.exchange, &event.routing_key);
                tracing::debug!(reason = refused.reason(), %exchange, %key, "event dropped");
            }
        }
    }
}

/// What was routed while every socket is written to once.
#[derive(Debug, Default)]
struct Round {
    events: usize,
    bytes: usize,
    /// Sockets that waited when the round began, and still do.
    left: usize,
}

impl Round {
    fn has_room(&self) -> bool {
        self.events < ROUTED_AT_ONCE && self.bytes < ROUTED_BYTES
    }

    fn routed(&mut self, event: &Event) {
        self.events += 1;
        self.bytes += event.body.len();
    }

    /// So many sockets were written to; so many wait now.
    fn sent(&mut self, count: usize, touched: usize) {
        self.left = self.left.saturating_sub(count);
        if self.left == 0 {
            *self = Self {
                left: touched,
                ..Self::default()
            };
        }
    }
}
