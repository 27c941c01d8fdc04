//! What waits to be written to one socket, bounded in bytes. Offering never waits; the socket's task
//! swaps everything out at once, so that all of it leaves in few writes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Counted for each frame beyond its text.
const OVERHEAD: usize = 64;

/// A frame that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) text: Utf8Bytes,
    /// When the source got the event; `None` for replies.
    pub(super) received: Option<Instant>,
}

/// The queue of one socket.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    ready: Notify,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Waiting>,
    bytes: usize,
    closed: bool,
    /// Event frames thrown away.
    lost: u64,
}

impl Outbox {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            queue: Mutex::default(),
            ready: Notify::new(),
            max_bytes,
        }
    }

    /// Appends a frame. `Err` tells how many bytes would wait: the queue is closed and emptied, and
    /// the socket has to go.
    pub(super) fn push(&self, text: Utf8Bytes, received: Option<Instant>) -> Result<(), usize> {
        let cost = text.len() + OVERHEAD;
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.closed {
                queue.lost += u64::from(received.is_some());
                return Ok(());
            }
            let bytes = queue.bytes + cost;
            // A single frame always fits: whoever reads at all can be sent the largest event.
            if bytes > self.max_bytes && queue.bytes > 0 {
                let waiting = queue.frames.iter().map(|frame| frame.received);
                let events = waiting.chain([received]).flatten().count();
                *queue = Queue {
                    closed: true,
                    lost: u64::try_from(events).unwrap_or(u64::MAX),
                    ..Queue::default()
                };
                return Err(bytes);
            }
            queue.bytes = bytes;
            queue.frames.push_back(Waiting { text, received });
            if queue.frames.len() > 1 {
                // The first of them has called the taker already.
                return Ok(());
            }
        }
        self.ready.notify_one();
        Ok(())
    }

    /// Swaps everything that waits into `batch` (which must be empty); waits until there is
    /// something. Nothing is lost when the wait is cancelled.
    pub(super) async fn take(&self, batch: &mut VecDeque<Waiting>) {
        loop {
            {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                if !queue.frames.is_empty() {
                    std::mem::swap(&mut queue.frames, batch);
                    queue.bytes = 0;
                    return;
                }
            }
            self.ready.notified().await;
        }
    }

    /// Appends everything that waits to `batch`, and takes nothing more: what is pushed from now on
    /// is lost, and counted.
    pub(super) fn drain(&self, batch: &mut VecDeque<Waiting>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        batch.append(&mut queue.frames);
        queue.bytes = 0;
        queue.closed = true;
    }

    /// How many event frames were thrown away.
    pub(super) fn lost(&self) -> u64 {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lost
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn in_order_and_bounded() {
        let outbox = Outbox::new(3 * (OVERHEAD + 1));
        for text in ["1", "2", "3"] {
            outbox.push(text.into(), None).expect("room");
        }
        let mut batch = VecDeque::new();
        outbox.take(&mut batch).await;
        let texts: Vec<_> = batch
            .drain(..)
            .map(|waiting| waiting.text.to_string())
            .collect();
        assert_eq!(texts, ["1", "2", "3"]);
        for text in ["4", "5", "6"] {
            outbox.push(text.into(), None).expect("room again");
        }
        assert_eq!(outbox.waiting(), 3 * (OVERHEAD + 1));
        assert_eq!(outbox.push("7".into(), None), Err(4 * (OVERHEAD + 1)));
        assert_eq!(
            outbox.waiting(),
            0,
            "what nobody will read is freed at once"
        );
        assert_eq!(outbox.push("8".into(), None), Ok(()), "and told once");
    }

    #[tokio::test]
    async fn one_large_frame_fits_an_empty_queue() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push("x".repeat(1000).into(), None), Ok(()));
        assert!(outbox.push("y".into(), None).is_err());
    }
}
