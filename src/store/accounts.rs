//! Accounts: made, changed, moved, removed.

use rusqlite::{Connection, OptionalExtension, params};

use super::changes::{Kind, State, account_id, has_children, last, may_move, note, remove_account};
use super::sqlite::{Store, StoreError, now, refused, touch};
use crate::auth::token::sha256;
use crate::auth::{AccountRecord, Document};
use crate::entropy::{fill, random_id};
use crate::model::id::{hex, is_hex32, unhex32};
use crate::model::{AccountId, Secret};

/// Characters of an API key: two random ids.
pub const API_KEY_LENGTH: usize = 64;
const MAX_NAME: usize = 128;
/// Encoded, as it stands in routing keys, which have 255 bytes at most.
const MAX_REALM: usize = 200;
/// Bytes of the fields that clients add to an account or a user, as JSON.
const MAX_DOCUMENT: usize = 16 * 1024;

/// An account to be made.
#[derive(Debug, Default)]
pub struct NewAccount<'a> {
    /// Its name.
    pub name: &'a str,
    /// Id or name of the account above; the master account when not given.
    pub parent: Option<&'a str>,
    /// Its realm; one below the parent's realm when not given.
    pub realm: Option<&'a str>,
    /// Its id; random when not given.
    pub id: Option<&'a str>,
    /// Whether its users may see account `*`.
    pub superduper: bool,
    /// Whether its tokens are worth nothing yet.
    pub disabled: bool,
    /// The client's own fields.
    pub document: Document,
}

/// What is to be another; `None` stays.
#[derive(Debug, Default)]
pub struct AccountChange {
    /// Its name.
    pub name: Option<String>,
    /// Its realm.
    pub realm: Option<String>,
    /// Whether its tokens are worth something.
    pub enabled: Option<bool>,
    /// The client's own fields.
    pub document: Option<DocumentChange>,
}

/// What becomes of the fields that clients add to an account or a user.
#[derive(Debug)]
pub enum DocumentChange {
    /// These take the place of all others.
    Replace(Document),
    /// These are changed, `null` removes one, the others stay.
    Merge(Document),
}

impl DocumentChange {
    /// The new text, bounded. The old one is read, with `query`, in the transaction that writes it.
    pub(super) fn of(
        &self,
        connection: &Connection,
        query: &str,
        id: &str,
    ) -> Result<String, StoreError> {
        let mut document = match self {
            Self::Replace(document) => document.clone(),
            Self::Merge(changes) => {
                let old = connection.query_row(query, [id], |row| row.get::<_, String>(0));
                let old = old.optional()?.unwrap_or_default();
                let mut merged: Document = serde_json::from_str(&old).unwrap_or_default();
                merged.extend(changes.clone());
                merged
            }
        };
        document.retain(|_, value| !value.is_null());
        document_text(&document)
    }
}

impl Store {
    /// Makes an account.
    pub fn create_account(&mut self, new: &NewAccount<'_>) -> Result<AccountRecord, StoreError> {
        let name = check_name("name", new.name)?;
        let id = new.id.map_or_else(random_id, str::to_owned);
        if !is_hex32(&id) {
            let reason = format!("id {id:?}: 32 lower-case hex digits are allowed");
            return Err(refused("id", "pattern", reason));
        }
        let parent = match new.parent {
            Some(text) => self.find_account(text)?,
            None => self.master()?,
        };
        let below = parent.realm.as_deref().unwrap_or("blackhole.local");
        let realm = new
            .realm
            .map_or_else(|| made_up_realm(below), str::to_lowercase);
        check_realm(&realm)?;
        let row = NewRow {
            enabled: !new.disabled,
            document: document_text(&new.document)?,
            ..NewRow::new(id.clone(), name, &realm, Some(&parent.id), new.superduper)
        };
        let transaction = self.begin()?;
        insert_account(&transaction, &row).map_err(|error| taken(error, &id, &realm))?;
        if last(&transaction, Kind::Account, &id)?.is_some() {
            // It was deleted once, and nobody shall delete it again for that.
            let state = State {
                enabled: row.enabled,
                parent: Some(parent.id.to_string()),
                ..State::default()
            };
            note(&transaction, Kind::Account, &id, state, false)?;
        }
        touch(&transaction)?;
        transaction.commit()?;
        self.find_account(&id)
    }

