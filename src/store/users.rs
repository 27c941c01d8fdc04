//! Users: made, changed, removed.

use rusqlite::{Connection, OptionalExtension, params};

use super::accounts::{DocumentChange, check_name, document_text};
use super::changes::{Kind, State, account_id, end_tokens, last, note};
use super::sqlite::{Store, StoreError, now, refused, touch};
use crate::auth::credentials::Hashes;
use crate::auth::{Document, PrivLevel, UserRecord};
use crate::entropy::random_id;
use crate::model::{AccountId, Secret};

const MIN_PASSWORD: usize = 8;
const MAX_PASSWORD: usize = 1024;

/// A user to be made. [`check_username`] and [`check_password`] come before the slow hashes.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// Its id; random when not given.
    pub id: Option<&'a str>,
    /// Its account.
    pub account: &'a AccountId,
    /// As [`check_username`] gave it.
    pub username: &'a str,
    /// Of its name and password, under the account's salt.
    pub hashes: &'a Hashes,
    /// What it may administer.
    pub priv_level: PrivLevel,
    /// Whether its tokens are worth nothing yet.
    pub disabled: bool,
    /// The client's own fields.
    pub document: Document,
}

/// What is to be another; `None` stays.
#[derive(Debug, Default)]
pub struct UserChange {
    /// Another name (as [`check_username`] gave it) and the hashes of that and a password: neither
    /// can change without the other. All tokens end.
    pub login: Option<(String, Hashes)>,
    /// What it may administer.
    pub priv_level: Option<PrivLevel>,
    /// Whether its tokens are worth something.
    pub enabled: Option<bool>,
    /// The client's own fields.
    pub document: Option<DocumentChange>,
}

/// The name as it is stored: without the space around it, in lower case.
pub fn check_username(username: &str) -> Result<String, StoreError> {
    let name = check_name("username", username)?.to_lowercase();
    if name.contains(':') {
        let reason = format!("username {name:?}: a colon is not allowed");
        return Err(refused("username", "pattern", reason));
    }
    Ok(name)
}

/// Long enough, and not without end.
pub fn check_password(password: &str) -> Result<(), StoreError> {
    if password.len() < MIN_PASSWORD {
        let reason = format!("password: {MIN_PASSWORD} bytes or more are needed");
        return Err(refused("password", "minLength", reason));
    }
    if password.len() > MAX_PASSWORD {
        let reason = format!("password: at most {MAX_PASSWORD} bytes are allowed");
        return Err(refused("password", "maxLength", reason));
    }
    Ok(())
}

impl Store {
    /// Makes a user.
    pub fn create_user(&mut self, new: &NewUser<'_>) -> Result<UserRecord, StoreError> {
        let document = document_text(&new.document)?;
        let transaction = self.begin()?;
        let known: u32 = transaction.query_row(
            "SELECT count(*) FROM users WHERE account = ?1 AND username = ?2",
            [new.account.as_str(), new.username],
            |row| row.get(0),
        )?;
        if known > 0 {
            return Err(exists(new.account, new.username));
        }
        let id = new.id.map_or_else(random_id, str::to_owned);
        insert_user(
            &transaction,
            &id,
            new.account,
            new.username,
            new.hashes,
            new.priv_level,
            &document,
        )
        .map_err(|error| taken(error, new.account, new.username))?;
        if new.disabled {
            transaction.execute("UPDATE users SET enabled = 0 WHERE id = ?1", [&id])?;
        }
        if last(&transaction, Kind::User, &id)?.is_some() {
            // It was deleted once, and nobody shall delete it again for that.
            let state = State {
                enabled: !new.disabled,
                ..State::default()
            };
            note(&transaction, Kind::User, &id, state, false)?;
        }
        touch(&transaction)?;
        transaction.commit()?;
        self.user(&id)
    }

