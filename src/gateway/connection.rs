//! One socket's task: moves frames between the websocket, the session and the rest of the program.
//! It owns its state; others reach it through its [`Handle`] only.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::close::CloseReason;
use super::outbox::Waiting;
use super::registry::{Handle, Registry};
use crate::auth::Authority;
use crate::catalogue::{Catalogue, Subscription};
use crate::entropy::random_id;
use crate::index::Index;
use crate::model::SessionId;
use crate::model::clock::unix_now;
use crate::session::{Close, Done, Frame, Limits, Outcome, Session, Step, Tick};
use crate::settings::SocketSettings;
use crate::source::Source;
use crate::telemetry::Metrics;

/// Bytes. The library keeps a buffer of each size for every socket and zeroes the one for reading
/// before every read.
const READ_BUFFER: usize = 4 * 1024;
/// Bytes gathered before a write; what waits beyond that leaves in several.
const WRITE_BUFFER: usize = 64 * 1024;
/// How long a client may take to answer a close, and how much it may still send.
const FAREWELL: Duration = Duration::from_secs(2);
const FAREWELL_BYTES: usize = 16 * 1024 * 1024;

/// What all sockets share.
#[derive(Debug)]
pub struct Shared {
    /// Who is connected.
    pub registry: Arc<Registry>,
    /// Who gets what.
    pub index: Arc<Index<Arc<Handle>>>,
    /// What can be asked for.
    pub catalogue: Arc<Catalogue>,
    /// Who may.
    pub authority: Arc<Authority>,
    /// Where events come from.
    pub source: Arc<Source>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Limits of the socket itself.
    pub settings: SocketSettings,
    /// Limits of its session.
    pub limits: Arc<Limits>,
}

/// Serves an open websocket until its end. `read` came after the handshake already.
pub(super) async fn serve<S>(
    stream: S,
    read: BytesMut,
    source: SocketAddr,
    shared: Arc<Shared>,
) -> CloseReason
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let most = shared.settings.max_message_bytes;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(usize::MAX)
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    let socket =
        WebSocketStream::from_partially_read(stream, read.to_vec(), Role::Server, Some(config))
            .await;
    let id = SessionId::new(&random_id());
    let now = Instant::now();
    let waiting = shared.settings.max_waiting_bytes;
    let handle = Arc::new(Handle::new(id.clone(), source, unix_now(), waiting));
    shared.registry.add(handle.clone());
    let session = Session::new(id, shared.catalogue.clone(), shared.limits.clone(), now);
    let mut connection = Connection {
        socket,
        session,
        handle,
        shared,
    };
    let reason = connection.run().await;
    connection.finish(&reason).await;
    reason
}

