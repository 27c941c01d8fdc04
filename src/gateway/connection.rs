//! One socket's task: moves frames between the websocket, the session and the rest of the program.
//! It owns its state; others reach it through its [`Handle`] only.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::addresses::Place;
use super::close::CloseReason;
use super::frame::Frame as Out;
use super::inbound::{Fault, Inbound, Message};
use super::linger;
use super::listen::Counted;
use super::quota::{Quotas, Share};
use super::registry::{Handle, Registry};
use super::room::Room;
use super::sentry;
use super::wire::{Happened, Stream, Wire};
use crate::auth::Authority;
use crate::catalogue::{BrokerBinding, Catalogue, Subscription};
use crate::entropy::random_id;
use crate::index::Index;
use crate::model::clock::unix_now;
use crate::model::{AccountId, SessionId};
use crate::session::{Close, Denied, Done, Frame, Limits, Outcome, Session, Step, Tick};
use crate::settings::SocketSettings;
use crate::source::{Source, SourceError};
use crate::telemetry::Metrics;

/// How long a client may take to read what waits and to answer a close.
const FAREWELL: Duration = Duration::from_secs(4);

/// A future on the heap.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

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
    /// How much may wait to be written.
    pub room: Arc<Room>,
    /// How much each account has.
    pub quotas: Arc<Quotas>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Limits of the socket itself.
    pub settings: SocketSettings,
    /// Limits of its session.
    pub limits: Arc<Limits>,
}

/// Serves an open websocket until its end. `read` came after the handshake already; `counted` is held
/// for as long.
pub(super) fn serve(
    stream: Stream,
    read: BytesMut,
    source: SocketAddr,
    shared: Arc<Shared>,
    counted: (Place, Counted),
) -> impl Future<Output = ()> + Send {
    let id = SessionId::new(&random_id());
    let (plain, wire) = stream.split();
    let handle = Arc::new(Handle::new(
        id.clone(),
        source,
        unix_now(),
        plain,
        shared.room.clone(),
    ));
    let most = shared.settings.max_open;
    if shared.registry.len() >= most {
        handle.close(CloseReason::Full(most));
    }
    shared.registry.add(handle.clone());
    let (catalogue, limits) = (shared.catalogue.clone(), shared.limits.clone());
    let mut connection = Connection {
        wire,
        inbound: Inbound::new(shared.settings.max_message_bytes),
        messages: VecDeque::new(),
        fault: None,
        closed_with: None,
        session: Session::new(id, catalogue, limits, Instant::now()),
        handle,
        shared,
        share: None,
        _counted: counted,
    };
    connection.feed(&mut read.to_vec());
    drop(read);
    async move {
        let reason = connection.run().await;
        connection.finish(reason).await;
    }
}

struct Connection {
    wire: Wire,
    inbound: Inbound,
    /// Came, and wait for those before them.
    messages: VecDeque<Message>,
    /// Nothing after the messages can be understood.
    fault: Option<Fault>,
    /// The code with which the client closed, which the answer repeats.
    closed_with: Option<CloseCode>,
    session: Session,
    handle: Arc<Handle>,
    shared: Arc<Shared>,
    /// Its part of what its account has, from the first good token on.
    share: Option<Share>,
    _counted: (Place, Counted),
}

impl Connection {
    async fn run(&mut self) -> CloseReason {
        let mut sleep = pin!(sleep_until(self.deadline().into()));
        loop {
            match self.turn().await {
                Ok(()) => {}
                Err(reason) => return reason,
            }
            let due = self.deadline().into();
            // A later deadline is found when this one is due: most sockets are busy or idle for long.
            if due < sleep.deadline() || sleep.is_elapsed() {
                sleep.as_mut().reset(due);
            }
            let handle = self.handle.clone();
            let outcome = tokio::select! {
                () = handle.called() => Ok(()),
                happened = self.io(true) => self.happened(happened),
                () = &mut sleep => self.tick(),
            };
            if let Err(reason) = outcome
                && let Err(reason) = self.look_again(reason)
            {
                return reason;
            }
        }
    }

