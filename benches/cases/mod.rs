//! What is measured: `micro` times it, `instructions` counts it. Each function prepares one operation
//! of the event path, or of a client's request, and gives a closure that does it once: the real code,
//! a real event of 2 KB, no threads, no sockets.

use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blackhole::catalogue::{Account, Catalogue};
use blackhole::fanout::{self, Dispatcher, Receiver};
use blackhole::gateway::{Frame, Inbound, Outbox, Room};
use blackhole::index::{Index, Member};
use blackhole::model::{AccountId, Event, Identity, Scope, SessionId};
use blackhole::session::{self, Done, Limits, Outcome, Session, Step};
use serde_json::{Value, json};

const FIXTURE: &str = include_str!("../../tests/fixtures/events/channel-bridge.json");
const BINDING: &str = "call.CHANNEL_BRIDGE.*";
/// The account of the event in [`FIXTURE`].
const ACCOUNT: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
/// Different keys that are looked up in turn, so that not all is in the nearest cache.
const KEYS: usize = 1000;

/// The event, as a source hands it over.
pub(crate) fn event() -> Event {
    let fixture: Value = serde_json::from_str(FIXTURE).expect("JSON");
    let text = |key: &str| fixture[key].as_str().expect("text");
    Event {
        exchange: text("exchange").into(),
        routing_key: text("routing_key").into(),
        body: fixture["payload"].to_string(),
        received: Instant::now(),
    }
}

/// Reads the fields that routing needs.
pub(crate) fn peek() -> impl FnMut() {
    let (catalogue, event) = (Catalogue::builtin(), event());
    move || {
        let exchange = catalogue.exchange(&event.exchange).expect("known");
        let peek = fanout::peek(black_box(&event.body), exchange, &event.routing_key);
        black_box(peek.expect("routable"));
    }
}

/// Makes `data`.
pub(crate) fn normalise() -> impl FnMut() {
    let (event, mut data) = (event(), String::new());
    move || {
        data.clear();
        fanout::normalise(black_box(&event.body), &mut data).expect("JSON");
        black_box(&data);
    }
}

/// Looks up a key among so many subscriptions, each of another account: one group matches, or none.
pub(crate) fn matching(subscriptions: usize, subscribed: bool) -> impl FnMut() {
    let index = Index::default();
    for at in 0..subscriptions {
        bind(&index, &account(at), BINDING, &Counter::new(at));
    }
    let keys = (0..KEYS).map(|at| {
        let at = at * subscriptions / KEYS;
        let at = if subscribed { at } else { subscriptions + at };
        format!("call.{}.CHANNEL_BRIDGE.1", account(at))
    });
    look_up(index, "callevt", keys.collect(), usize::from(subscribed))
}

/// Looks up a key that so many groups match: accounts that know the same conference.
pub(crate) fn matching_groups(groups: usize) -> impl FnMut() {
    let (index, binding) = (Index::default(), "conference.command.1");
    for at in 0..groups {
        bind(&index, &account(at), binding, &Counter::new(at));
    }
    look_up(index, "conference", vec![binding.to_owned()], groups)
}

fn look_up(
    index: Index<Counter>,
    exchange: &'static str,
    keys: Vec<String>,
    groups: usize,
) -> impl FnMut() {
    let (mut found, mut at) = (Vec::new(), 0);
    move || {
        at = (at + 1) % keys.len();
        index.matching(exchange, black_box(&keys[at]), &mut found);
        assert_eq!(black_box(&found).len(), groups);
    }
}

/// Makes what the frames of all groups share, once an event.
pub(crate) fn tail() -> impl FnMut() {
    let (key, data) = routed();
    move || {
        black_box(fanout::tail(
            Some("\"CHANNEL_BRIDGE\""),
            black_box(&key),
            &data,
        ));
    }
}

/// Makes the frame of one group, ready for the wire.
pub(crate) fn frame() -> impl FnMut() {
    let (key, data) = routed();
    let tail = fanout::tail(Some("\"CHANNEL_BRIDGE\""), &key, &data);
    let pattern = format!("call.{ACCOUNT}.CHANNEL_BRIDGE.*");
    move || {
        let text = fanout::frame(black_box(BINDING), &pattern, &tail);
        black_box(Frame::from(text));
    }
}

/// The whole of one event, for so many sockets with the same binding; as many others get nothing.
pub(crate) fn dispatch(receivers: usize) -> impl FnMut() {
    let (catalogue, index) = (Arc::new(Catalogue::builtin()), Arc::new(Index::default()));
    let own = AccountId::parse(ACCOUNT).expect("an id");
    let frames = Arc::default();
    for at in 0..receivers {
        let receiver = Counter {
            session: SessionId::new(&at.to_string()),
            frames: Arc::clone(&frames),
        };
        bind(&index, &own, BINDING, &receiver);
        bind(&index, &account(at), BINDING, &Counter::new(at));
    }
    let mut dispatcher = Dispatcher::new(catalogue, index);
    let (event, mut expected) = (event(), 0);
    move || {
        dispatcher.dispatch(black_box(&event)).expect("routable");
        dispatcher.flush(usize::MAX);
        expected += receivers as u64;
        assert_eq!(frames.load(Ordering::Relaxed), expected);
    }
}

