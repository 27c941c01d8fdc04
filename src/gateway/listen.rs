//! Ports: accepts connections and starts a task for each. TLS and the websocket handshake happen in
//! the connection's task, never in the accept loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
#[cfg(target_os = "linux")]
use socket2::SockRef;
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
/// Bytes that the kernel takes before the network does: the rest waits here, where it is bounded and
/// seen. The kernel alone would take up to 4 MiB for a client that does not read.
#[cfg(target_os = "linux")]
const MOST_UNSENT: u32 = 256 * 1024;
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
                let task = enter(
                    stream,
                    peer,
                    transport.clone(),
                    shared.clone(),
                    tasks.clone(),
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

/// The handshake; the socket has a task of its own, which keeps no room for it.
async fn enter(
    stream: TcpStream,
    peer: SocketAddr,
    transport: Transport,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    // Frames are gathered by us; the kernel shall not wait for more.
    let _ = stream.set_nodelay(true);
    // Where it is not supported, a slow reader is noticed later.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(MOST_UNSENT);
    let visitor = Visitor {
        place: shared.registry.addresses.count(peer.ip()),
        deadline: Instant::now() + shared.settings.handshake_timeout,
        shared,
        stop,
    };
    let transport_name = transport.name();
    match visitor.shake_hands(transport, stream).await {
        Ok((stream, read)) => {
            let Visitor { shared, place, .. } = visitor;
            let counted = Counted::up(shared.metrics.sockets(transport_name));
            shared.metrics.accepted.inc();
            tracing::debug!("socket opened");
            let socket = connection::serve(stream, read, peer, shared, (place, counted));
            tasks.spawn(socket.in_current_span());
        }
        Err(reason) => {
            tracing::debug!(reason, "handshake refused");
            let metrics = &visitor.shared.metrics;
            metrics.handshake_refused(reason);
            if reason == Refusal::TooManySockets.label() {
                metrics.limit_reached("sockets_of_address");
            }
        }
    }
}

/// A connection that is not a socket yet.
struct Visitor {
    /// Counts the address until the end.
    place: Place,
    /// For TLS and the websocket handshake together.
    deadline: Instant,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Visitor {
    /// TLS and the websocket handshake. Also the bytes that came after it already; `Err`: why there is
    /// no socket.
    async fn shake_hands(
        &self,
        transport: Transport,
        stream: TcpStream,
    ) -> Result<(Stream, BytesMut), &'static str> {
        match transport {
            Transport::Plain => self.upgrade(stream).await,
            Transport::Tls(config) => {
                let accepting = TlsAcceptor::from(config).accept(stream);
                let stream = self.in_time(accepting, "tls").await?;
                self.upgrade(stream).await
            }
        }
    }

    async fn upgrade<S>(&self, mut stream: S) -> Result<(Stream, BytesMut), &'static str>
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
        Ok((stream.into(), read))
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
pub(super) struct Counted(Gauge);

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