    /// Everything that needs no waiting for the client.
    async fn turn(&mut self) -> Result<(), CloseReason> {
        loop {
            if let Some(reason) = self.handle.end() {
                return Err(reason.clone());
            }
            let Some(message) = self.messages.pop_front() else {
                break;
            };
            self.take(message).await?;
        }
        // An idle socket holds no room for messages.
        self.messages = VecDeque::new();
        match self.fault.take() {
            None => Ok(()),
            Some(Fault::Protocol(error)) => Err(CloseReason::Protocol(error.into())),
            Some(Fault::Utf8) => Err(CloseReason::Utf8),
            Some(Fault::TooLong) => {
                let most = self.shared.settings.max_message_bytes;
                Err(CloseReason::TooLong(most))
            }
        }
    }

    /// The session's next deadline, or the end of a write that takes too long.
    fn deadline(&self) -> Instant {
        let session = self.session.next_deadline();
        let write = self
            .handle
            .outbox
            .stuck_since()
            .map(|since| since + self.shared.settings.write_timeout);
        write.map_or(session, |write| write.min(session))
    }

    /// What happens next on the wire. `read`: more messages may come.
    async fn io(&mut self, read: bool) -> std::io::Result<Happened> {
        let handle = self.handle.clone();
        let Self {
            wire,
            inbound,
            messages,
            fault,
            ..
        } = self;
        poll_fn(|context| {
            let mut take = |bytes: &mut [u8]| feed(inbound, messages, fault, bytes);
            let plain = handle.stream.as_ref();
            wire.poll(context, &handle.outbox, plain, read, &mut take)
        })
        .await
    }

    fn feed(&mut self, bytes: &mut [u8]) {
        feed(
            &mut self.inbound,
            &mut self.messages,
            &mut self.fault,
            bytes,
        );
    }

    fn happened(&mut self, happened: std::io::Result<Happened>) -> Result<(), CloseReason> {
        match happened {
            Ok(Happened::Read(0)) | Err(_) => Err(CloseReason::Client),
            Ok(Happened::Read(_)) => Ok(()),
            Ok(Happened::Wrote(written)) => {
                self.handle.wrote(&written);
                Ok(())
            }
        }
    }

    /// On a busy machine the answer to a ping may be there, unread: who is to be closed for silence is
    /// read once more. Any other reason stands.
    fn look_again(&mut self, reason: CloseReason) -> Result<(), CloseReason> {
        if !matches!(reason, CloseReason::Session(Close::Dead | Close::Idle(_))) {
            return Err(reason);
        }
        match self.io(true).now_or_never() {
            Some(happened) => self.happened(happened),
            None => Err(reason),
        }
    }

