//! What nodes with databases of their own have to learn from each other: which tokens were revoked,
//! and what became of accounts and users. Nothing of it is a secret. The last change of each counts,
//! whatever the order in which the news come.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::sqlite::{Store, StoreError, touch};
use crate::auth::token::token_secret;
use crate::model::clock::{unix_millis, unix_now};
use crate::model::id::{hex, unhex32};
use crate::model::{AccountId, Secret, TokenDigest};

/// Milliseconds that another node's clock may be ahead of ours.
const MAX_AHEAD: i64 = 5 * 60 * 1000;

/// What others have to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct News {
    /// Tokens that are worth nothing any more.
    pub revoked: Vec<RevokedToken>,
    /// Accounts and users.
    pub changes: Vec<Change>,
}

/// A token that somebody logged out with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedToken {
    /// 64 hex digits, [`TokenDigest`].
    pub digest: String,
    /// Unix seconds from which on it would be worth nothing anyway.
    pub expires: u64,
}

/// What an account or a user has become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Account or user.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// Unix milliseconds of the change.
    pub at: i64,
    /// What it is now.
    #[serde(flatten)]
    pub state: State,
}

/// Of what a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An account.
    Account,
    /// A user.
    User,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::User => "user",
        }
    }
}

/// As far as it is no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its tokens are worth something.
    pub enabled: bool,
    /// It is no more.
    #[serde(default)]
    pub deleted: bool,
    /// The account above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Unix milliseconds of its last new password, which ended all tokens of before; 0: none. Every
    /// later change carries it on, and the latest counts, whichever change is the latest.
    #[serde(default)]
    pub tokens_ended: i64,
}

impl News {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty() && self.changes.is_empty()
    }
}

impl Store {
    /// Remembers that a token is worth nothing, until it expires.
    pub fn revoke(&mut self, token: &TokenDigest, expires: u64) -> Result<(), StoreError> {
        let token = RevokedToken {
            digest: hex(&token.0),
            expires,
        };
        insert_revoked(&self.connection, &token)?;
        self.news.revoked.push(token);
        Ok(())
    }

