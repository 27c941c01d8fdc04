//! Who has seen which event.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};

/// What all publishers and sockets share: the events that are under way.
#[derive(Debug)]
pub(crate) struct Board {
    began: Instant,
    sockets: u32,
    events: Vec<Progress>,
    /// A permit is an event that may go under way.
    window: Semaphore,
    done: AtomicUsize,
    finished: Notify,
}

/// Of one event. Times are nanoseconds since the board's beginning.
#[derive(Debug)]
struct Progress {
    missing: AtomicU32,
    sent: AtomicU64,
    latency: AtomicU64,
}

impl Board {
    pub(crate) fn new(sockets: u32, events: usize, window: usize) -> Self {
        let progress = || Progress {
            missing: AtomicU32::new(sockets),
            sent: AtomicU64::new(0),
            latency: AtomicU64::new(0),
        };
        Self {
            began: Instant::now(),
            sockets,
            events: std::iter::repeat_with(progress).take(events).collect(),
            window: Semaphore::new(window),
            done: AtomicUsize::new(0),
            finished: Notify::new(),
        }
    }

    pub(crate) fn events(&self) -> usize {
        self.events.len()
    }

    /// Waits until one more event may go under way, and notes that this one does.
    pub(crate) async fn begin(&self, event: usize) {
        if self.sockets > 0 {
            // It is never closed; the permit comes back when the last socket has the event.
            if let Ok(permit) = self.window.acquire().await {
                permit.forget();
            }
        }
        self.events[event].sent.store(self.now(), Ordering::Release);
    }

    /// A socket has this event, for the first time.
    fn seen(&self, event: usize) {
        let progress = &self.events[event];
        if progress.missing.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let latency = self.now() - progress.sent.load(Ordering::Acquire);
        progress.latency.store(latency, Ordering::Relaxed);
        self.window.add_permits(1);
        if self.done.fetch_add(1, Ordering::AcqRel) + 1 == self.events.len() {
            self.finished.notify_one();
        }
    }

    /// How many events all sockets have.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::Acquire)
    }

    /// Waits until all sockets have all events.
    pub(crate) async fn finished(&self) {
        self.finished.notified().await;
    }

    /// Publish to last socket, of the events that all sockets have; sorted.
    pub(crate) fn latencies(&self) -> Vec<Duration> {
        let done = self
            .events
            .iter()
            .filter(|event| event.missing.load(Ordering::Acquire) == 0);
        let mut latencies: Vec<_> = done
            .map(|event| Duration::from_nanos(event.latency.load(Ordering::Relaxed)))
            .collect();
        latencies.sort_unstable();
        latencies
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What one socket got.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// A bit an event.
    seen: Vec<u64>,
    /// The next event of each publisher that would not be too late.
    next: Vec<usize>,
    pub(crate) distinct: u64,
    pub(crate) doubled: u64,
    pub(crate) disordered: u64,
    /// Messages that are no events of this measurement.
    pub(crate) foreign: u64,
    pub(crate) bytes: u64,
    /// Depends on all events and their order.
    pub(crate) order: u64,
    /// How the socket ended, if it did.
    pub(crate) ended: Option<String>,
}

impl Tally {
    /// Publisher `p` of `publishers` sends the events `p`, `p + publishers` and so on, in this order.
    pub(crate) fn new(events: usize, publishers: usize) -> Self {
        Self {
            seen: vec![0; events.div_ceil(64)],
            next: vec![0; publishers],
            distinct: 0,
            doubled: 0,
            disordered: 0,
            foreign: 0,
            bytes: 0,
            order: 0,
            ended: None,
        }
    }

    /// A message came, with this event in it.
    pub(crate) fn message(&mut self, event: Option<usize>, bytes: usize, board: &Board) {
        self.bytes += bytes as u64;
        let Some(event) = event.filter(|event| *event < board.events()) else {
            self.foreign += 1;
            return;
        };
        let (word, bit) = (&mut self.seen[event / 64], 1 << (event % 64));
        if *word & bit != 0 {
            self.doubled += 1;
            return;
        }
        *word |= bit;
        self.distinct += 1;
        let publisher = event % self.next.len();
        let next = &mut self.next[publisher];
        if event < *next {
            self.disordered += 1;
        }
        *next = (*next).max(event + 1);
        self.order = (self.order ^ event as u64).wrapping_mul(0x0100_0000_01B3);
        board.seen(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_goes_wrong() {
        let board = Board::new(1, 6, 6);
        let mut tally = Tally::new(6, 2);
        // Publisher 0 sends 0, 2, 4; publisher 1 sends 1, 3, 5.
        for event in [0, 1, 3, 2, 2, 5, 0] {
            tally.message(Some(event), 10, &board);
        }
        tally.message(None, 10, &board);
        tally.message(Some(6), 10, &board);
        assert_eq!((tally.distinct, tally.doubled, tally.foreign), (5, 2, 2));
        assert_eq!((tally.disordered, tally.bytes, board.done()), (0, 90, 5));
        let mut late = Tally::new(6, 2);
        for event in [2, 0, 4] {
            late.message(Some(event), 10, &Board::new(1, 6, 6));
        }
        assert_eq!(late.disordered, 1);
    }
}