struct Connection<S> {
    socket: WebSocketStream<S>,
    session: Session,
    handle: Arc<Handle>,
    shared: Arc<Shared>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self) -> CloseReason {
        let handle = self.handle.clone();
        let mut batch = VecDeque::new();
        loop {
            let deadline = self.session.next_deadline().into();
            // Not biased: a socket with much to write must still be read, and must still expire.
            let outcome = tokio::select! {
                reason = handle.closed() => Err(reason),
                () = handle.outbox.take(&mut batch) => self.write(&mut batch).await,
                frame = self.socket.next() => self.read(frame).await,
                () = sleep_until(deadline) => self.tick().await,
            };
            if let Err(reason) = outcome {
                return reason;
            }
        }
    }

    async fn read(&mut self, frame: Option<Result<Message, Error>>) -> Result<(), CloseReason> {
        let now = Instant::now();
        match frame {
            Some(Ok(Message::Text(text))) => self.message(Frame::Text(&text), now).await,
            Some(Ok(Message::Binary(_))) => self.message(Frame::Binary, now).await,
            Some(Ok(Message::Ping(_))) => self.message(Frame::Ping, now).await,
            Some(Ok(Message::Pong(_))) => self.message(Frame::Pong, now).await,
            Some(Ok(Message::Close(_) | Message::Frame(_))) | None => Err(CloseReason::Client),
            Some(Err(error)) => Err(self.broken(error)),
        }
    }

    fn broken(&self, error: Error) -> CloseReason {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                CloseReason::TooLong(self.shared.settings.max_message_bytes)
            }
            Error::Utf8(_) => CloseReason::Utf8,
            Error::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            ) => CloseReason::Client,
            Error::Protocol(error) => CloseReason::Protocol(error.to_string()),
            _ => CloseReason::Client,
        }
    }

    /// One frame through the session. The next is not read before this one is through.
    async fn message(&mut self, frame: Frame<'_>, now: Instant) -> Result<(), CloseReason> {
        let mut step = self.session.on_frame(frame, now);
        loop {
            step = match step {
                Step::Authenticate(token) => {
                    let unix = unix_now();
                    let verdict = self
                        .shared
                        .authority
                        .verify(&token, unix)
                        .map_err(|error| error.to_string());
                    self.session.on_identity(verdict, now, unix)
                }
                Step::Authorise(identity, account) => self
                    .session
                    .on_access(self.shared.authority.subscriber(&identity, &account)),
                Step::Listen(bindings) => {
                    let made = self.shared.source.listen(bindings).await;
                    self.session
                        .on_listening(made.map_err(|error| error.to_string()))
                }
                Step::Done(done) => return self.carry_out(done).await,
            };
        }
    }

    async fn carry_out(&mut self, done: Done) -> Result<(), CloseReason> {
        let metrics = &self.shared.metrics;
        if done.outcome != Outcome::None {
            metrics.request(done.outcome.label());
        }
        self.unbind(&done.unbind);
        if let Some(reply) = done.reply {
            self.handle.reply(reply);
        }
        // After the reply, without a pause: no event comes before it, and none is missed.
        for subscription in &done.bind {
            self.shared.index.bind(subscription, self.handle.clone());
        }
        self.shared
            .metrics
            .subscriptions
            .inc_by(count(done.bind.len()));
        if done.relist {
            self.handle.relist(self.session.listing());
        }
        self.release(done.unbind).await;
        done.close
            .map_or(Ok(()), |close| Err(CloseReason::Session(close)))
    }

    async fn tick(&mut self) -> Result<(), CloseReason> {
        match self.session.on_deadline(Instant::now()) {
            Tick::Nothing => Ok(()),
            Tick::Close(close) => Err(CloseReason::Session(close)),
            Tick::Ping => {
                self.guarded(async |socket| socket.send(Message::Ping(Bytes::new())).await)
                    .await
            }
        }
    }

    /// Everything that waits, in as few writes as its size allows.
    async fn write(&mut self, batch: &mut VecDeque<Waiting>) -> Result<(), CloseReason> {
        let events = batch
            .iter()
            .filter(|waiting| waiting.received.is_some())
            .count();
        let oldest = batch.iter().find_map(|waiting| waiting.received);
        self.guarded(async |socket| {
            for waiting in batch.drain(..) {
                socket.feed(Message::Text(waiting.text)).await?;
            }
            socket.flush().await
        })
        .await?;
        if let Some(oldest) = oldest {
            let events = u64::try_from(events).unwrap_or(u64::MAX);
            self.handle.count_sent(events);
            self.shared.metrics.written(events, oldest.elapsed());
        }
        Ok(())
    }

    /// A write, cut when it takes too long or when the socket has to go.
    async fn guarded(
        &mut self,
        write: impl AsyncFnOnce(&mut WebSocketStream<S>) -> Result<(), Error>,
    ) -> Result<(), CloseReason> {
        let limit = self.shared.settings.write_timeout;
        tokio::select! {
            written = timeout(limit, write(&mut self.socket)) => match written {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(CloseReason::Client),
                Err(_) => Err(CloseReason::WriteTimeout),
            },
            reason = self.handle.closed() => Err(reason),
        }
    }

    /// Runs on every path: nothing of the socket stays.
    async fn finish(&mut self, reason: &CloseReason) {
        self.shared.registry.remove(&self.handle.id);
        let subscriptions = self.session.end();
        self.unbind(&subscriptions);
        self.release(subscriptions).await;
        if *reason == CloseReason::Session(Close::Dead) {
            return;
        }
        // What was queued before the close still goes out, for whoever reads.
        let mut rest = VecDeque::new();
        if matches!(
            reason,
            CloseReason::GoingAway | CloseReason::Restart | CloseReason::Session(_)
        ) {
            let waiting = timeout(Duration::ZERO, self.handle.outbox.take(&mut rest)).await;
            debug_assert!(waiting.is_ok() || rest.is_empty());
        }
        let farewell = async {
            for waiting in rest.drain(..) {
                self.socket.feed(Message::Text(waiting.text)).await?;
            }
            match reason {
                // The library has queued the answer to the client's own close.
                CloseReason::Client => self.socket.flush().await?,
                _ => self.socket.close(reason.frame()).await?,
            }
            // Closing with unread bytes would reset the connection, and the client might lose the
            // close frame with its reason.
            let stream = self.socket.get_mut();
            stream.shutdown().await?;
            let mut scrap = [0; 1024];
            let mut seen = 0;
            while seen < FAREWELL_BYTES {
                match stream.read(&mut scrap).await? {
                    0 => break,
                    some => seen += some,
                }
            }
            Ok::<_, Error>(())
        };
        let _ = timeout(FAREWELL, farewell).await;
    }

    fn unbind(&self, subscriptions: &[Subscription]) {
        for subscription in subscriptions {
            self.shared.index.unbind(subscription, &self.handle.id);
        }
        self.shared
            .metrics
            .subscriptions
            .dec_by(count(subscriptions.len()));
    }

    async fn release(&self, subscriptions: Vec<Subscription>) {
        if !subscriptions.is_empty() {
            let bindings = subscriptions
                .into_iter()
                .map(|subscription| subscription.broker)
                .collect();
            self.shared.source.release(bindings).await;
        }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
