//! Who is connected: every socket with its binding table, in a concurrent map.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use dashmap::DashMap;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::addresses::Addresses;
use super::close::CloseReason;
use super::outbox::Outbox;
use crate::fanout::Receiver;
use crate::index::Member;
use crate::model::SessionId;
use crate::session::Listing;

/// One socket as the rest of the program knows it.
#[derive(Debug)]
pub struct Handle {
    /// Its id, `websocket_session_id`.
    pub id: SessionId,
    /// The client's address.
    pub source: SocketAddr,
    /// Unix seconds.
    pub opened: u64,
    pub(super) outbox: Outbox,
    sent: AtomicU64,
    listing: Mutex<Listing>,
    end: OnceLock<CloseReason>,
    ended: Notify,
}

impl Handle {
    pub(super) fn new(
        id: SessionId,
        source: SocketAddr,
        opened: u64,
        max_waiting_bytes: usize,
    ) -> Self {
        Self {
            id,
            source,
            opened,
            outbox: Outbox::new(max_waiting_bytes),
            sent: AtomicU64::new(0),
            listing: Mutex::default(),
            end: OnceLock::new(),
            ended: Notify::new(),
        }
    }

    /// Tells the socket's task to close. The first reason counts.
    pub fn close(&self, reason: CloseReason) {
        if self.end.set(reason).is_ok() {
            self.ended.notify_one();
        }
    }

    /// Waits for [`Handle::close`].
    pub(super) async fn closed(&self) -> CloseReason {
        loop {
            if let Some(reason) = self.end.get() {
                return reason.clone();
            }
            self.ended.notified().await;
        }
    }

    /// Who it is, its bindings, name and metadata as of now.
    pub fn listing(&self) -> Listing {
        self.with_listing(Listing::clone)
    }

    /// The same, looked at in place. `look` must be quick.
    pub fn with_listing<T>(&self, look: impl FnOnce(&Listing) -> T) -> T {
        look(&self.listing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn relist(&self, listing: Listing) {
        *self.listing.lock().unwrap_or_else(PoisonError::into_inner) = listing;
    }

    /// Event frames written so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Event frames thrown away.
    pub fn lost(&self) -> u64 {
        self.outbox.lost()
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.outbox.waiting()
    }

    pub(super) fn reply(&self, text: String) {
        self.push(text.into(), None);
    }

    fn push(&self, text: Utf8Bytes, received: Option<Instant>) {
        if let Err(bytes) = self.outbox.push(text, received) {
            self.close(CloseReason::SlowConsumer(bytes));
        }
    }

    pub(super) fn count_sent(&self, frames: u64) {
        self.sent.fetch_add(frames, Ordering::Relaxed);
    }
}

impl Member for Arc<Handle> {
    fn session(&self) -> &SessionId {
        &self.id
    }
}

impl Receiver for Arc<Handle> {
    type Frame = Utf8Bytes;

    /// A socket for which too much waits is closed with 1008, never silently skipped.
    fn offer(&self, frame: &Utf8Bytes, received: Instant) {
        self.push(frame.clone(), Some(received));
    }
}

/// All sockets of this node.
#[derive(Debug, Default)]
pub struct Registry {
    sockets: DashMap<SessionId, Arc<Handle>>,
    /// How many each client has.
    pub(super) addresses: Arc<Addresses>,
    /// All sockets are being closed, for this reason.
    closing: OnceLock<CloseReason>,
}

impl Registry {
    /// A socket that comes while all are being closed is closed like the others.
    pub(super) fn add(&self, handle: Arc<Handle>) {
        self.sockets.insert(handle.id.clone(), handle.clone());
        if let Some(reason) = self.closing.get() {
            handle.close(reason.clone());
        }
    }

    /// All sockets, to be closed for this reason. Whoever is not among them, because it is just
    /// being added, closes by itself.
    pub fn start_closing(&self, reason: &CloseReason) -> Vec<Arc<Handle>> {
        // Only the first stop counts.
        let _ = self.closing.set(reason.clone());
        self.all()
    }

    pub(super) fn remove(&self, id: &SessionId) {
        self.sockets.remove(id);
    }

    /// One socket.
    pub fn get(&self, id: &str) -> Option<Arc<Handle>> {
        self.sockets
            .get(&SessionId::new(id))
            .map(|entry| entry.value().clone())
    }

    /// All sockets, in no order.
    pub fn all(&self) -> Vec<Arc<Handle>> {
        self.sockets
            .iter()
            .map(|entry| entry.value().clone())
            .collect()
    }

    /// How many sockets are open.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether no socket is open.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_during_a_stop_is_closed_for_the_same_reason() {
        let registry = Registry::default();
        let socket = |id: &str| {
            let source = SocketAddr::from(([127, 0, 0, 1], 1));
            Arc::new(Handle::new(SessionId::new(id), source, 0, 1024))
        };
        registry.add(socket("early"));
        assert_eq!(registry.start_closing(&CloseReason::Restart).len(), 1);
        let late = socket("late");
        registry.add(late.clone());
        assert_eq!(late.closed().await, CloseReason::Restart);
    }
}
