//! How many bytes may wait for sockets: for each, and for all together.
//!
//! A frame that the kernel takes at once is nobody's debt. What it refuses is, until it goes out or is
//! thrown away: a socket's debt is bounded by `each`, that of all by `all`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::telemetry::Metrics;

/// Shared by all outboxes.
#[derive(Debug)]
pub struct Room {
    /// Bytes that may wait for one socket.
    pub(super) each: usize,
    /// Bytes that may wait for all sockets.
    all: usize,
    debt: AtomicUsize,
    /// Sockets for which too much waits because nobody has come to write it.
    late: AtomicUsize,
    /// Debts went beyond what all may have.
    exceeded: Notify,
    /// They are within it again, or nobody is late any more.
    relieved: Notify,
    pub(super) metrics: Arc<Metrics>,
}

impl Room {
    /// Room for so many bytes a socket, and so many in all.
    pub fn new(each: usize, all: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            each,
            all,
            debt: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
            exceeded: Notify::new(),
            relieved: Notify::new(),
            metrics,
        }
    }

    /// A socket's debt changes. From nothing, or to nothing, it enters or leaves the debtors.
    pub(super) fn change(&self, before: usize, now: usize) {
        if before == now {
            return;
        }
        if before == 0 {
            self.metrics.sockets_waiting.inc();
        } else if now == 0 {
            self.metrics.sockets_waiting.dec();
        }
        let (old, new) = if now > before {
            self.metrics.waits(now);
            let more = now - before;
            self.metrics.waiting_bytes.inc_by(gauge(more));
            let old = self.debt.fetch_add(more, Ordering::Relaxed);
            (old, old + more)
        } else {
            let less = before - now;
            self.metrics.waiting_bytes.dec_by(gauge(less));
            let old = self.debt.fetch_sub(less, Ordering::Relaxed);
            (old, old - less)
        };
        if old <= self.all && new > self.all {
            self.exceeded.notify_one();
        } else if old > self.all && new <= self.all {
            self.relieved.notify_waiters();
        }
    }

    /// A socket is late, or no more: its task needs a turn.
    pub(super) fn late(&self, late: bool) {
        if late {
            self.late.fetch_add(1, Ordering::Relaxed);
        } else if self.late.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.relieved.notify_waiters();
        }
    }

    /// Bytes that wait for all sockets.
    pub fn debt(&self) -> usize {
        self.debt.load(Ordering::Relaxed)
    }

    /// How much of the debts must go, if they are beyond what all may have: down to nine tenths, so
    /// that relief lasts.
    pub(super) fn excess(&self) -> Option<usize> {
        let debt = self.debt();
        (debt > self.all).then(|| debt - self.all / 10 * 9)
    }

    /// Waits until debts go beyond what all may have.
    pub(super) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    /// Whether debts are within what all may have, and no socket is late.
    pub fn is_within(&self) -> bool {
        self.debt() <= self.all && self.late.load(Ordering::Relaxed) == 0
    }

    /// Waits while debts are beyond what all may have, or a socket is late: then the gateway as a whole
    /// is behind. At most times this is at once.
    pub async fn within(&self) {
        loop {
            let relieved = self.relieved.notified();
            if self.is_within() {
                return;
            }
            relieved.await;
        }
    }
}

fn gauge(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use tokio::time::timeout;

    #[tokio::test]
    async fn tells_when_it_is_exceeded_and_relieved() {
        let room = Room::new(100, 1000, Arc::default());
        room.change(0, 600);
        room.change(0, 400);
        assert_eq!((room.debt(), room.excess()), (1000, None));
        room.within().await;
        room.change(400, 401);
        assert_eq!(room.excess(), Some(101));
        timeout(Duration::from_secs(5), room.exceeded())
            .await
            .expect("told");
        let soon = Duration::from_millis(1);
        assert!(timeout(soon, room.within()).await.is_err(), "not within");
        let (_, waited) = tokio::join!(
            async { room.change(600, 0) },
            timeout(Duration::from_secs(5), room.within())
        );
        waited.expect("relieved");
        assert_eq!(room.metrics.sockets_waiting.get(), 1);
    }
}