    /// Boxed, as everything that an idle socket does not need: its task would keep the room for it.
    fn take(&mut self, message: Message) -> Boxed<'_, Result<(), CloseReason>> {
        let now = Instant::now();
        Box::pin(async move {
            match message {
                Message::Text(text) => self.message(Frame::Text(&text), now).await,
                Message::Binary => self.message(Frame::Binary, now).await,
                Message::Ping(payload) => {
                    self.handle.send(Out::pong(payload));
                    self.message(Frame::Ping, now).await
                }
                Message::Pong => self.message(Frame::Pong, now).await,
                Message::Close(code) => {
                    self.closed_with = code;
                    Err(CloseReason::Client)
                }
            }
        })
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
                    if let Ok(identity) = &verdict {
                        self.count_in(&identity.account)?;
                    }
                    self.session.on_identity(verdict, now, unix)
                }
                Step::Authorise(identity, account) => self
                    .session
                    .on_access(self.shared.authority.subscriber(&identity, &account)),
                Step::Listen(wanted) => {
                    let verdict = self.subscribe(wanted).await?;
                    self.session.on_listening(verdict)
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

    /// A good token of this account: from the first one on the socket is one of the account's.
    fn count_in(&mut self, account: &AccountId) -> Result<(), CloseReason> {
        let share = self.share.as_ref();
        let counted = share.is_some_and(|share| share.account() == account);
        if counted || self.session.is_logged_in() {
            return Ok(());
        }
        let most = self.shared.settings.max_per_account;
        let share = self.shared.quotas.enter(account, most);
        self.share = Some(share.ok_or(CloseReason::AccountFull(most))?);
        Ok(())
    }

    /// Room for new subscriptions, and their events from the source.
    async fn subscribe(
        &mut self,
        wanted: Vec<Subscription>,
    ) -> Result<Result<Vec<Arc<Subscription>>, Denied>, CloseReason> {
        let limited = |limit, error| Denied {
            outcome: Outcome::Limited(limit),
            error,
        };
        let settings = &self.shared.settings;
        let (index, most) = (&self.shared.index, settings.max_groups);
        let new = wanted.iter().filter(|wanted| !index.has(wanted)).count();
        if new > 0 && index.groups() + new > most {
            let error = format!("too many different subscriptions: at most {most} on this node");
            return Ok(Err(limited("groups", error)));
        }
        let (count, most) = (wanted.len(), settings.max_subscriptions_per_account);
        if !self
            .share
            .as_mut()
            .is_some_and(|share| share.take(count, most))
        {
            let error = format!("too many subscriptions: at most {most} for an account");
            return Ok(Err(limited("subscriptions_of_account", error)));
        }
        let shared = wanted.into_iter().map(|wanted| index.shared(wanted));
        let wanted: Vec<Arc<Subscription>> = shared.collect();
        match self.listen(broker_bindings(&wanted)).await? {
            Ok(()) => Ok(Ok(wanted)),
            Err(error) => {
                self.give_back(count);
                Ok(Err(Denied {
                    outcome: Outcome::Source,
                    error: error.told(),
                }))
            }
        }
    }

    fn give_back(&mut self, subscriptions: usize) {
        if let Some(share) = &mut self.share {
            share.give_back(subscriptions);
        }
    }

    /// Asks the source for bindings. Meanwhile what waits is written, and the socket may have to go;
    /// nothing is read.
    async fn listen(
        &mut self,
        bindings: Vec<BrokerBinding>,
    ) -> Result<Result<(), SourceError>, CloseReason> {
        let source = self.shared.source.clone();
        let wanted = bindings.clone();
        let mut asking = tokio::spawn(async move { source.listen(wanted).await });
        let handle = self.handle.clone();
        let ended = loop {
            if let Some(reason) = handle.end() {
                break reason.clone();
            }
            let outcome = tokio::select! {
                made = &mut asking => return Ok(made.unwrap_or(Err(SourceError::Away))),
                () = handle.called() => Ok(()),
                happened = self.io(false) => self.happened(happened),
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
        if let Some(limit) = done.outcome.limit() {
            metrics.limit_reached(limit);
        }
        self.unbind(&done.unbind);
        let (shared, handle) = (&self.shared, &self.handle);
        let listing = done.relist.then(|| self.session.listing());
        let bind = || {
            for subscription in &done.bind {
                shared.index.bind(subscription, handle.clone());
            }
            shared.metrics.subscriptions.inc_by(count(done.bind.len()));
            if let Some(listing) = listing {
                handle.relist(listing);
            }
        };
        match done.reply {
            // No event comes before the reply, and whoever has read it misses none.
            Some(reply) => handle.send_with(&Out::from(reply), bind),
            None => bind(),
        }
        self.release(&done.unbind);
        done.close
            .map_or(Ok(()), |close| Err(CloseReason::Session(close)))
    }

    fn tick(&mut self) -> Result<(), CloseReason> {
        let now = Instant::now();
        let slow = self.shared.settings.write_timeout;
        let stuck = self.handle.outbox.stuck_since();
        if stuck.is_some_and(|since| now >= since + slow) {
            return Err(CloseReason::WriteTimeout);
        }
        match self.session.on_deadline(now) {
            Tick::Nothing => Ok(()),
            Tick::Close(close) => Err(CloseReason::Session(close)),
            Tick::Ping => {
                self.handle.send(Out::ping());
                Ok(())
            }
        }
    }

    /// Says goodbye: what waits still goes out where the client may read on, then the close frame
    /// with its reason. What could not go out is counted.
    fn finish(&mut self, reason: CloseReason) -> Boxed<'_, ()> {
        self.leave();
        let answer = self.closed_with.map(|code| CloseFrame {
            code,
            reason: "".into(),
        });
        let last = match reason {
            CloseReason::Session(Close::Dead) => None,
            CloseReason::Client => Some(Out::close(answer)),
            _ => reason.frame().map(|frame| Out::close(Some(frame))),
        };
        self.handle.outbox.close(reason.lets_finish(), last);
        Box::pin(async move {
            if reason != CloseReason::Session(Close::Dead) {
                let _ = timeout(FAREWELL, self.farewell()).await;
            }
            self.handle.outbox.abandon();
            self.handle.outbox.lose(self.wire.unwritten());
            let lost = self.handle.outbox.lost();
            let metrics = &self.shared.metrics;
            metrics.deliveries_lost(reason.label(), lost);
            metrics.socket_closed(reason.label());
            if let Some(limit) = reason.limit() {
                metrics.limit_reached(limit);
            }
            tracing::debug!(reason = reason.label(), "socket closed");
        })
    }

    /// Writes the last, says that nothing more comes, then reads and forgets until the client ends:
    /// closing with unread bytes would reset the connection, and the client might lose the reason.
    async fn farewell(&mut self) -> std::io::Result<()> {
        let handle = self.handle.clone();
        loop {
            handle.write();
            if handle.outbox.is_empty() && self.wire.is_through() {
                break;
            }
            if handle.stream.is_some() && handle.outbox.stuck_since().is_none() {
                // Neither written nor refused: the connection is broken.
                return Ok(());
            }
            if let Happened::Wrote(written) = self.io(false).await? {
                handle.wrote(&written);
            }
        }
        self.wire.shutdown(handle.stream.as_ref()).await?;
        let mut seen = 0;
        while seen < linger::MOST {
            let (wire, mut forget) = (&mut self.wire, |_: &mut [u8]| ());
            let happened = poll_fn(|context| {
                wire.poll(
                    context,
                    &handle.outbox,
                    handle.stream.as_ref(),
                    true,
                    &mut forget,
                )
            });
            match happened.await? {
                Happened::Read(0) => break,
                Happened::Read(count) => seen += count,
                Happened::Wrote(_) => {}
            }
        }
        Ok(())
    }
}

/// Bytes to messages, until the first fault.
fn feed(
    inbound: &mut Inbound,
    messages: &mut VecDeque<Message>,
    fault: &mut Option<Fault>,
    bytes: &mut [u8],
) {
    if fault.is_none() {
        *fault = inbound
            .feed(bytes, |message| messages.push_back(message))
            .err();
    }
}

impl Connection {
    /// Takes the socket out of everything that it is in. Doing so again changes nothing.
    fn leave(&mut self) {
        self.shared.registry.remove(&self.handle.id);
        let subscriptions = self.session.end();
        self.unbind(&subscriptions);
        self.release(&subscriptions);
    }

    fn unbind(&mut self, subscriptions: &[Arc<Subscription>]) {
        self.give_back(subscriptions.len());
        for subscription in subscriptions {
            self.shared.index.unbind(subscription, &self.handle.id);
        }
        self.shared
            .metrics
            .subscriptions
            .dec_by(count(subscriptions.len()));
    }

    /// The broker is told by and by; no socket waits for it.
    fn release(&self, subscriptions: &[Arc<Subscription>]) {
        let bindings = broker_bindings(subscriptions);
        let source = self.shared.source.clone();
        if !bindings.is_empty()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { source.release(bindings).await });
        }
    }
}

/// On every path, a panic included, nothing of the socket stays.
impl Drop for Connection {
    fn drop(&mut self) {
        self.leave();
    }
}

fn broker_bindings(subscriptions: &[Arc<Subscription>]) -> Vec<BrokerBinding> {
    let all = subscriptions.iter();
    all.map(|subscription| subscription.broker.clone())
        .collect()
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
