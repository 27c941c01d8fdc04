//! The rules in force, checked: what `parse.rs` makes of the TOML.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Deserialize;

/// What stands for the month in a subscription key of a monthly database. No real month looks so.
pub const MONTH: &str = "YYYYMM";

/// Holes filled from the subscribed account.
pub(super) const ACCOUNT_HOLES: [&str; 4] = ["account", "realm", "db", "modb"];

/// All categories and exchanges in force.
#[derive(Debug)]
pub struct Catalogue {
    pub(super) categories: Vec<Category>,
    pub(super) exchanges: HashMap<String, Exchange>,
    /// Names of categories that nobody may subscribe to for now.
    pub(super) stopped: ArcSwap<Vec<String>>,
}

/// A topic exchange from which events come, and how to read them.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The exchange's name on the broker.
    pub name: String,
    /// Paths in the body that name the event's account; the first that is there counts.
    pub account: Vec<Vec<String>>,
    /// The word of the routing key that is an account database, for bodies without an account.
    pub account_word: Option<usize>,
    /// How the event's own routing key is made.
    pub key_step: KeyStep,
}

/// A named step in code: how an event gets its routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStep {
    /// As it was published.
    Published,
    /// `call.{account}.{Event-Name}.e({Call-ID})` from the body (kazoo-amqp.md 2.2).
    Call,
}

/// Who gets an event whose body names no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Unnamed {
    /// Subscribers of account `*` only.
    #[default]
    AllAccounts,
    /// Whoever holds the key, for the key itself belongs to one account.
    Key,
}

#[derive(Debug)]
pub(super) struct Category {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) invalid_format: String,
    pub(super) listed_without_category: bool,
    pub(super) forms: Vec<Form>,
}

#[derive(Debug)]
pub(super) struct Form {
    pub(super) words: Vec<Word>,
    /// A last `#`: any further words fit.
    pub(super) open_end: bool,
    pub(super) about: String,
    pub(super) listed: bool,
    pub(super) all_accounts: bool,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Refuse(String),
    Subscribe(Vec<Rule>),
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) when: BTreeMap<String, Vec<String>>,
    pub(super) key: Template,
    pub(super) exchange: String,
    pub(super) amqp: Template,
    pub(super) unnamed: Unnamed,
}

#[derive(Debug, Clone)]
pub(super) enum Word {
    Literal(String),
    Field(String, Field),
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    pub(super) one_of: Option<Vec<String>>,
    wildcard: Option<Wildcard>,
    pub(super) error: Option<String>,
    pub(super) wildcard_error: Option<String>,
    #[serde(default = "yes")]
    pub(super) listed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wildcard {
    Allow,
    Refuse,
    Each,
    Superduper,
}

fn yes() -> bool {
    true
}

/// A text with `{holes}`.
#[derive(Debug, Clone)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Hole(String),
}

impl Catalogue {
    /// How to read events of an exchange; `None`: no category takes events from it.
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.get(name)
    }

    /// Names of all exchanges from which a category takes events.
    pub fn exchanges(&self) -> impl Iterator<Item = &str> {
        self.exchanges.keys().map(String::as_str)
    }

    /// Whether there is a category of this name.
    pub fn has(&self, category: &str) -> bool {
        self.categories.iter().any(|known| known.name == category)
    }

    /// Categories that nobody may subscribe to from now on; all others may be subscribed to. What is
    /// subscribed already stays.
    pub fn stop(&self, categories: Vec<String>) {
        self.stopped.store(Arc::new(categories));
    }

    /// Names of the categories that nobody may subscribe to.
    pub fn stopped(&self) -> Arc<Vec<String>> {
        self.stopped.load_full()
    }
}

impl Field {
    pub(super) fn wildcard(&self) -> Wildcard {
        let default = match self.one_of {
            Some(_) => Wildcard::Refuse,
            None => Wildcard::Allow,
        };
        self.wildcard.unwrap_or(default)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self.wildcard() {
            Wildcard::Each if self.one_of.is_none() => Err("wildcard \"each\" needs one_of".into()),
            Wildcard::Superduper if self.wildcard_error.is_none() => {
                Err("wildcard \"superduper\" needs wildcard_error".into())
            }
            _ => Ok(()),
        }
    }
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let close = rest[open..]
                .find('}')
                .ok_or_else(|| format!("{text:?} has an open brace without its end"))?;
            pieces.push(Piece::Text(rest[..open].to_owned()));
            pieces.push(Piece::Hole(rest[open + 1..open + close].to_owned()));
            rest = &rest[open + close + 1..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let template = Self(pieces);
        if text.is_empty() || text.split('.').any(str::is_empty) {
            return Err(format!("{text:?} has an empty word"));
        }
        Ok(template)
    }

    pub(super) fn holes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Hole(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text with its holes filled; `None` when one has no value.
    pub(super) fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        self.0.iter().try_fold(String::new(), |mut out, piece| {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Hole(name) => value(name)?,
            });
            Some(out)
        })
    }
}
