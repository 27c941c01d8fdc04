//! What goes out to sockets: complete websocket frames (RFC 6455, 5.2), made once and shared. A
//! server's frames are not masked, so the same bytes serve every socket.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as Built;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// A frame ready to be written. Cheap to clone, and small: a queue is made of these.
#[derive(Debug, Clone)]
pub struct Frame(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: Vec<u8>,
    received: Option<Instant>,
}

impl Frame {
    pub(super) fn ping() -> Self {
        Self::built(Built::ping(Bytes::new()), None)
    }

    pub(super) fn pong(payload: Bytes) -> Self {
        Self::built(Built::pong(payload), None)
    }

    pub(super) fn close(reason: Option<CloseFrame>) -> Self {
        Self::built(Built::close(reason), None)
    }

    /// A text message in one frame, with an event that the source got at `received`.
    pub fn event(text: String, received: Instant) -> Self {
        Self::text(text, Some(received))
    }

    fn text(text: String, received: Option<Instant>) -> Self {
        let opcode = OpCode::Data(Data::Text);
        Self::built(Built::message(text, opcode, true), received)
    }

    fn built(frame: Built, received: Option<Instant>) -> Self {
        let mut bytes = Vec::with_capacity(frame.len());
        // Writing to memory does not fail.
        let _ = frame.format(&mut bytes);
        Self(Arc::new(Shared { bytes, received }))
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0.bytes
    }

    /// When the source got the event; `None` for everything else.
    pub(super) fn received(&self) -> Option<Instant> {
        self.0.received
    }

    /// Bytes on the wire.
    pub(super) fn len(&self) -> usize {
        self.0.bytes.len()
    }
}

/// A text message in one frame, and no event.
impl From<String> for Frame {
    fn from(text: String) -> Self {
        Self::text(text, None)
    }
}
