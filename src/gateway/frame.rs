//! What goes out to sockets: complete websocket frames (RFC 6455, 5.2), made once and shared. A
//! server's frames are not masked, so the same bytes serve every socket.

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as Built;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// A frame ready to be written. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    pub(super) fn ping() -> Self {
        Self::built(Built::ping(Bytes::new()))
    }

    pub(super) fn pong(payload: Bytes) -> Self {
        Self::built(Built::pong(payload))
    }

    pub(super) fn close(reason: Option<CloseFrame>) -> Self {
        Self::built(Built::close(reason))
    }

    fn built(frame: Built) -> Self {
        let mut bytes = Vec::with_capacity(frame.len());
        // Writing to memory does not fail.
        let _ = frame.format(&mut bytes);
        Self(bytes.into())
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Bytes on the wire.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A text message in one frame.
impl From<String> for Frame {
    fn from(text: String) -> Self {
        Self::built(Built::message(text, OpCode::Data(Data::Text), true))
    }
}
