//! The end of all sockets, spread over a window so that their clients do not all come back to the
//! next node at the same moment.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::TaskTracker;

use crate::gateway::{CloseReason, Registry};

/// Longest pause between two closes: a few sockets are gone in a moment, whatever the window.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// For clients to answer their close.
const GRACE: Duration = Duration::from_secs(5);

/// Closes every socket, evenly over the window at most.
pub(super) async fn close_all(registry: &Registry, reason: &CloseReason, window: Duration) {
    let sockets = registry.start_closing(reason);
    let number = u32::try_from(sockets.len()).unwrap_or(u32::MAX);
    tracing::info!(
        sockets = number,
        window_seconds = window.as_secs_f64(),
        "closing all sockets"
    );
    let pause = window
        .checked_div(number)
        .unwrap_or_default()
        .min(LONGEST_PAUSE);
    let start = Instant::now();
    for (at, socket) in (0u32..).zip(sockets) {
        let due = start + pause.saturating_mul(at);
        // Timers are coarser than the pause between thousands of sockets: those that are due go
        // together, and the window is kept.
        if due > Instant::now() {
            sleep_until(due).await;
        }
        socket.close(reason.clone());
    }
}

/// Waits until every socket's task has ended, or cuts them.
pub(super) async fn wait(tasks: &TaskTracker) {
    tasks.close();
    if timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(
            sockets = tasks.len(),
            "cut sockets that did not answer their close"
        );
    }
}
