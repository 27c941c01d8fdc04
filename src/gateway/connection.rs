//! One socket's task: moves frames between the websocket, the session and the rest of the program.
//! It owns its state; others reach it through its [`Handle`] only.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::close::CloseReason;
use super::linger::linger;
use super::outbox::Waiting;
use super::registry::{Handle, Registry};
use super::sentry;
use crate::auth::Authority;
use crate::catalogue::{BrokerBinding, Catalogue, Subscription};
use crate::entropy::random_id;
use crate::index::Index;
use crate::model::SessionId;
use crate::model::clock::unix_now;
use crate::session::{Close, Done, Frame, Limits, Outcome, Session, Step, Tick};
use crate::settings::SocketSettings;
use crate::source::{Source, SourceError};
use crate::telemetry::Metrics;

/// Bytes. The library keeps a buffer of each size for every socket and zeroes the one for reading
/// before every read.
const READ_BUFFER: usize = 4 * 1024;
/// Bytes gathered before a write; what waits beyond that leaves in several.
const WRITE_BUFFER: usize = 64 * 1024;
/// How long a client may take to read what waits and to answer a close.
const FAREWELL: Duration = Duration::from_secs(4);

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
    drop(read);
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
        batch: VecDeque::new(),
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
    /// Taken from the outbox, not yet given to the websocket.
    batch: VecDeque<Waiting>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self) -> CloseReason {
        let handle = self.handle.clone();
        loop {
            let deadline = self.session.next_deadline().into();
            // Not biased: a socket with much to write must still be read, and must still expire.
            let outcome = tokio::select! {
                reason = handle.closed() => Err(reason),
                () = handle.outbox.take(&mut self.batch) => self.write().await,
                frame = self.socket.next() => self.read(frame).await,
                () = sleep_until(deadline) => self.tick().await,
            };
            if let Err(reason) = outcome
                && let Err(reason) = self.look_again(reason).await
            {
                return reason;
            }
        }
    }

    /// After a long write the answer to a ping may be there, unread: who is to be closed for silence
    /// is read once more. Any other reason stands.
    async fn look_again(&mut self, reason: CloseReason) -> Result<(), CloseReason> {
        if !matches!(reason, CloseReason::Session(Close::Dead | Close::Idle(_))) {
            return Err(reason);
        }
        match self.socket.next().now_or_never() {
            Some(frame) => self.read(frame).await,
            None => Err(reason),
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
        let generation = self.shared.authority.live().generation();
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
                    let made = self.listen(bindings).await?;
                    self.session
                        .on_listening(made.map_err(|error| error.told()))
                }
                Step::Done(done) => {
                    let relisted = done.relist;
                    self.carry_out(done).await?;
                    // What changed since was looked at before the listing had this message's part.
                    if relisted && self.shared.authority.live().generation() != generation {
                        sentry::look(&self.shared.authority, &self.handle);
                    }
                    return Ok(());
                }
            };
        }
    }

    /// Asks the source for bindings. Meanwhile events go on, and the socket may have to go.
    async fn listen(
        &mut self,
        bindings: Vec<BrokerBinding>,
    ) -> Result<Result<(), SourceError>, CloseReason> {
        let source = self.shared.source.clone();
        let wanted = bindings.clone();
        let mut asking = tokio::spawn(async move { source.listen(wanted).await });
        let handle = self.handle.clone();
        let ended = loop {
            let outcome = tokio::select! {
                made = &mut asking => return Ok(made.unwrap_or(Err(SourceError::Away))),
                () = handle.outbox.take(&mut self.batch) => self.write().await,
                reason = handle.closed() => Err(reason),
            };
            if let Err(reason) = outcome {
                break reason;
            }
        };
        // What was asked for is given back as soon as it is there.
        let source = self.shared.source.clone();
        tokio::spawn(async move {
            if let Ok(Ok(())) = asking.await {
                source.release(bindings).await;
            }
        });
        Err(ended)
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
        self.release(done.unbind);
        done.close
            .map_or(Ok(()), |close| Err(CloseReason::Session(close)))
    }

    async fn tick(&mut self) -> Result<(), CloseReason> {
        match self.session.on_deadline(Instant::now()) {
            Tick::Nothing => Ok(()),
            Tick::Close(close) => Err(CloseReason::Session(close)),
            Tick::Ping => {
                let ping = self.socket.send(Message::Ping(Bytes::new()));
                guarded(&self.shared.settings, &self.handle, ping).await
            }
        }
    }

    /// Everything that waits, in as few writes as its size allows.
    async fn write(&mut self) -> Result<(), CloseReason> {
        let waiting = events(&self.batch);
        let oldest = self.batch.iter().find_map(|waiting| waiting.received);
        let sending = send_all(&mut self.socket, &mut self.batch);
        let written = guarded(&self.shared.settings, &self.handle, sending).await;
        if let Some(oldest) = oldest {
            let sent = waiting - events(&self.batch);
            self.handle.count_sent(sent);
            self.shared.metrics.written(sent, oldest.elapsed());
        }
        written
    }

    /// Says goodbye: what waits still goes out where the client may read on, then the close frame
    /// with its reason. What could not go out is counted.
    async fn finish(&mut self, reason: &CloseReason) {
        self.leave();
        self.handle.outbox.drain(&mut self.batch);
        if *reason != CloseReason::Session(Close::Dead) {
            let _ = timeout(FAREWELL, self.farewell(reason)).await;
        }
        let lost = events(&self.batch) + self.handle.outbox.lost();
        self.shared.metrics.deliveries_lost(reason.label(), lost);
    }

    async fn farewell(&mut self, reason: &CloseReason) -> Result<(), Error> {
        if reason.lets_finish() {
            send_all(&mut self.socket, &mut self.batch).await?;
        }
        match reason {
            // The library has queued the answer to the client's own close.
            CloseReason::Client => self.socket.flush().await?,
            _ => self.socket.close(reason.frame()).await?,
        }
        linger(self.socket.get_mut()).await?;
        Ok(())
    }
}

