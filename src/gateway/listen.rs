//! Ports: accepts connections and starts a task for each. TLS and the websocket handshake happen in
//! the connection's task, never in the accept loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::connection::{self, Shared};
use super::handshake::{self, Gate};
use super::registry::AddressGuard;

const BACKLOG: u32 = 4096;
/// Pause after an error of accept itself, such as too many open files.
const RECOVER: Duration = Duration::from_millis(500);

/// What a port speaks below the websocket.
#[derive(Clone)]
pub enum Transport {
    /// Plain TCP.
    Plain,
    /// TLS.
    Tls(Arc<ServerConfig>),
}

impl Transport {
    fn name(&self) -> &'static str {
        match self {
            Self::Plain => "ws",
            Self::Tls(_) => "wss",
        }
    }
}

/// Opens a port; a socket of an earlier process in TIME_WAIT does not hinder.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until `stop`; then closes the port. Connections live on in `tasks`.
pub async fn serve(
    listener: TcpListener,
    transport: Transport,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let span = tracing::debug_span!("socket", %peer, transport = transport.name());
                let task = serve_one(
                    stream,
                    peer,
                    transport.clone(),
                    shared.clone(),
                    stop.clone(),
                );
                tasks.spawn(task.instrument(span));
            }
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted; trying again");
                sleep(RECOVER).await;
            }
        }
    }
}

async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    transport: Transport,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    // Frames are gathered by us; the kernel shall not wait for more.
    let _ = stream.set_nodelay(true);
    let guard = shared.registry.count(peer.ip());
    match &transport {
        Transport::Plain => open(stream, peer, &transport, shared, guard, stop).await,
        Transport::Tls(config) => {
            let limit = shared.settings.handshake_timeout;
            let acceptor = TlsAcceptor::from(config.clone());
            match timeout(limit, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => open(stream, peer, &transport, shared, guard, stop).await,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "TLS handshake failed");
                    shared.metrics.handshake_refused("tls");
                }
                Err(_) => shared.metrics.handshake_refused("timeout"),
            }
        }
    }
}

/// The websocket handshake, then the socket's life. `_guard` counts the address until the end.
async fn open<S>(
    mut stream: S,
    peer: SocketAddr,
    transport: &Transport,
    shared: Arc<Shared>,
    guard: AddressGuard,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let gate = Gate {
        origins: &shared.settings.origins,
        full: guard.open > shared.settings.max_per_address,
    };
    let limit = shared.settings.handshake_timeout;
    let accepted = tokio::select! {
        accepted = timeout(limit, handshake::accept(&mut stream, &gate)) => accepted,
        // Who has no socket yet is not part of the drain.
        () = stop.cancelled() => return,
    };
    let read = match accepted {
        Ok(Ok(Ok(read))) => read,
        Ok(Ok(Err(refusal))) => {
            tracing::debug!(reason = refusal.label(), "handshake refused");
            return shared.metrics.handshake_refused(refusal.label());
        }
        Ok(Err(_)) => return shared.metrics.handshake_refused("hung_up"),
        Err(_) => return shared.metrics.handshake_refused("timeout"),
    };
    let open = shared.metrics.sockets(transport.name());
    open.inc();
    shared.metrics.accepted.inc();
    tracing::debug!("socket opened");
    let reason = connection::serve(stream, read, peer, shared.clone()).await;
    open.dec();
    shared.metrics.socket_closed(reason.label());
    tracing::debug!(reason = reason.label(), "socket closed");
}
