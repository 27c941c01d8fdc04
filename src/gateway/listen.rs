//! Ports: accepts connections and starts a task for each. TLS and the websocket handshake happen in
//! the connection's task, never in the accept loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::addresses::Place;
use super::connection::{self, Shared};
use super::handshake::{self, Gate, Refusal};
use super::wire::Stream;

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
    let visitor = Visitor {
        peer,
        transport: transport.name(),
        place: shared.registry.addresses.count(peer.ip()),
        deadline: Instant::now() + shared.settings.handshake_timeout,
        shared,
        stop,
    };
    let refused = match transport {
        Transport::Plain => visitor.enter(stream).await,
        // Boxed, or the task of every plain socket would be as large as one with TLS.
        Transport::Tls(config) => Box::pin(visitor.enter_tls(config, stream)).await,
    };
    if let Err(reason) = refused {
        tracing::debug!(reason, "handshake refused");
        visitor.shared.metrics.handshake_refused(reason);
    }
}

/// A connection that is not a socket yet.
struct Visitor {
    peer: SocketAddr,
    transport: &'static str,
    /// Counts the address until the end.
    place: Place,
    /// For TLS and the websocket handshake together.
    deadline: Instant,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Visitor {
    async fn enter_tls(
        &self,
        config: Arc<ServerConfig>,
        stream: TcpStream,
    ) -> Result<(), &'static str> {
        let accepting = TlsAcceptor::from(config).accept(stream);
        let stream = self.in_time(accepting, "tls").await?;
        self.enter(stream).await
    }

    /// The websocket handshake, then the socket's whole life. `Err`: why there was none.
    async fn enter<S>(&self, mut stream: S) -> Result<(), &'static str>
    where
        S: AsyncRead + AsyncWrite + Unpin + Into<Stream>,
    {
        let gate = Gate {
            origins: &self.shared.settings.origins,
            full: self.place.open > self.shared.settings.max_per_address,
        };
        let accepting = handshake::accept(&mut stream, &gate);
        let read = self.in_time(accepting, "hung_up").await?;
        let read = read.map_err(Refusal::label)?;
        let metrics = &self.shared.metrics;
        let _open = Counted::up(metrics.sockets(self.transport));
        metrics.accepted.inc();
        tracing::debug!("socket opened");
        let reason = connection::serve(stream.into(), read, self.peer, self.shared.clone()).await;
        metrics.socket_closed(reason.label());
        tracing::debug!(reason = reason.label(), "socket closed");
        Ok(())
    }

    /// A part of the handshake, within the time for all of it. Who has no socket yet when the gateway
    /// stops is not part of the drain.
    async fn in_time<T>(
        &self,
        part: impl Future<Output = io::Result<T>>,
        failed: &'static str,
    ) -> Result<T, &'static str> {
        tokio::select! {
            done = timeout_at(self.deadline, part) => match done {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(_)) => Err(failed),
                Err(_) => Err("timeout"),
            },
            () = self.stop.cancelled() => Err("stopping"),
        }
    }
}

/// A gauge that goes down again on every path.
struct Counted(Gauge);

impl Counted {
    fn up(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
