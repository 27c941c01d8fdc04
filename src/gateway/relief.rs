//! When more bytes wait for all sockets than may, those with most have to go.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::close::CloseReason;
use super::connection::Shared;
use super::registry::Handle;

/// Until another look, where the first closes were not enough: debts may have grown meanwhile.
const AGAIN: Duration = Duration::from_millis(10);

/// Keeps the debts of all sockets within their bound, for as long as the program runs.
pub async fn keep_within(shared: Arc<Shared>) {
    loop {
        shared.room.exceeded().await;
        // Whoever waits for relief goes on only when it has come.
        while let Some(excess) = shared.room.excess() {
            let closed = relieve(shared.registry.all(), excess);
            if closed > 0 {
                tracing::warn!(
                    closed,
                    bytes = excess,
                    "too much waited for all sockets: those with most were closed"
                );
            }
            sleep(AGAIN).await;
        }
    }
}

/// Closes the largest debtors until this many bytes are gone; gives how many had to go.
fn relieve(sockets: Vec<Arc<Handle>>, mut excess: usize) -> usize {
    let mut debtors: Vec<(usize, Arc<Handle>)> = sockets
        .into_iter()
        .map(|handle| (handle.outbox.debt(), handle))
        .filter(|(debt, handle)| *debt > 0 && handle.end().is_none())
        .collect();
    debtors.sort_unstable_by_key(|(debt, _)| Reverse(*debt));
    let mut closed = 0;
    for (debt, handle) in debtors {
        if excess == 0 {
            break;
        }
        handle.cut(CloseReason::OverBudget(debt));
        excess = excess.saturating_sub(debt);
        closed += 1;
    }
    closed
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use super::*;
    use crate::fanout::Receiver;
    use crate::gateway::frame::Frame;
    use crate::gateway::room::Room;
    use crate::model::SessionId;
    use tokio::net::{TcpListener, TcpStream};

    /// A socket whose peer never reads, with this many frames of 64 KiB waiting.
    async fn debtor(
        listener: &TcpListener,
        room: &Arc<Room>,
        frames: usize,
    ) -> (Arc<Handle>, TcpStream) {
        let address = listener.local_addr().expect("an address");
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, _) = accepted.expect("accepts");
        let source = SocketAddr::from(([127, 0, 0, 1], 1));
        let id = SessionId::new(&frames.to_string());
        let handle = Arc::new(Handle::new(id, source, 0, Some(stream), room.clone()));
        let frame = Frame::event("x".repeat(64 * 1024), Instant::now());
        while handle.outbox.debt() == 0 {
            handle.offer(&frame);
            handle.flush();
        }
        for _ in 1..frames {
            handle.offer(&frame);
        }
        (handle, peer.expect("connects"))
    }

    #[tokio::test]
    async fn those_with_most_go_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let room = Arc::new(Room::new(16 << 20, 16 << 20, Arc::default()));
        let mut sockets = Vec::new();
        for frames in [2, 40, 4, 20] {
            sockets.push(debtor(&listener, &room, frames).await);
        }
        let handles: Vec<_> = sockets.iter().map(|(handle, _)| handle.clone()).collect();
        let before = room.debt();
        let sum: usize = handles.iter().map(|handle| handle.outbox.debt()).sum();
        assert_eq!(before, sum);
        assert_eq!(relieve(handles.clone(), 45 * 64 * 1024), 2);
        let closed: Vec<bool> = handles
            .iter()
            .map(|handle| handle.end().is_some())
            .collect();
        assert_eq!(closed, [false, true, false, true]);
        assert!(
            room.debt() < before / 4,
            "freed at once: {} of {before}",
            room.debt()
        );
    }
}