impl<S> Connection<S> {
    /// Takes the socket out of everything that it is in. Doing so again changes nothing.
    fn leave(&mut self) {
        self.shared.registry.remove(&self.handle.id);
        let subscriptions = self.session.end();
        self.unbind(&subscriptions);
        self.release(subscriptions);
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

    /// The broker is told by and by; no socket waits for it.
    fn release(&self, subscriptions: Vec<Subscription>) {
        let bindings: Vec<BrokerBinding> = subscriptions
            .into_iter()
            .map(|subscription| subscription.broker)
            .collect();
        let source = self.shared.source.clone();
        if !bindings.is_empty()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { source.release(bindings).await });
        }
    }
}

/// On every path, a panic included, nothing of the socket stays.
impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Gives all frames to the websocket and flushes. When it is cancelled, what it did not give is in
/// `batch` still.
async fn send_all<S>(
    socket: &mut WebSocketStream<S>,
    batch: &mut VecDeque<Waiting>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while !batch.is_empty() {
        poll_fn(|context| socket.poll_ready_unpin(context)).await?;
        // Nothing is awaited between taking a frame and giving it.
        if let Some(waiting) = batch.pop_front() {
            socket.start_send_unpin(Message::Text(waiting.text))?;
        }
    }
    socket.flush().await
}

/// A write, cut when it takes too long or when the socket has to go.
async fn guarded(
    settings: &SocketSettings,
    handle: &Handle,
    write: impl Future<Output = Result<(), Error>>,
) -> Result<(), CloseReason> {
    tokio::select! {
        written = timeout(settings.write_timeout, write) => match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CloseReason::Client),
            Err(_) => Err(CloseReason::WriteTimeout),
        },
        reason = handle.closed() => Err(reason),
    }
}

fn events(batch: &VecDeque<Waiting>) -> u64 {
    batch
        .iter()
        .map(|waiting| u64::from(waiting.received.is_some()))
        .sum()
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
