//! Serves HTTP connections, bounded in number and in time: whoever sends half a request is cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower_service::Service;

/// Connections at a time; more wait in the port's queue.
const MOST: usize = 1024;
/// For the head of a request, also of the next on the same connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an error of accept itself, such as too many open files.
const RECOVER: Duration = Duration::from_millis(500);

/// Serves for as long as the process lives.
pub async fn serve(listener: TcpListener, router: Router) {
    let permits = Arc::new(Semaphore::new(MOST));
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
        let router = router.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |mut request: Request<Incoming>| {
                request
                    .extensions_mut()
                    .insert(ConnectInfo::<SocketAddr>(peer));
                router.clone().call(request)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "HTTP connection ended");
            }
            drop(permit);
        });
    }
}
