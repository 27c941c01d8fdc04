//! What nodes with databases of their own have to learn from each other: which tokens were revoked,
//! and what became of accounts and users. Nothing of it is a secret. The last change of each counts,
//! whatever the order in which the news come.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::sqlite::{Store, StoreError, touch};
use crate::entropy::random_id;
use crate::model::clock::{unix_millis, unix_now};
use crate::model::id::{hex, is_hex32, unhex32};
use crate::model::{AccountId, TokenDigest};

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
#[serde(default)]
pub struct State {
    /// Its tokens are worth something.
    pub enabled: bool,
    /// It is no more.
    pub deleted: bool,
    /// The account above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// All its tokens were ended: its password was changed.
    pub tokens_ended: bool,
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

    /// Takes over what another node tells, as far as it is newer than what is known here and about
    /// something that is here. Nothing of it is told on.
    pub fn learn(&mut self, news: &News) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        for token in &news.revoked {
            if unhex32(&token.digest).is_some() {
                insert_revoked(&transaction, token)?;
            }
        }
        let mut changed = false;
        for change in &news.changes {
            let known: Option<i64> = transaction
                .query_row(
                    "SELECT at FROM changes WHERE kind = ?1 AND id = ?2",
                    [change.kind.as_str(), &change.id],
                    |row| row.get(0),
                )
                .optional()?;
            if known.is_none_or(|known| change.at > known) && apply(&transaction, change)? {
                write(&transaction, change)?;
                changed = true;
            }
        }
        if changed {
            touch(&transaction)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Notes a change made here, as part of its transaction.
pub(super) fn note(
    connection: &Connection,
    kind: Kind,
    id: &str,
    state: State,
) -> rusqlite::Result<Change> {
    let known: Option<i64> = connection
        .query_row(
            "SELECT at FROM changes WHERE kind = ?1 AND id = ?2",
            [kind.as_str(), id],
            |row| row.get(0),
        )
        .optional()?;
    let change = Change {
        kind,
        id: id.to_owned(),
        // Never older than the one before, whatever the clock does.
        at: known.map_or_else(unix_millis, |known| unix_millis().max(known + 1)),
        state,
    };
    write(connection, &change)?;
    touch(connection)?;
    Ok(change)
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

/// Brings one account or user to what another node says; false: there is none here.
fn apply(connection: &Connection, change: &Change) -> rusqlite::Result<bool> {
    let (id, state) = (&change.id, &change.state);
    let rows = match (change.kind, state.deleted) {
        (Kind::Account, true) => delete_account(connection, id)?,
        (Kind::User, true) => connection.execute("DELETE FROM users WHERE id = ?1", [id])?,
        (Kind::Account, false) => {
            let parent = state.parent.as_deref().filter(|parent| is_hex32(parent));
            if let Some(parent) = parent {
                connection.execute(
                    "UPDATE accounts SET parent = ?2 WHERE id = ?1 AND parent IS NOT NULL
                     AND EXISTS (SELECT 1 FROM accounts WHERE id = ?2)",
                    [id, parent],
                )?;
            }
            connection.execute(
                "UPDATE accounts SET enabled = ?2 WHERE id = ?1",
                params![id, state.enabled],
            )?
        }
        (Kind::User, false) => connection.execute(
            "UPDATE users SET enabled = ?2,
             signature_secret = CASE ?3 WHEN 1 THEN ?4 ELSE signature_secret END WHERE id = ?1",
            params![id, state.enabled, state.tokens_ended, random_id()],
        )?,
    };
    Ok(rows > 0)
}

/// With its users; its children stay where they are, since nothing told of them.
fn delete_account(connection: &Connection, id: &str) -> rusqlite::Result<usize> {
    let children: u32 = connection.query_row(
        "SELECT count(*) FROM accounts WHERE parent = ?1",
        [id],
        |row| row.get(0),
    )?;
    if children > 0 {
        return connection.execute("UPDATE accounts SET enabled = 0 WHERE id = ?1", [id]);
    }
    remove_account(connection, id)
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
