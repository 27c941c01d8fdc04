//! Serves HTTP connections, bounded in number and in time: whoever sends half a request is cut.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::pipeline::Service;
use crate::gateway::Addresses;

/// Connections at a time; more wait in the port's queue.
const MOST: usize = 1024;
/// Connections of one client at a time; more are closed at once.
const MOST_OF_ONE: usize = 256;
/// How long a connection is kept, whatever happens on it.
const LIFE: Duration = Duration::from_secs(120);
/// For the head of a request, also of the next on the same connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an error of accept itself, such as too many open files.
const RECOVER: Duration = Duration::from_millis(500);

/// Serves for as long as the process lives.
pub async fn serve(listener: TcpListener, service: Service) {
    let service = Arc::new(service);
    let permits = Arc::new(Semaphore::new(MOST));
    let addresses = Arc::new(Addresses::default());
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!(%error, "no HTTP connection can be accepted; trying again");
                sleep(RECOVER).await;
                continue;
            }
        };
        let place = addresses.count(peer.ip());
        if place.open > MOST_OF_ONE {
            tracing::debug!(%peer, "too many HTTP connections of one address");
            continue;
        }
        let service = service.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let service = service.clone();
                async move { Ok::<_, Infallible>(service.answer(peer, request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), answer);
            let mut connection = pin!(connection);
            if timeout(LIFE, connection.as_mut()).await.is_err() {
                // A client that asks and never reads must not hold its place for ever.
                connection.as_mut().graceful_shutdown();
                let _ = timeout(HEAD_TIMEOUT, connection).await;
            }
            drop((permit, place));
        });
    }
}