/// So many frames into one socket's queue, then out of it.
pub(crate) fn outbox(frames: usize) -> impl FnMut() {
    let outbox = Outbox::new(Arc::new(Room::new(usize::MAX, usize::MAX, Arc::default())));
    let frame = Frame::event("x".repeat(2048), Instant::now());
    // A kernel that takes everything.
    let sink = |slices: &[IoSlice<'_>]| Ok(slices.iter().map(|slice| slice.len()).sum());
    move || {
        for _ in 0..frames {
            black_box(outbox.push(black_box(&frame).clone()));
        }
        let written = outbox.write(false, sink).expect("no error");
        assert_eq!(written.events, frames as u64);
    }
}

/// A request's bytes, as they come from a socket, become a message.
pub(crate) fn inbound() -> impl FnMut() {
    let text = request("subscribe");
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut bytes = vec![0x81, 0x80 | 126];
    bytes.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
    bytes.extend(mask);
    bytes.extend(text.bytes().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    let (mut inbound, mut buffer) = (Inbound::new(65_536), bytes.clone());
    move || {
        // Unmasked where they were read.
        buffer.copy_from_slice(&bytes);
        let mut messages = 0;
        let fed = inbound.feed(&mut buffer, |message| {
            black_box(message);
            messages += 1;
        });
        assert_eq!((fed, messages), (Ok(()), 1));
    }
}

/// A request that needs nothing from outside.
pub(crate) fn ping() -> impl FnMut() {
    let (mut client, ping) = (Client::logged_in(), request("ping"));
    move || {
        black_box(client.say(black_box(&ping)));
    }
}

/// One binding subscribed to, and given back: two requests.
pub(crate) fn subscribe() -> impl FnMut() {
    let mut client = Client::logged_in();
    let (subscribe, unsubscribe) = (request("subscribe"), request("unsubscribe"));
    move || {
        let done = client.say(black_box(&subscribe));
        assert_eq!(done.bind.len(), 1);
        let done = client.say(black_box(&unsubscribe));
        assert_eq!(done.unbind.len(), 1);
    }
}

/// As clients write it: with its token, a JWT, in each request.
fn request(action: &str) -> String {
    let data = json!({ "account_id": ACCOUNT, "binding": BINDING });
    let token = "x".repeat(400);
    json!({ "action": action, "request_id": "r1", "auth_token": token, "data": data }).to_string()
}

/// The event's routing key and `data`.
fn routed() -> (String, String) {
    let (event, mut data) = (event(), String::new());
    fanout::normalise(&event.body, &mut data).expect("JSON");
    let call = event.routing_key.rsplit('.').next().expect("a call id");
    (format!("call.{ACCOUNT}.CHANNEL_BRIDGE.{call}"), data)
}

fn account(at: usize) -> AccountId {
    AccountId::parse(&format!("{at:032x}")).expect("32 digits")
}

fn bind(index: &Index<Counter>, account: &AccountId, binding: &str, member: &Counter) {
    thread_local!(static CATALOGUE: Catalogue = Catalogue::builtin());
    let account = Account {
        scope: Scope::One(account.clone()),
        realm: None,
    };
    let expanded = CATALOGUE.with(|catalogue| {
        let plan = catalogue.validate(binding).expect("valid");
        catalogue.expand(&plan, &account, false).expect("expands")
    });
    for subscription in expanded {
        index.bind(&index.shared(subscription), member.clone());
    }
}

/// A socket that only counts its frames.
#[derive(Clone)]
struct Counter {
    session: SessionId,
    frames: Arc<AtomicU64>,
}

impl Counter {
    fn new(at: usize) -> Self {
        Self {
            session: SessionId::new(&at.to_string()),
            frames: Arc::default(),
        }
    }
}

impl Member for Counter {
    fn session(&self) -> &SessionId {
        &self.session
    }
}

impl Receiver for Counter {
    type Frame = Frame;

    fn frame(text: String, received: Instant) -> Frame {
        Frame::event(text, received)
    }

    fn offer(&self, frame: &Frame) -> bool {
        black_box(frame.clone());
        true
    }

    fn flush(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
    }
}

/// A session, with a shell that says yes to everything.
struct Client {
    session: Session,
    now: Instant,
}

impl Client {
    fn logged_in() -> Self {
        let limits = Limits {
            rate_burst: 100,
            rate_per_second: 10,
            max_subscriptions: 100,
            login: Duration::from_secs(60),
            idle: Duration::from_secs(3600),
            ping: None,
            kazoo_listing: false,
        };
        let now = Instant::now();
        let catalogue = Arc::new(Catalogue::builtin());
        let id = SessionId::new("5e5510");
        let session = Session::new(id, catalogue, Arc::new(limits), now);
        let mut client = Self { session, now };
        client.say(&request("ping"));
        client
    }

    fn say(&mut self, text: &str) -> Done {
        // Within the rate limit.
        self.now += Duration::from_secs(1);
        let account = AccountId::parse(ACCOUNT).expect("an id");
        let frame = session::Frame::Text(text);
        let mut step = self.session.on_frame(frame, self.now);
        loop {
            step = match step {
                Step::Authenticate(_) => {
                    let identity = Identity {
                        account: account.clone(),
                        owner: None,
                        expires_at: None,
                        superduper: false,
                        grant: Arc::default(),
                    };
                    self.session.on_identity(Ok(identity), self.now, 0)
                }
                Step::Authorise(..) => self.session.on_access(Ok(Account {
                    scope: Scope::One(account.clone()),
                    realm: None,
                })),
                Step::Listen(wanted) => {
                    let all = wanted.into_iter().map(Arc::new).collect();
                    self.session.on_listening(Ok(all))
                }
                Step::Done(done) => {
                    assert_eq!(done.outcome, Outcome::Success);
                    return done;
                }
            };
        }
    }
}
