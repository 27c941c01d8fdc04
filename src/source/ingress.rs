//! The queue between a source and the dispatcher, bounded in bytes. When it is full the bus refuses the
//! publisher, and RabbitMQ's reader asks for no more until it is empty again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::Event;
use crate::telemetry::Metrics;

/// Counted for each event beyond its body and key.
const OVERHEAD: usize = 128;

/// Events that wait to be routed, in the order in which they came.
#[derive(Debug)]
pub struct Ingress {
    queue: Mutex<Queue>,
    ready: Notify,
    taken: Notify,
    rested: Notify,
    max_bytes: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    /// Everything that was taken has been routed.
    rests: bool,
}

/// The queue is full; here is the event again.
#[derive(Debug)]
pub struct Full;

impl Ingress {
    /// An empty queue for this many bytes.
    pub fn new(max_bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            queue: Mutex::default(),
            ready: Notify::new(),
            taken: Notify::new(),
            rested: Notify::new(),
            max_bytes,
            metrics,
        }
    }

    /// Appends an event, unless that would be too much. Never waits.
    pub fn push(&self, event: Event) -> Result<(), Full> {
        {
            let mut queue = self.lock();
            if queue.bytes + cost(&event) > self.max_bytes {
                return Err(Full);
            }
            queue.append(event);
        }
        self.added();
        Ok(())
    }

    /// Appends an event that is there already, whatever waits. True: no more should be asked for.
    pub fn append(&self, event: Event) -> bool {
        let full = {
            let mut queue = self.lock();
            queue.append(event);
            queue.bytes > self.max_bytes
        };
        self.added();
        full
    }

    fn added(&self) {
        self.metrics.events_received.inc();
        self.ready.notify_one();
    }

    /// Waits until there is room again. For one caller.
    pub async fn has_room(&self) {
        while self.lock().bytes > self.max_bytes {
            self.taken.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps what waits into `batch` (which must be empty), if anything does.
    pub fn try_take(&self, batch: &mut VecDeque<Event>) -> bool {
        let mut queue = self.lock();
        if queue.events.is_empty() {
            return false;
        }
        std::mem::swap(&mut queue.events, batch);
        self.metrics
            .ingress_bytes
            .set(i64::try_from(queue.bytes).unwrap_or(i64::MAX));
        queue.bytes = 0;
        queue.rests = false;
        self.taken.notify_one();
        true
    }

    /// Waits for a moment at which everything that came has been routed.
    pub async fn settled(&self) {
        loop {
            let rested = self.rested.notified();
            {
                let queue = self.lock();
                if queue.rests && queue.events.is_empty() {
                    return;
                }
            }
            rested.await;
        }
    }

    /// Swaps everything that waits into `batch` (which must be empty); waits until there is
    /// something. For one caller, which has routed what it took before.
    pub async fn take(&self, batch: &mut VecDeque<Event>) {
        while !self.try_take(batch) {
            self.lock().rests = true;
            self.rested.notify_waiters();
            self.metrics.ingress_bytes.set(0);
            self.ready.notified().await;
        }
    }
}

impl Queue {
    fn append(&mut self, event: Event) {
        self.bytes += cost(&event);
        self.events.push_back(event);
    }
}

fn cost(event: &Event) -> usize {
    event.body.len() + event.routing_key.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::Instant;

    fn event(body: &str) -> Event {
        Event {
            exchange: "x".into(),
            routing_key: "k".into(),
            body: body.into(),
            received: Instant::now(),
        }
    }

    #[tokio::test]
    async fn settled_when_all_is_routed() {
        let ingress = Ingress::new(1000, Arc::default());
        ingress.push(event("1")).expect("room");
        let mut batch = VecDeque::new();
        ingress.take(&mut batch).await;
        assert!(ingress.settled().now_or_never().is_none(), "only taken");
        assert!(ingress.take(&mut batch).now_or_never().is_none(), "empty");
        assert!(ingress.settled().now_or_never().is_some());
        ingress.push(event("2")).expect("room");
        assert!(ingress.settled().now_or_never().is_none(), "another");
    }

    #[tokio::test]
    async fn keeps_order_and_bound() {
        let ingress = Ingress::new(3 * (OVERHEAD + 2), Arc::default());
        for body in ["1", "2", "3"] {
            ingress.push(event(body)).expect("room");
        }
        assert!(ingress.push(event("4")).is_err());
        assert!(ingress.append(event("4")), "taken, but no more");
        let mut batch = VecDeque::new();
        ingress.take(&mut batch).await;
        let bodies: Vec<_> = batch.drain(..).map(|event| event.body).collect();
        assert_eq!(bodies, ["1", "2", "3", "4"]);
        ingress.has_room().await;
        ingress.push(event("5")).expect("room again");
    }
}
