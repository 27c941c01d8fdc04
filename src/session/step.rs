//! What goes into a session and what comes out: frames, steps, outcomes, reasons to close.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::catalogue::{Account, Subscription};
use crate::model::{Identity, Token};

/// What a session may do, from the settings.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Messages at once.
    pub rate_burst: u32,
    /// Messages a second after that.
    pub rate_per_second: u32,
    /// Pairs of client binding and subscription key.
    pub max_subscriptions: usize,
    /// How long a socket may stay without a token.
    pub login: Duration,
    /// How long a socket may stay without any frame from its client.
    pub idle: Duration,
    /// How often the server pings; `None`: never.
    pub ping: Option<Duration>,
    /// `compat.kazoo_listing`: list bindings as the original does.
    pub kazoo_listing: bool,
}

/// What the client sent, as far as the protocol tells frames apart.
#[derive(Debug, Clone, Copy)]
pub enum Frame<'a> {
    /// A message.
    Text(&'a str),
    /// Not allowed; answered with an error.
    Binary,
    /// Answered by the websocket library; counts against the rate.
    Ping,
    /// The answer to our ping.
    Pong,
}

/// What the shell must do next for the message under way.
#[derive(Debug)]
pub enum Step {
    /// Check this token, then call [`super::Session::on_identity`].
    Authenticate(Token),
    /// May this identity see this account (an id or `*`)? Then call [`super::Session::on_access`].
    Authorise(Identity, String),
    /// Make sure that there is room for these subscriptions and that the broker delivers their events,
    /// then call [`super::Session::on_listening`].
    Listen(Vec<Subscription>),
    /// The message is through.
    Done(Done),
}

/// The end of a message, to be carried out in the order of the fields.
#[derive(Debug, Default)]
pub struct Done {
    /// To be taken out of the index, and released at the broker.
    pub unbind: Vec<Arc<Subscription>>,
    /// To be sent.
    pub reply: Option<String>,
    /// To be put into the index before the reply can be read, but no event of them before the reply.
    pub bind: Vec<Arc<Subscription>>,
    /// The listing changed.
    pub relist: bool,
    /// For the metrics.
    pub outcome: Outcome,
    /// The socket has to go.
    pub close: Option<Close>,
}

/// How a message ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It was none: a ping or a pong.
    #[default]
    None,
    /// As asked.
    Success,
    /// Over the rate limit.
    RateLimited,
    /// Not a JSON object, not a text.
    Malformed,
    /// No token, or a bad one.
    Unauthenticated,
    /// Understood, but wrong.
    Invalid,
    /// Another's account.
    Unauthorised,
    /// Over a limit, which is named.
    Limited(&'static str),
    /// The event source said no.
    Source,
}

impl Outcome {
    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Success => "success",
            Self::RateLimited => "rate_limited",
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Invalid => "invalid",
            Self::Unauthorised => "unauthorised",
            Self::Limited(_) => "limited",
            Self::Source => "source",
        }
    }

    /// The limit that was reached, if that is why it failed.
    pub fn limit(self) -> Option<&'static str> {
        match self {
            Self::Limited(limit) => Some(limit),
            Self::RateLimited => Some("rate"),
            _ => None,
        }
    }
}

/// Why what was asked for cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// For the metrics.
    pub outcome: Outcome,
    /// What the client is told.
    pub error: String,
}

/// Why the session ends a socket (section 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// 1008: no token within the time.
    Login(Duration),
    /// 1008: went on after many refusals by the rate limit.
    Rate,
    /// 1000: no frame from the client for so long.
    Idle(Duration),
    /// No answer to a ping: nobody is there to be told.
    Dead,
    /// 4401: the token expired and no newer one was sent.
    Expired,
    /// 4401: the token is worth nothing any more, for this reason.
    Revoked(String),
    /// 1008: a subscribed account is out of reach or has another realm; subscribing again tells which.
    AccessChanged,
}

/// What a deadline brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Tick {
    /// Nothing is due.
    Nothing,
    /// Send a ping.
    Ping,
    /// Close the socket.
    Close(Close),
}

/// What the rest of the program has to know of a session: what the REST listing shows, and what must
/// be looked at again when accounts, users or tokens change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// Who it is; `None` before the first token.
    pub identity: Option<Identity>,
    /// The subscribed accounts as they were found when they were subscribed to.
    pub accounts: Vec<Account>,
    /// The client bindings.
    pub bindings: Vec<Arc<str>>,
    /// The client's own name for the session.
    pub name: Option<Value>,
    /// The client's free data.
    pub metadata: Option<Value>,
}