    /// Changes a user of an account.
    pub fn change_user(
        &mut self,
        account: &AccountId,
        id: &str,
        change: &UserChange,
    ) -> Result<UserRecord, StoreError> {
        let login = change.login.as_ref();
        let secret = self.node_secret()?;
        let transaction = self.begin()?;
        let query = "SELECT document FROM users WHERE id = ?1";
        let document = change.document.as_ref();
        let document = document.map(|change| change.of(&transaction, query, id));
        let document = document.transpose()?;
        let enabled = transaction
            .query_row(
                "UPDATE users SET username = coalesce(?3, username),
                 md5_hash = coalesce(?4, md5_hash), sha1_hash = coalesce(?5, sha1_hash),
                 priv_level = coalesce(?6, priv_level), enabled = coalesce(?7, enabled),
                 document = coalesce(?8, document)
                 WHERE id = ?1 AND account = ?2 RETURNING enabled",
                params![
                    id,
                    account.as_str(),
                    login.map(|(name, _)| name),
                    login.map(|(_, hashes)| &hashes.md5),
                    login.map(|(_, hashes)| &hashes.sha1),
                    change.priv_level.map(PrivLevel::as_str),
                    change.enabled,
                    document
                ],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| {
                let name = login.map_or("", |(name, _)| name);
                taken(error, account, name)
            })?
            .ok_or_else(|| unknown(id))?;
        let state = State {
            enabled,
            ..State::default()
        };
        let change = note(&transaction, Kind::User, id, state, login.is_some())?;
        if login.is_some() {
            end_tokens(&transaction, id, change.state.tokens_ended, &secret)?;
        }
        transaction.commit()?;
        self.news.changes.push(change);
        self.user(id)
    }

    /// Removes a user of an account.
    pub fn delete_user(&mut self, account: &AccountId, id: &str) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        let rows = transaction.execute(
            "DELETE FROM users WHERE id = ?1 AND account = ?2",
            [id, account.as_str()],
        )?;
        if rows == 0 {
            return Err(unknown(id));
        }
        let state = State {
            deleted: true,
            ..State::default()
        };
        let change = note(&transaction, Kind::User, id, state, true)?;
        transaction.commit()?;
        self.news.changes.push(change);
        Ok(())
    }

    /// All users, in the order in which they were made.
    pub fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        let mut query = self.connection.prepare(
            "SELECT id, account, username, priv_level, enabled, signature_secret, md5_hash,
             sha1_hash, document, created FROM users ORDER BY created, rowid",
        )?;
        let rows = query.query_map([], |row| {
            let account: String = row.get(1)?;
            let level: String = row.get(3)?;
            let document: String = row.get(8)?;
            Ok(UserRecord {
                id: row.get(0)?,
                account: account_id(1, &account)?,
                username: row.get(2)?,
                priv_level: PrivLevel::parse(&level).unwrap_or(PrivLevel::User),
                enabled: row.get(4)?,
                signature_secret: Secret::new(row.get::<_, String>(5)?),
                hashes: Hashes {
                    md5: row.get(6)?,
                    sha1: row.get(7)?,
                },
                document: serde_json::from_str(&document).unwrap_or_default(),
                created: row.get(9)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn user(&self, id: &str) -> Result<UserRecord, StoreError> {
        let users = self.users()?;
        let found = users.into_iter().find(|user| user.id == id);
        found.ok_or_else(|| unknown(id))
    }
}

pub(super) fn insert_user(
    connection: &Connection,
    id: &str,
    account: &AccountId,
    username: &str,
    hashes: &Hashes,
    priv_level: PrivLevel,
    document: &str,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO users (id, account, username, priv_level, signature_secret, md5_hash,
         sha1_hash, document, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            id,
            account.as_str(),
            username,
            priv_level.as_str(),
            random_id(),
            hashes.md5,
            hashes.sha1,
            document,
            now()
        ],
    )?;
    Ok(())
}

fn unknown(id: &str) -> StoreError {
    refused("user", "not_found", format!("user {id:?} is not known"))
}

fn exists(account: &AccountId, username: &str) -> StoreError {
    let reason = format!("user {username:?} exists already in account {account}");
    refused("username", "unique", reason)
}

fn taken(error: rusqlite::Error, account: &AccountId, username: &str) -> StoreError {
    match &error {
        rusqlite::Error::SqliteFailure(failure, _)
            if failure.code == rusqlite::ErrorCode::ConstraintViolation =>
        {
            exists(account, username)
        }
        _ => error.into(),
    }
}