    /// Changes an account.
    pub fn change_account(
        &mut self,
        id: &AccountId,
        change: &AccountChange,
    ) -> Result<AccountRecord, StoreError> {
        if let Some(name) = &change.name {
            check_name("name", name)?;
        }
        let realm = change.realm.as_deref().map(str::to_lowercase);
        if let Some(realm) = &realm {
            check_realm(realm)?;
        }
        let transaction = self.begin()?;
        let query = "SELECT document FROM accounts WHERE id = ?1";
        let document = change.document.as_ref();
        let document = document.map(|change| change.of(&transaction, query, id.as_str()));
        let document = document.transpose()?;
        let changed = transaction
            .query_row(
                "UPDATE accounts SET name = coalesce(?2, name), realm = coalesce(?3, realm),
                 enabled = coalesce(?4, enabled), document = coalesce(?5, document)
                 WHERE id = ?1 RETURNING enabled, parent",
                params![
                    id.as_str(),
                    change.name.as_deref().map(str::trim),
                    realm,
                    change.enabled,
                    document
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(|error| taken(error, id.as_str(), realm.as_deref().unwrap_or_default()))?;
        let (enabled, parent) = changed.ok_or_else(|| unknown(id.as_str()))?;
        let state = State {
            enabled,
            parent,
            ..State::default()
        };
        let change = note(&transaction, Kind::Account, id.as_str(), state, false)?;
        transaction.commit()?;
        self.news.changes.push(change);
        self.find_account(id.as_str())
    }

    /// Puts an account, with all below it, under another.
    pub fn move_account(
        &mut self,
        id: &AccountId,
        to: &AccountId,
    ) -> Result<AccountRecord, StoreError> {
        let transaction = self.begin()?;
        let known = "SELECT count(*) FROM accounts WHERE id = ?1";
        let count: u32 = transaction.query_row(known, [to.as_str()], |row| row.get(0))?;
        if count == 0 {
            return Err(unknown(to.as_str()));
        }
        if !may_move(&transaction, id.as_str(), to.as_str())? {
            let reason = format!("account {to} is {id} itself or lies below it");
            return Err(refused("to", "forbidden", reason));
        }
        let enabled = transaction
            .query_row(
                "UPDATE accounts SET parent = ?2 WHERE id = ?1 AND parent IS NOT NULL RETURNING enabled",
                [id.as_str(), to.as_str()],
                |row| row.get(0),
            )
            .optional()?
            .ok_or_else(|| unknown(id.as_str()))?;
        let state = State {
            enabled,
            parent: Some(to.to_string()),
            ..State::default()
        };
        let change = note(&transaction, Kind::Account, id.as_str(), state, false)?;
        transaction.commit()?;
        self.news.changes.push(change);
        self.find_account(id.as_str())
    }

    /// Removes an account with its users. One with accounts below it stays.
    pub fn delete_account(&mut self, id: &AccountId) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        if has_children(&transaction, id.as_str())? {
            let reason = format!("account {id} has accounts below it");
            return Err(refused("account", "has_descendants", reason));
        }
        if remove_account(&transaction, id.as_str())? == 0 {
            return Err(unknown(id.as_str()));
        }
        let state = State {
            deleted: true,
            ..State::default()
        };
        let change = note(&transaction, Kind::Account, id.as_str(), state, false)?;
        transaction.commit()?;
        self.news.changes.push(change);
        Ok(())
    }

    /// Makes another API key for an account; the old one is worth nothing any more. Of a key only its
    /// SHA-256 is kept: it is random, so that no slow hash is needed.
    pub fn new_api_key(&mut self, id: &AccountId) -> Result<Secret, StoreError> {
        let key = format!("{}{}", random_id(), random_id());
        let transaction = self.begin()?;
        let rows = transaction.execute(
            "UPDATE accounts SET api_key = ?2 WHERE id = ?1",
            [id.as_str(), &hex(&sha256(&key))],
        )?;
        if rows == 0 {
            return Err(unknown(id.as_str()));
        }
        touch(&transaction)?;
        transaction.commit()?;
        Ok(Secret::new(key))
    }

    /// All accounts, in the order in which they were made.
    pub fn accounts(&self) -> Result<Vec<AccountRecord>, StoreError> {
        let mut query = self.connection.prepare(
            "SELECT id, name, realm, parent, enabled, superduper, signature_secret, salt, api_key,
             document, created FROM accounts ORDER BY created, rowid",
        )?;
        let rows = query.query_map([], |row| {
            let id: String = row.get(0)?;
            let parent: Option<String> = row.get(3)?;
            let api_key: Option<String> = row.get(8)?;
            let document: String = row.get(9)?;
            Ok(AccountRecord {
                id: account_id(0, &id)?,
                name: row.get(1)?,
                realm: row.get(2)?,
                parent: parent.map(|parent| account_id(3, &parent)).transpose()?,
                enabled: row.get(4)?,
                superduper: row.get(5)?,
                signature_secret: Secret::new(row.get::<_, String>(6)?),
                salt: row.get(7)?,
                api_key: api_key.as_deref().and_then(unhex32),
                document: serde_json::from_str(&document).unwrap_or_default(),
                created: row.get(10)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One account by id or, where only one has it, by name.
    pub fn find_account(&self, id_or_name: &str) -> Result<AccountRecord, StoreError> {
        let accounts = self.accounts()?;
        if let Some(found) = accounts
            .iter()
            .find(|account| account.id.as_str() == id_or_name)
        {
            return Ok(found.clone());
        }
        let named: Vec<_> = accounts
            .iter()
            .filter(|account| account.name == id_or_name)
            .collect();
        match named.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(unknown(id_or_name)),
            several => {
                let ids: Vec<_> = several.iter().map(|account| account.id.as_str()).collect();
                let reason = format!(
                    "account {id_or_name:?} is the name of several, use an id: {}",
                    ids.join(", ")
                );
                Err(refused("account", "unique", reason))
            }
        }
    }

    /// The account above all others.
    pub fn master(&self) -> Result<AccountRecord, StoreError> {
        let accounts = self.accounts()?;
        let master = accounts
            .into_iter()
            .find(|account| account.parent.is_none());
        master.ok_or_else(|| {
            let reason = "there is no account yet: start `blackhole` once";
            refused("account", "not_found", reason.into())
        })
    }
}

/// A row of the table `accounts`.
pub(super) struct NewRow<'a> {
    pub(super) id: String,
    name: &'a str,
    realm: &'a str,
    parent: Option<&'a AccountId>,
    superduper: bool,
    enabled: bool,
    document: String,
    pub(super) salt: [u8; 16],
}

impl<'a> NewRow<'a> {
    pub(super) fn new(
        id: String,
        name: &'a str,
        realm: &'a str,
        parent: Option<&'a AccountId>,
        superduper: bool,
    ) -> Self {
        let mut salt = [0; 16];
        fill(&mut salt);
        Self {
            id,
            name,
            realm,
            parent,
            superduper,
            enabled: true,
            document: "{}".into(),
            salt,
        }
    }
}

pub(super) fn insert_account(connection: &Connection, row: &NewRow<'_>) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO accounts
         (id, name, realm, parent, enabled, superduper, signature_secret, salt, document, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            row.id,
            row.name,
            row.realm,
            row.parent.map(AccountId::as_str),
            row.enabled,
            row.superduper,
            random_id(),
            row.salt,
            row.document,
            now()
        ],
    )?;
    Ok(())
}

/// A realm below another, or below as much of it as leaves room: trees may be deep.
fn made_up_realm(below: &str) -> String {
    let label = random_id();
    let mut below = below;
    loop {
        let realm = format!("{}.{below}", &label[..6]);
        match below.split_once('.') {
            Some((_, shorter)) if check_realm(&realm).is_err() => below = shorter,
            _ => return realm,
        }
    }
}

fn unknown(account: &str) -> StoreError {
    let reason = format!("account {account:?} is not known; `blackhole account list` shows all");
    refused("account", "not_found", reason)
}

/// A constraint that says that something is another's already.
fn taken(error: rusqlite::Error, id: &str, realm: &str) -> StoreError {
    if let rusqlite::Error::SqliteFailure(failure, Some(text)) = &error
        && failure.code == rusqlite::ErrorCode::ConstraintViolation
    {
        return if text.contains("realm") {
            refused(
                "realm",
                "unique",
                format!("realm {realm:?} is taken already"),
            )
        } else {
            refused("id", "unique", format!("id {id:?} is taken already"))
        };
    }
    error.into()
}

/// A name without the space around it.
pub(super) fn check_name<'a>(field: &'static str, name: &'a str) -> Result<&'a str, StoreError> {
    let trimmed = name.trim();
    let rule = match trimmed.len() {
        0 => "minLength",
        1..=MAX_NAME => return Ok(trimmed),
        _ => "maxLength",
    };
    let reason = format!("{field} {trimmed:?}: 1 to {MAX_NAME} bytes are allowed");
    Err(refused(field, rule, reason))
}

/// The text of a document, bounded.
pub(super) fn document_text(document: &Document) -> Result<String, StoreError> {
    // A map of JSON values always serialises.
    let text = serde_json::to_string(document).unwrap_or_default();
    if text.len() > MAX_DOCUMENT {
        let reason = format!("the fields of your own may have {MAX_DOCUMENT} bytes together");
        return Err(refused("data", "maxLength", reason));
    }
    Ok(text)
}

/// Kazoo's rule for realms (kazoo-rest.md B.1).
fn check_realm(realm: &str) -> Result<(), StoreError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = crate::model::topic::encode(realm).len() <= MAX_REALM;
    if (4..=253).contains(&realm.len()) && fits && realm.chars().all(allowed) {
        return Ok(());
    }
    let reason = format!(
        "realm {realm:?}: 4 to {MAX_REALM} of letters, digits, '.', '_', '-' are allowed, a dot counting three"
    );
    Err(refused("realm", "pattern", reason))
}
