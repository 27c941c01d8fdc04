//! Node to node over RabbitMQ, in Kazoo's own format (kazoo-amqp.md 7): gateways, and Kazoo's own
//! nodes, know of each other, ask each other for their sockets, and tell each other what changed.
//! What this node answers is the business of the [`Node`] that the application gives.
//!
//! - `handle`: what the rest of the program holds;
//! - `task`: keeps the connection and the advertisements going, and sorts what comes in;
//! - `answers`: carries out what others ask for;
//! - `message`: every message, written and read;
//! - `peers`: who else is there;
//! - `questions`: what was asked and by whom it is not answered yet;
//! - `link`: one connection, from opening to loss.

mod answers;
mod handle;
mod link;
mod message;
mod peers;
mod questions;
mod task;

use std::pin::Pin;

use serde_json::{Map, Value};

use crate::model::{AccountId, Secret};

pub use handle::{Cluster, Gathered};
pub use peers::Peer;

/// What the cluster needs to know.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// `amqp://user:password@host:port/vhost`.
    pub url: Secret,
    /// This node's name; no two nodes may have the same.
    pub node: String,
    /// Kazoo's zone that this node is in; `local` unless a Kazoo cluster has several.
    pub zone: String,
}

/// What this node says when others ask. Calls come one after the other, but for
/// [`Node::module`]; none may wait long, for others wait two seconds only.
pub trait Node: Send + Sync + 'static {
    /// Its sockets, as Kazoo's socket objects (kazoo-amqp.md 7.1). Which of them the asker may see is
    /// decided here.
    fn sockets(&self, question: &SocketQuestion) -> Vec<Map<String, Value>>;

    /// Closes a socket of this account; false: it is not here.
    fn close_socket(&self, account: &AccountId, socket: &str) -> bool;

    /// Starts or stops a category (kazoo-amqp.md 7.2).
    fn module(&self, request: ModuleRequest) -> Answering<'_, ModuleAnswer>;

    /// Another node of ours says that something changed. Comes again after an outage, and may come
    /// more than once.
    fn told(&self, notice: Value);

    /// What a node that was away has to be told; `None`: nothing.
    fn known(&self) -> Answering<'_, Option<Value>>;
}

/// An answer that takes its time.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A question for sockets (kazoo-amqp.md 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketQuestion {
    /// The account of the URL.
    pub account: AccountId,
    /// The account of the caller, whose sockets Kazoo lists as well.
    pub auth_account: Option<AccountId>,
    /// The id of the only socket asked for.
    pub socket: Option<String>,
    /// Our extension: sockets of which accounts.
    pub reach: Reach,
    /// Our extension: with all that a gateway of ours knows of a socket.
    pub details: bool,
}

/// Sockets of which accounts are asked for. All but `Account` is our extension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// The account itself.
    #[default]
    Account,
    /// The account and those below it.
    Tree,
    /// All accounts.
    All,
}

/// A wish to start or stop a category on this node (kazoo-amqp.md 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleRequest {
    /// Kazoo's name of the module, such as `bh_fax`.
    pub module: String,
    /// What to do.
    pub action: ModuleAction,
    /// Whether it is to hold after a restart.
    pub persist: bool,
}

/// What to do with a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleAction {
    /// Its client bindings can be subscribed to.
    Start,
    /// They cannot.
    Stop,
}

/// What came of a [`ModuleRequest`] (kazoo-amqp.md 7.2 has the table).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleAnswer {
    /// Whether it was started.
    pub started: bool,
    /// Whether that holds after a restart.
    pub persisted: bool,
    /// Why it was not started.
    pub error: Option<String>,
}
