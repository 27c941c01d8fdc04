//! The embedded database. Several processes may have it open: the server, and commands such as
//! `account create` beside it.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::accounts::{NewRow, insert_account};
use super::changes::News;
use super::users::insert_user;
use crate::auth::credentials::Hashes;
use crate::auth::{Directory, PrivLevel};
use crate::entropy::{random_id, random_text};
use crate::model::clock::unix_now;
use crate::model::{AccountId, Secret};

const FILE: &str = "blackhole.sqlite";
/// One script for each version.
const SCHEMA: [&str; 2] = [include_str!("schema.sql"), include_str!("schema_2.sql")];

/// Why the store could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory or a file in it.
    #[error("{0}")]
    File(String),
    /// The database.
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The request names something that cannot be.
    #[error("{reason}")]
    Refused {
        /// What is wrong: the name of a field.
        field: &'static str,
        /// The rule that it breaks, in Kazoo's words (kazoo-rest.md A.5).
        rule: &'static str,
        /// The reason, with the value and what is allowed.
        reason: String,
    },
}

pub(super) fn refused(field: &'static str, rule: &'static str, reason: String) -> StoreError {
    StoreError::Refused {
        field,
        rule,
        reason,
    }
}

/// The open database.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    /// What other nodes have to be told.
    pub(super) news: News,
}

/// What the very first start made, to be shown once.
#[derive(Debug)]
pub struct FirstStart {
    /// The master account.
    pub account: AccountId,
    /// The admin's name.
    pub username: String,
    /// The admin's password.
    pub password: Secret,
}

impl Store {
    /// Opens or makes the database of a data directory, readable by its owner only.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let fail = |error: std::io::Error| {
            StoreError::File(format!("data directory {}: {error}", data_dir.display()))
        };
        private_dir(data_dir).map_err(fail)?;
        let file = data_dir.join(FILE);
        private_file(&file).map_err(fail)?;
        let connection = Connection::open(&file)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let mut store = Self {
            connection,
            news: News::default(),
        };
        store.migrate(&file)?;
        Ok(store)
    }

    fn migrate(&mut self, file: &Path) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        let version: usize = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let Some(missing) = SCHEMA.get(version..) else {
            return Err(StoreError::File(format!(
                "{} was written by a newer version of blackhole",
                file.display()
            )));
        };
        for script in missing {
            transaction.execute_batch(script)?;
        }
        if !missing.is_empty() {
            transaction.pragma_update(None, "user_version", SCHEMA.len())?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Makes the master account, its admin, the secrets and the signing key, if this is the first
    /// start.
    pub fn first_start(&mut self) -> Result<Option<FirstStart>, StoreError> {
        if self.count_accounts()? > 0 {
            return Ok(None);
        }
        let no_key = |_| StoreError::File("no signing key could be made".into());
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(no_key)?;
        let key = AsDer::as_der(&key).map_err(no_key)?;
        let password = Secret::new(random_text(20));
        let username = "admin".to_owned();
        let row = NewRow::new(random_id(), "master", "blackhole.local", None, true);
        let hashes = Hashes::new(&username, password.expose(), &row.salt);
        let transaction = self.begin()?;
        // Another process may have been first while the key was made.
        let accounts: u32 =
            transaction.query_row("SELECT count(*) FROM accounts", [], |row| row.get(0))?;
        if accounts > 0 {
            return Ok(None);
        }
        transaction.execute(
            "INSERT INTO signing_keys (kid, pkcs8, created) VALUES (?1, ?2, ?3)",
            params![random_id(), key.as_ref(), now()],
        )?;
        for name in ["secret_for_user_signature", "cluster_id"] {
            set_installation(&transaction, name, &random_id())?;
        }
        insert_account(&transaction, &row)?;
        let account = AccountId::parse(&row.id)
            .ok_or_else(|| StoreError::File("no account id could be made".into()))?;
        let document = "{}";
        insert_user(
            &transaction,
            &random_id(),
            &account,
            &username,
            &hashes,
            PrivLevel::Admin,
            document,
        )?;
        touch(&transaction)?;
        transaction.commit()?;
        Ok(Some(FirstStart {
            account,
            username,
            password,
        }))
    }

    /// Everything that token checks need, as of now.
    pub fn directory(&self) -> Result<Directory, StoreError> {
        let installation = |name| self.installation(name).map(Option::unwrap_or_default);
        Ok(Directory::new(
            self.accounts()?,
            self.users()?,
            self.signing_keys()?,
            self.node_secret()?,
            installation("cluster_id")?,
        )
        .without(self.gone()?))
    }

    /// Kazoo's `secret_for_user_signature`.
    pub(super) fn node_secret(&self) -> Result<Secret, StoreError> {
        let secret = self.installation("secret_for_user_signature")?;
        Ok(Secret::new(secret.unwrap_or_default()))
    }

    /// A number that changes when another connection wrote.
    pub(super) fn version(&self) -> Result<i64, StoreError> {
        Ok(self
            .connection
            .query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }

    /// A text that changes with the directory.
    pub(super) fn directory_version(&self) -> Result<Option<String>, StoreError> {
        self.installation("directory_version")
    }

    /// The categories of bindings that are stopped on a node, if that was ever said.
    pub fn stopped_categories(&self, node: &str) -> Result<Vec<String>, StoreError> {
        let text = self.installation(&format!("stopped_categories {node}"))?;
        let names = text.iter().flat_map(|text| text.split(' '));
        Ok(names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// Remembers the categories that are stopped on a node.
    pub fn set_stopped_categories(
        &mut self,
        node: &str,
        names: &[String],
    ) -> Result<(), StoreError> {
        let name = format!("stopped_categories {node}");
        set_installation(&self.connection, &name, &names.join(" "))?;
        Ok(())
    }

    /// A transaction that is sure to be able to write.
    pub(super) fn begin(&mut self) -> Result<Transaction<'_>, StoreError> {
        let behavior = TransactionBehavior::Immediate;
        Ok(self.connection.transaction_with_behavior(behavior)?)
    }

    fn installation(&self, name: &str) -> Result<Option<String>, StoreError> {
        let query = "SELECT value FROM installation WHERE name = ?1";
        Ok(self
            .connection
            .query_row(query, [name], |row| row.get(0))
            .optional()?)
    }

    fn count_accounts(&self) -> Result<u32, StoreError> {
        Ok(self
            .connection
            .query_row("SELECT count(*) FROM accounts", [], |row| row.get(0))?)
    }
}

fn set_installation(connection: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO installation (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [name, value],
    )?;
    Ok(())
}

/// Part of every transaction that changes what the directory holds: servers read it again.
pub(super) fn touch(connection: &Connection) -> rusqlite::Result<()> {
    set_installation(connection, "directory_version", &random_id())
}

pub(super) fn now() -> i64 {
    i64::try_from(unix_now()).unwrap_or(i64::MAX)
}

fn private_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Makes the file with its mode, so that it is never open to others, not even for a moment.
fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
