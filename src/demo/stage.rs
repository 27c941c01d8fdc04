//! What everything that happens shares: the time, chance, the accounts, the agenda of what comes next,
//! and what is to be published.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde_json::{Value, json};

use super::call::Beat;
use super::rng::Rng;
use super::world::{Account, Known, accounts};
use crate::model::clock::{gregorian, iso8601};
use crate::source::Publication;

/// Node and switch of the simulated cluster.
pub(super) const ECALLMGR: &str = "ecallmgr@apps1.demo.example";
pub(super) const APPS: &str = "kazoo_apps@apps1.demo.example";
pub(super) const SWITCH: &str = "fs1.demo.example";

/// Something that is due.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// A call begins, and the next is planned.
    Call,
    /// A call begins.
    First,
    /// A call goes on.
    Beat(u64, Beat),
    /// A conference begins.
    Conference,
    /// A conference goes on.
    Meeting(u64, super::conference::Beat),
    /// A fax begins.
    Fax,
    /// A fax goes on.
    Page(u64),
    /// Somebody edits a document.
    Edit,
    /// A device registers.
    Register,
    /// Somebody listens to the messages: account and person.
    Listen(usize, usize),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) seed: u64,
    pub(super) rng: Rng,
    /// Milliseconds since the simulation's beginning.
    pub(super) now: u64,
    /// Unix milliseconds of this moment.
    pub(super) wall: u64,
    pub(super) accounts: Vec<Account>,
    pub(super) out: Vec<Publication>,
    agenda: BinaryHeap<Reverse<(u64, u64, Task)>>,
    /// What is due at the same moment comes in the order in which it was planned.
    planned: u64,
}

impl Stage {
    pub(super) fn new(seed: u64, known: &[Known], calls_per_minute: u32) -> Self {
        Self {
            seed,
            rng: Rng::new(seed),
            now: 0,
            wall: 0,
            accounts: accounts(seed, known, calls_per_minute),
            out: Vec::new(),
            agenda: BinaryHeap::new(),
            planned: 0,
        }
    }

    /// Plans something.
    pub(super) fn after(&mut self, millis: u64, task: Task) {
        self.planned += 1;
        let entry = (self.now + millis, self.planned, task);
        self.agenda.push(Reverse(entry));
    }

    /// When the next is due.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.agenda.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The next, which becomes now.
    pub(super) fn next(&mut self) -> Option<Task> {
        let Reverse((at, _, task)) = self.agenda.pop()?;
        self.now = at;
        Some(task)
    }

    /// Some account, by its part of all calls.
    pub(super) fn any_account(&mut self) -> usize {
        let weights: Vec<_> = self
            .accounts
            .iter()
            .map(|account| account.weight)
            .zip(0..)
            .collect();
        self.rng.weighted(&weights)
    }

    /// Somebody of an account who is free, and is not any more.
    pub(super) fn take(&mut self, account: usize) -> Option<usize> {
        self.accounts[account].take(self.seed, &mut self.rng)
    }

    /// Kazoo's seconds.
    pub(super) fn timestamp(&self) -> u64 {
        gregorian(self.wall / 1000)
    }

    /// `YYYYMM`
    pub(super) fn month(&self) -> String {
        iso8601(self.wall / 1000)[..7].replace('-', "")
    }

    /// Publishes a body of JSON members, without the braces.
    pub(super) fn publish_text(&mut self, exchange: &str, routing_key: String, members: &str) {
        self.out.push(Publication {
            exchange: exchange.to_owned(),
            routing_key,
            body: format!("{{{members}}}"),
        });
    }

    /// Publishes an event with the members that all have.
    pub(super) fn publish(&mut self, exchange: &str, key: String, from: From, body: &Value) {
        let From(category, name, app, node) = from;
        let common = json!({
            "App-Name": app,
            "App-Version": "4.0.0",
            "Event-Category": category,
            "Event-Name": name,
            "Msg-ID": self.rng.hex(32),
            "Node": node,
        });
        let text = format!("{},{}", members(body), members(&common));
        self.publish_text(exchange, key, &text);
    }
}

/// Category and name of an event, and the application and node that publish it.
#[derive(Debug, Clone, Copy)]
pub(super) struct From(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
);

/// A JSON object's text without its braces.
pub(super) fn members(object: &Value) -> String {
    let text = object.to_string();
    text[1..text.len() - 1].to_owned()
}
