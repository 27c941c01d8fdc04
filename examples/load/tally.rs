//! Who has seen which event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;

use crate::script::Script;

/// An event this late has waited for the window, or the publisher was held up: its time counts from
/// when it was due. Less is the timer's own inaccuracy.
const LATE: Duration = Duration::from_millis(2);
/// Longest time that the histogram tells apart.
const LONGEST: Duration = Duration::from_secs(120);

/// What publishers and sockets share: the events that are under way.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) script: Arc<Script>,
    began: Instant,
    events: Vec<Progress>,
    /// A permit is an event that may go under way.
    window: Semaphore,
    done: AtomicUsize,
}

/// Of one event. Times are nanoseconds since the board's beginning.
#[derive(Debug)]
struct Progress {
    audience: u32,
    missing: AtomicU32,
    sent: AtomicU64,
    latency: AtomicU64,
}

impl Board {
    pub(crate) fn new(script: Arc<Script>, window: usize) -> Self {
        let progress = |audience| Progress {
            audience,
            missing: AtomicU32::new(audience),
            sent: AtomicU64::new(0),
            latency: AtomicU64::new(0),
        };
        Self {
            began: Instant::now(),
            events: script.audiences().into_iter().map(progress).collect(),
            script,
            window: Semaphore::new(window),
            done: AtomicUsize::new(0),
        }
    }

    /// Waits until one more event may go under way, and notes that this one does.
    pub(crate) async fn begin(&self, event: usize, due: Option<Instant>) {
        let progress = &self.events[event];
        if progress.audience == 0 {
            self.done.fetch_add(1, Ordering::AcqRel);
            return;
        }
        // It is never closed; the permit comes back when the last socket has the event.
        if let Ok(permit) = self.window.acquire().await {
            permit.forget();
        }
        let now = Instant::now();
        let sent = due.filter(|due| now.saturating_duration_since(*due) > LATE);
        let sent = self.nanoseconds(sent.unwrap_or(now));
        progress.sent.store(sent, Ordering::Release);
    }

    /// A socket has this event, for the first time.
    fn seen(&self, event: usize) {
        let progress = &self.events[event];
        if progress.missing.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let now = self.nanoseconds(Instant::now());
        let latency = now.saturating_sub(progress.sent.load(Ordering::Acquire));
        progress.latency.store(latency, Ordering::Relaxed);
        self.window.add_permits(1);
        self.done.fetch_add(1, Ordering::AcqRel);
    }

    /// How many events everybody has who is to get them.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::Acquire)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.done() >= self.events.len()
    }

    /// Publish to last socket, in microseconds, of the events that everybody has.
    pub(crate) fn latencies(&self) -> anyhow::Result<Histogram<u64>> {
        let longest = u64::try_from(LONGEST.as_micros())?;
        let mut latencies = Histogram::new_with_bounds(1, longest, 3)?;
        for event in &self.events {
            if event.audience > 0 && event.missing.load(Ordering::Acquire) == 0 {
                latencies.saturating_record(event.latency.load(Ordering::Relaxed) / 1000);
            }
        }
        Ok(latencies)
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from((at - self.began).as_nanos()).unwrap_or(u64::MAX)
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
    /// After a later one of the same publisher.
    pub(crate) misordered: u64,
    /// Messages that are no events of this measurement, or not for this socket.
    pub(crate) foreign: u64,
    pub(crate) bytes: u64,
}

impl Tally {
    /// Publisher `p` of `publishers` sends the events `p`, `p + publishers` and so on, in this order.
    pub(crate) fn new(events: usize, publishers: usize) -> Self {
        Self {
            seen: vec![0; events.div_ceil(64)],
            next: vec![0; publishers],
            distinct: 0,
            doubled: 0,
            misordered: 0,
            foreign: 0,
            bytes: 0,
        }
    }

    /// A message came to this socket, with this event in it.
    pub(crate) fn message(
        &mut self,
        seat: usize,
        event: Option<usize>,
        bytes: usize,
        board: &Board,
    ) {
        self.bytes += bytes as u64;
        let expected = |event: &usize| {
            *event < board.script.events.len() && board.script.expects(seat, *event)
        };
        let Some(event) = event.filter(expected) else {
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
            self.misordered += 1;
        }
        *next = (*next).max(event + 1);
        board.seen(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Account;

    fn board(events: usize) -> Board {
        let account = Account {
            id: "a".into(),
            realm: "b".into(),
        };
        Board::new(Arc::new(Script::broadcast(account, 1, events)), events)
    }

    #[test]
    fn counts_what_goes_wrong() {
        let board = board(6);
        let mut tally = Tally::new(6, 2);
        // Publisher 0 sends 0, 2, 4; publisher 1 sends 1, 3, 5.
        for event in [0, 1, 3, 2, 2, 5, 0] {
            tally.message(0, Some(event), 10, &board);
        }
        tally.message(0, None, 10, &board);
        tally.message(0, Some(6), 10, &board);
        assert_eq!((tally.distinct, tally.doubled, tally.foreign), (5, 2, 2));
        assert_eq!((tally.misordered, tally.bytes, board.done()), (0, 90, 5));
    }

    #[test]
    fn order_is_by_publisher() {
        let board = board(6);
        let mut late = Tally::new(6, 2);
        for event in [2, 0, 4] {
            late.message(0, Some(event), 10, &board);
        }
        assert_eq!(late.misordered, 1);
    }
}
