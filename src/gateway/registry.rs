//! Who is connected: every socket with its binding table, in a concurrent map.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use dashmap::DashMap;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::addresses::Addresses;
use super::close::CloseReason;
use super::frame::Frame;
use super::outbox::{Outbox, Pushed, Written};
use super::room::Room;
use super::wire::try_write;
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
    /// A plain socket's stream, which whoever has frames writes to; one with TLS is its task's.
    pub(super) stream: Option<TcpStream>,
    sent: AtomicU64,
    room: Arc<Room>,
    listing: Mutex<Listing>,
    end: OnceLock<CloseReason>,
    /// Calls the socket's task: it has to go, or to write.
    call: Notify,
}

impl Handle {
    pub(super) fn new(
        id: SessionId,
        source: SocketAddr,
        opened: u64,
        stream: Option<TcpStream>,
        room: Arc<Room>,
    ) -> Self {
        Self {
            id,
            source,
            opened,
            outbox: Outbox::new(room.clone()),
            stream,
            sent: AtomicU64::new(0),
            room,
            listing: Mutex::default(),
            end: OnceLock::new(),
            call: Notify::new(),
        }
    }

    /// Tells the socket's task to close. The first reason counts.
    pub fn close(&self, reason: CloseReason) {
        if self.end.set(reason).is_ok() {
            self.call.notify_one();
        }
    }

    /// Why the socket has to go, if it has to.
    pub(super) fn end(&self) -> Option<&CloseReason> {
        self.end.get()
    }

    /// Waits for a call: the socket has to go, or frames wait that its task must write.
    pub(super) async fn called(&self) {
        self.call.notified().await;
    }

    /// Who it is, its bindings, name and metadata as of now, looked at in place. `look` must be quick.
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

    /// Queues a frame that is no event, and sends it as soon as that can be.
    pub(super) fn send(&self, frame: Frame) {
        if self.push(&frame) {
            self.write();
        }
    }

    /// Sends a frame whose reader may count on what `before` does, although events that come of it
    /// must not overtake the frame. Only for the socket's task.
    pub(super) fn send_with(&self, frame: &Frame, before: impl FnOnce()) {
        self.outbox.hold();
        self.push(frame);
        before();
        self.outbox.release();
        // Also what others came to write meanwhile, in vain.
        self.write();
    }

    /// True when the frame waits for [`Handle::write`]. A socket for which too much waits is closed
    /// with 1008, never silently skipped.
    fn push(&self, frame: &Frame) -> bool {
        match self.outbox.push(frame.clone()) {
            Pushed::First => true,
            Pushed::Behind | Pushed::Closed => false,
            Pushed::Full(bytes) => {
                self.cut(CloseReason::SlowConsumer(bytes));
                // Nobody takes it now: it is counted with what waited.
                self.outbox.push(frame.clone());
                false
            }
        }
    }

    /// Closes at once, whatever waits: it is given up now, and not when the socket's task gets to it.
    pub(super) fn cut(&self, reason: CloseReason) {
        let last = reason.frame().map(|close| Frame::close(Some(close)));
        self.outbox.close(false, last);
        self.close(reason);
    }

    /// Writes what waits for a plain socket, unless its task is at it; one with TLS calls its task.
    /// Never waits.
    pub(super) fn write(&self) {
        let Some(stream) = &self.stream else {
            return self.call.notify_one();
        };
        match self.outbox.write(false, |slices| try_write(stream, slices)) {
            Ok(written) => {
                self.wrote(&written);
                if written.stuck {
                    self.call.notify_one();
                }
            }
            Err(_) => self.close(CloseReason::Client),
        }
    }

    pub(super) fn wrote(&self, written: &Written) {
        if let Some(oldest) = written.oldest {
            self.sent.fetch_add(written.events, Ordering::Relaxed);
            self.room.metrics.written(written.events, oldest.elapsed());
        }
    }
}

impl Member for Arc<Handle> {
    fn session(&self) -> &SessionId {
        &self.id
    }
}

impl Receiver for Arc<Handle> {
    type Frame = Frame;

    fn frame(text: String, received: Instant) -> Frame {
        Frame::event(text, received)
    }

    fn offer(&self, frame: &Frame) -> bool {
        self.push(frame)
    }

    fn flush(&self) {
        self.write();
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

    fn room() -> Arc<Room> {
        Arc::new(Room::new(1 << 20, 1 << 20, Arc::default()))
    }

    #[tokio::test]
    async fn what_a_frame_promises_is_done_before_it_can_be_read() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (client, (stream, source)) = (client.expect("connects"), accepted.expect("accepts"));
        let id = SessionId::new("held");
        let handle = Arc::new(Handle::new(id, source, 0, Some(stream), room()));
        let (reply, event) = (
            Frame::from("reply".to_owned()),
            Frame::event("event".to_owned(), Instant::now()),
        );
        // Pushed, and its writer comes while nothing may go out.
        assert!(handle.offer(&event));
        handle.send_with(&reply, || {
            handle.offer(&event);
            handle.flush();
            handle.send(reply.clone());
            let nothing = client.try_read(&mut [0; 9]);
            assert!(nothing.is_err(), "{nothing:?} is read already");
        });
        let expected = [&event, &reply, &event, &reply]
            .map(|frame| frame.as_slice())
            .concat();
        let mut read = vec![0; expected.len()];
        client.readable().await.expect("readable");
        assert_eq!(client.try_read(&mut read).expect("bytes"), expected.len());
        assert_eq!(read, expected);
    }

    #[test]
    fn who_comes_during_a_stop_is_closed_for_the_same_reason() {
        let registry = Registry::default();
        let socket = |id: &str| {
            let source = SocketAddr::from(([127, 0, 0, 1], 1));
            let id = SessionId::new(id);
            Arc::new(Handle::new(id, source, 0, None, room()))
        };
        registry.add(socket("early"));
        assert_eq!(registry.start_closing(&CloseReason::Restart).len(), 1);
        let late = socket("late");
        registry.add(late.clone());
        assert_eq!(late.end(), Some(&CloseReason::Restart));
    }
}
