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

/// Events routed before their frames are sent, and before others get their turn: as many as one write
/// gathers.
const ROUTED_AT_ONCE: usize = 64;
/// Their bytes: well below what may wait for a socket.
const ROUTED_BYTES: usize = 256 * 1024;
/// Sockets written to before others get their turn: some milliseconds.
const SENT_AT_ONCE: usize = 512;

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
    async fn run(self) {
        let mut dispatcher = Dispatcher::new(self.catalogue.clone(), self.index.clone());
        let mut batch = VecDeque::new();
        loop {
            self.ingress.take(&mut batch).await;
            let (mut events, mut bytes) = (0, 0);
            while let Some(event) = batch.pop_front() {
                events += 1;
                bytes += event.body.len();
                self.route(&mut dispatcher, &event);
                if batch.is_empty() || events >= ROUTED_AT_ONCE || bytes >= ROUTED_BYTES {
                    (events, bytes) = (0, 0);
                    while dispatcher.flush(SENT_AT_ONCE) {
                        yield_now().await;
                    }
                    yield_now().await;
                    // Out of budget as a whole, and not for one: only then does the source wait.
                    self.room.within().await;
                }
            }
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