    /// Tokens that are revoked and have not expired.
    pub fn revoked(&self) -> Result<Vec<RevokedToken>, StoreError> {
        let mut query = self
            .connection
            .prepare("SELECT digest, expires FROM revoked WHERE expires > ?1")?;
        let rows = query.query_map([seconds(unix_now())], |row| {
            Ok(RevokedToken {
                digest: row.get(0)?,
                expires: row.get(1)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Everything that a node which was away may have missed.
    pub fn all_news(&self) -> Result<News, StoreError> {
        let mut query = self
            .connection
            .prepare("SELECT kind, id, at, state FROM changes")?;
        let rows = query.query_map([], |row| {
            let kind: String = row.get(0)?;
            let state: String = row.get(3)?;
            Ok(Change {
                kind: if kind == "user" {
                    Kind::User
                } else {
                    Kind::Account
                },
                id: row.get(1)?,
                at: row.get(2)?,
                state: serde_json::from_str(&state).unwrap_or_default(),
            })
        })?;
        Ok(News {
            changes: rows.collect::<Result<_, _>>()?,
            revoked: self.revoked()?,
        })
    }

    /// Accounts and users that are no more, by their ids.
    pub(super) fn gone(&self) -> Result<HashSet<String>, StoreError> {
        let mut query = self
            .connection
            .prepare("SELECT id FROM changes WHERE state ->> 'deleted'")?;
        let rows = query.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Takes over what another node tells, as far as it is newer than what is known here and about
    /// something that is here. Nothing of it is told on.
    pub fn learn(&mut self, news: &News) -> Result<(), StoreError> {
        let secret = self.node_secret()?;
        let latest = unix_millis().saturating_add(MAX_AHEAD);
        let transaction = self.begin()?;
        for token in &news.revoked {
            if unhex32(&token.digest).is_some() {
                insert_revoked(&transaction, token)?;
            }
        }
        // What a clock far ahead says would stand against every later change.
        let (sound, ahead): (Vec<_>, Vec<_>) =
            news.changes.iter().partition(|change| change.at <= latest);
        if !ahead.is_empty() {
            let number = ahead.len();
            tracing::warn!(
                number,
                "changes of another node are of the future: its clock is wrong"
            );
        }
        let mut left = sound;
        let mut changed = false;
        // An account goes after those below it, and finds its parent after that has come.
        loop {
            let before = left.len();
            let mut waiting = Vec::new();
            for change in left {
                match learn_one(&transaction, change, &secret)? {
                    Learned::Known => {}
                    Learned::Applied => changed = true,
                    Learned::Waits => waiting.push(change),
                }
            }
            if waiting.is_empty() || waiting.len() == before {
                left = waiting;
                break;
            }
            left = waiting;
        }
        for change in &left {
            // Nothing is noted: it is tried again with the next news. Until then nobody gets in.
            let id = &change.id;
            tracing::warn!(
                account = id,
                "a change of another node does not fit the accounts here"
            );
            let disable = "UPDATE accounts SET enabled = 0 WHERE id = ?1 AND parent IS NOT NULL";
            transaction.execute(disable, [id])?;
            changed = true;
        }
        if changed {
            touch(&transaction)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// What became of a change that another node told.
enum Learned {
    /// It is not news, or about nothing that is here.
    Known,
    Applied,
    /// Another has to come first.
    Waits,
}

fn learn_one(
    connection: &Connection,
    change: &Change,
    secret: &Secret,
) -> rusqlite::Result<Learned> {
    let known = last(connection, change.kind, &change.id)?;
    let mut change = change.clone();
    let mut learned = Learned::Known;
    let ended = known.as_ref().map_or(0, |(_, state)| state.tokens_ended);
    if change.state.tokens_ended > ended {
        end_tokens(connection, &change.id, change.state.tokens_ended, secret)?;
        if let Some((at, state)) = &known {
            let state = State {
                tokens_ended: change.state.tokens_ended,
                ..state.clone()
            };
            write(
                connection,
                &Change {
                    at: *at,
                    state,
                    ..change.clone()
                },
            )?;
        }
        learned = Learned::Applied;
    }
    change.state.tokens_ended = change.state.tokens_ended.max(ended);
    if known.is_some_and(|(at, _)| change.at <= at) {
        return Ok(learned);
    }
    match apply(connection, &change)? {
        Learned::Applied => {
            write(connection, &change)?;
            Ok(Learned::Applied)
        }
        Learned::Known => Ok(learned),
        Learned::Waits => Ok(Learned::Waits),
    }
}

/// Notes a change made here, as part of its transaction. `ends_tokens`: none of a user's tokens is
/// worth anything from now on.
pub(super) fn note(
    connection: &Connection,
    kind: Kind,
    id: &str,
    state: State,
    ends_tokens: bool,
) -> rusqlite::Result<Change> {
    let known = last(connection, kind, id)?;
    // Never older than the one before, whatever the clock does.
    let now = unix_millis();
    let at = known
        .as_ref()
        .map_or(now, |(at, _)| now.max(at.saturating_add(1)));
    let ended = known.map_or(0, |(_, state)| state.tokens_ended);
    let change = Change {
        kind,
        id: id.to_owned(),
        at,
        state: State {
            tokens_ended: if ends_tokens { at } else { ended },
            ..state
        },
    };
    write(connection, &change)?;
    touch(connection)?;
    Ok(change)
}

/// The last change that is known of an account or a user.
pub(super) fn last(
    connection: &Connection,
    kind: Kind,
    id: &str,
) -> rusqlite::Result<Option<(i64, State)>> {
    connection
        .query_row(
            "SELECT at, state FROM changes WHERE kind = ?1 AND id = ?2",
            [kind.as_str(), id],
            |row| {
                let state: String = row.get(1)?;
                Ok((
                    row.get(0)?,
                    serde_json::from_str(&state).unwrap_or_default(),
                ))
            },
        )
        .optional()
}

fn write(connection: &Connection, change: &Change) -> rusqlite::Result<()> {
    let state = serde_json::to_string(&change.state).unwrap_or_default();
    connection.execute(
        "INSERT INTO changes (kind, id, at, state) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (kind, id) DO UPDATE SET at = excluded.at, state = excluded.state",
        params![change.kind.as_str(), change.id, change.at, state],
    )?;
    Ok(())
}

/// Brings one account or user to what another node says. Never the master account.
fn apply(connection: &Connection, change: &Change) -> rusqlite::Result<Learned> {
    let (id, state) = (&change.id, &change.state);
    let rows = match (change.kind, state.deleted) {
        (Kind::Account, _) if !is_below_another(connection, id)? => 0,
        (Kind::Account, true) if has_children(connection, id)? => return Ok(Learned::Waits),
        (Kind::Account, true) => remove_account(connection, id)?,
        (Kind::User, true) => connection.execute("DELETE FROM users WHERE id = ?1", [id])?,
        (Kind::Account, false) => {
            if let Some(parent) = &state.parent {
                if !may_move(connection, id, parent)? {
                    return Ok(Learned::Waits);
                }
                let moving = "UPDATE accounts SET parent = ?2 WHERE id = ?1";
                connection.execute(moving, [id, parent])?;
            }
            connection.execute(
                "UPDATE accounts SET enabled = ?2 WHERE id = ?1",
                params![id, state.enabled],
            )?
        }
        (Kind::User, false) => connection.execute(
            "UPDATE users SET enabled = ?2 WHERE id = ?1",
            params![id, state.enabled],
        )?,
    };
    Ok(if rows > 0 {
        Learned::Applied
    } else {
        Learned::Known
    })
}

/// A new secret for a user's tokens. It is the same on all nodes that share the installation's secret,
/// and no message has to carry it.
pub(super) fn end_tokens(
    connection: &Connection,
    user: &str,
    at: i64,
    secret: &Secret,
) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE users SET signature_secret = ?2 WHERE id = ?1",
        [user, &token_secret(secret, user, at)],
    )?;
    Ok(())
}

/// Whether an account may stand under another: that is there, and is not the account itself or below
/// it.
pub(super) fn may_move(connection: &Connection, id: &str, to: &str) -> rusqlite::Result<bool> {
    let mut above = Some(to.to_owned());
    // No tree is deeper than this; a loop in the data must not loop here.
    for _ in 0..10_000 {
        let Some(next) = above else { return Ok(true) };
        if next == id {
            return Ok(false);
        }
        let parent = connection
            .query_row("SELECT parent FROM accounts WHERE id = ?1", [next], |row| {
                row.get(0)
            })
            .optional()?;
        let Some(parent) = parent else {
            return Ok(false);
        };
        above = parent;
    }
    Ok(false)
}

fn is_below_another(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    let query = "SELECT count(*) FROM accounts WHERE id = ?1 AND parent IS NOT NULL";
    let count: u32 = connection.query_row(query, [id], |row| row.get(0))?;
    Ok(count > 0)
}

pub(super) fn has_children(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    let query = "SELECT count(*) FROM accounts WHERE parent = ?1";
    let count: u32 = connection.query_row(query, [id], |row| row.get(0))?;
    Ok(count > 0)
}

/// An account without children, and its users.
pub(super) fn remove_account(connection: &Connection, id: &str) -> rusqlite::Result<usize> {
    connection.execute("DELETE FROM users WHERE account = ?1", [id])?;
    connection.execute("DELETE FROM accounts WHERE id = ?1", [id])
}

fn insert_revoked(connection: &Connection, token: &RevokedToken) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM revoked WHERE expires <= ?1",
        [seconds(unix_now())],
    )?;
    connection.execute(
        "INSERT OR IGNORE INTO revoked (digest, expires) VALUES (?1, ?2)",
        params![token.digest, seconds(token.expires)],
    )?;
    Ok(())
}

/// SQLite's integers are signed.
fn seconds(unix: u64) -> i64 {
    i64::try_from(unix).unwrap_or(i64::MAX)
}

/// The account id of a column.
pub(super) fn account_id(column: usize, text: &str) -> rusqlite::Result<AccountId> {
    AccountId::parse(text).ok_or_else(|| {
        let error = format!("{text:?} is no account id").into();
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    })
}
