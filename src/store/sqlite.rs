//! The embedded database. Several processes may have it open: the server, and commands such as
//! `account create` beside it.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use rusqlite::{Connection, OptionalExtension, params};

use crate::auth::credentials::{Method, credential, slow_hash};
use crate::auth::{AccountRecord, Directory, PrivLevel, SigningKey, UserRecord};
use crate::entropy::{fill, random_id, random_text};
use crate::model::AccountId;
use crate::model::Secret;
use crate::model::clock::unix_now;
use crate::model::id::is_hex32;

const FILE: &str = "blackhole.sqlite";
const SCHEMA_VERSION: u32 = 1;
const MAX_NAME: usize = 128;
/// Encoded, as it stands in routing keys, which have 255 bytes at most.
const MAX_REALM: usize = 200;

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
    #[error("{0}")]
    Refused(String),
}

/// The open database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
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
        let mut store = Self { connection };
        store.migrate(&file)?;
        Ok(store)
    }

    fn migrate(&mut self, file: &Path) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > SCHEMA_VERSION {
            return Err(StoreError::File(format!(
                "{} was written by a newer version of blackhole",
                file.display()
            )));
        }
        if version < SCHEMA_VERSION {
            transaction.execute_batch(include_str!("schema.sql"))?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
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
        let key = KeyPair::generate(KeySize::Rsa2048)
            .map_err(|_| StoreError::Refused("no signing key could be made".into()))?;
        let key = AsDer::as_der(&key)
            .map_err(|_| StoreError::Refused("no signing key could be made".into()))?;
        let password = Secret::new(random_text(20));
        let username = "admin".to_owned();
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // Another process may have been first while the key was made.
        let accounts: u32 =
            transaction.query_row("SELECT count(*) FROM accounts", [], |row| row.get(0))?;
        if accounts > 0 {
            return Ok(None);
        }
        let now = now();
        transaction.execute(
            "INSERT INTO signing_keys (kid, pkcs8, created) VALUES (?1, ?2, ?3)",
            params![random_id(), key.as_ref(), now],
        )?;
        for name in ["secret_for_user_signature", "cluster_id"] {
            transaction.execute(
                "INSERT INTO installation (name, value) VALUES (?1, ?2)",
                params![name, random_id()],
            )?;
        }
        let account = random_id();
        insert_account(
            &transaction,
            &account,
            "master",
            "blackhole.local",
            None,
            true,
        )?;
        let id = AccountId::parse(&account)
            .ok_or_else(|| StoreError::Refused("no account id could be made".into()))?;
        insert_user(
            &transaction,
            &id,
            &username,
            password.expose(),
            PrivLevel::Admin,
        )?;
        transaction.commit()?;
        Ok(Some(FirstStart {
            account: id,
            username,
            password,
        }))
    }

    /// Makes an account.
    pub fn create_account(&mut self, new: &NewAccount<'_>) -> Result<AccountRecord, StoreError> {
        let refuse = |reason: String| Err(StoreError::Refused(reason));
        let name = new.name.trim();
        if name.is_empty() || name.len() > MAX_NAME {
            return refuse(format!("name {name:?}: 1 to {MAX_NAME} bytes are allowed"));
        }
        let id = new.id.map_or_else(random_id, str::to_owned);
        if !is_hex32(&id) {
            return refuse(format!("id {id:?}: 32 lower-case hex digits are allowed"));
        }
        let parent = match new.parent {
            Some(text) => self.find_account(text)?,
            None => self.master()?,
        };
        let below = parent.realm.as_deref().unwrap_or("blackhole.local");
        let realm = new.realm.map_or_else(
            || format!("{}.{below}", &random_id()[..6]),
            str::to_lowercase,
        );
        check_realm(&realm)?;
        let (below, superduper) = (Some(&parent.id), new.superduper);
        let inserted = insert_account(&self.connection, &id, name, &realm, below, superduper);
        if let Err(rusqlite::Error::SqliteFailure(error, Some(text))) = &inserted
            && error.code == rusqlite::ErrorCode::ConstraintViolation
        {
            let what = if text.contains("realm") {
                format!("realm {realm:?}")
            } else {
                format!("id {id:?}")
            };
            return refuse(format!("{what} is taken already"));
        }
        inserted?;
        self.find_account(&id)
    }

    /// All accounts, in the order in which they were made.
    pub fn accounts(&self) -> Result<Vec<AccountRecord>, StoreError> {
        let mut query = self.connection.prepare(
            "SELECT id, name, realm, parent, enabled, superduper, signature_secret, salt
             FROM accounts ORDER BY created, rowid",
        )?;
        let rows = query.query_map([], |row| {
            let id: String = row.get(0)?;
            let parent: Option<String> = row.get(3)?;
            Ok(AccountRecord {
                id: account_id(0, &id)?,
                name: row.get(1)?,
                realm: row.get(2)?,
                parent: parent.map(|parent| account_id(3, &parent)).transpose()?,
                enabled: row.get(4)?,
                superduper: row.get(5)?,
                signature_secret: Secret::new(row.get::<_, String>(6)?),
                salt: row.get(7)?,
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
            [] => Err(StoreError::Refused(format!(
                "account {id_or_name:?} is not known; `blackhole account list` shows all"
            ))),
            several => {
                let ids: Vec<_> = several.iter().map(|account| account.id.as_str()).collect();
                Err(StoreError::Refused(format!(
                    "account {id_or_name:?} is the name of several, use an id: {}",
                    ids.join(", ")
                )))
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
            StoreError::Refused("there is no account yet: start `blackhole` once".into())
        })
    }

    /// Makes a user. Slow on purpose (two argon2id hashes).
    pub fn create_user(
        &mut self,
        account: &AccountRecord,
        username: &str,
        password: &str,
        priv_level: PrivLevel,
    ) -> Result<UserRecord, StoreError> {
        let username = username.trim().to_lowercase();
        if username.is_empty() || username.len() > MAX_NAME || username.contains(':') {
            let allowed = format!("1 to {MAX_NAME} bytes without a colon are allowed");
            return Err(StoreError::Refused(format!(
                "username {username:?}: {allowed}"
            )));
        }
        if password.len() < 8 {
            return Err(StoreError::Refused(
                "password: 8 bytes or more are needed".into(),
            ));
        }
        let known: Option<String> = self
            .connection
            .query_row(
                "SELECT id FROM users WHERE account = ?1 AND username = ?2",
                params![account.id.as_str(), username],
                |row| row.get(0),
            )
            .optional()?;
        if known.is_some() {
            return Err(StoreError::Refused(format!(
                "user {username:?} exists already in account {}",
                account.id
            )));
        }
        let id = insert_user(
            &self.connection,
            &account.id,
            &username,
            password,
            priv_level,
        )?;
        let users = self.users()?;
        let made = users.into_iter().find(|user| user.id == id);
        made.ok_or_else(|| StoreError::Refused(format!("user {username:?} was removed meanwhile")))
    }

    /// All users, in the order in which they were made.
    pub fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        let mut query = self.connection.prepare(
            "SELECT id, account, username, priv_level, enabled, signature_secret, md5_hash, sha1_hash
             FROM users ORDER BY created, rowid",
        )?;
        let rows = query.query_map([], |row| {
            let account: String = row.get(1)?;
            let level: String = row.get(3)?;
            Ok(UserRecord {
                id: row.get(0)?,
                account: account_id(1, &account)?,
                username: row.get(2)?,
                priv_level: if level == "admin" {
                    PrivLevel::Admin
                } else {
                    PrivLevel::User
                },
                enabled: row.get(4)?,
                signature_secret: Secret::new(row.get::<_, String>(5)?),
                md5_hash: row.get(6)?,
                sha1_hash: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Everything that token checks need, as of now.
    pub fn directory(&self) -> Result<Directory, StoreError> {
        let installation = |name: &str| {
            self.connection
                .query_row(
                    "SELECT value FROM installation WHERE name = ?1",
                    [name],
                    |row| row.get::<_, String>(0),
                )
                .optional()
                .map(Option::unwrap_or_default)
        };
        Ok(Directory::new(
            self.accounts()?,
            self.users()?,
            self.signing_keys()?,
            Secret::new(installation("secret_for_user_signature")?),
            installation("cluster_id")?,
        ))
    }

    /// A number that changes when another connection wrote.
    pub(super) fn version(&self) -> Result<i64, StoreError> {
        Ok(self
            .connection
            .query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }

    fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let mut query = self
            .connection
            .prepare("SELECT kid, pkcs8 FROM signing_keys ORDER BY created, rowid")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.map(|row| {
            let (kid, pkcs8): (String, Vec<u8>) = row?;
            signing_key(kid, &pkcs8)
        })
        .collect()
    }

    fn count_accounts(&self) -> Result<u32, StoreError> {
        Ok(self
            .connection
            .query_row("SELECT count(*) FROM accounts", [], |row| row.get(0))?)
    }
}

fn signing_key(kid: String, pkcs8: &[u8]) -> Result<SigningKey, StoreError> {
    let bad = |_| StoreError::Refused(format!("signing key {kid} cannot be read"));
    let pair = KeyPair::from_pkcs8(pkcs8).map_err(bad)?;
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        BASE64_STANDARD.encode(pkcs8)
    );
    let encoding = EncodingKey::from_rsa_pem(pem.as_bytes())
        .map_err(|_| StoreError::Refused(format!("signing key {kid} cannot be read")))?;
    let decoding = DecodingKey::from_rsa_der(pair.public_key().as_ref());
    Ok(SigningKey {
        kid,
        encoding,
        decoding,
    })
}

fn insert_account(
    connection: &Connection,
    id: &str,
    name: &str,
    realm: &str,
    parent: Option<&AccountId>,
    superduper: bool,
) -> rusqlite::Result<()> {
    let mut salt = [0; 16];
    fill(&mut salt);
    connection.execute(
        "INSERT INTO accounts (id, name, realm, parent, superduper, signature_secret, salt, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![id, name, realm, parent.map(AccountId::as_str), superduper, random_id(), salt, now()],
    )?;
    Ok(())
}

fn insert_user(
    connection: &Connection,
    account: &AccountId,
    username: &str,
    password: &str,
    priv_level: PrivLevel,
) -> rusqlite::Result<String> {
    let salt: [u8; 16] = connection.query_row(
        "SELECT salt FROM accounts WHERE id = ?1",
        [account.as_str()],
        |row| row.get(0),
    )?;
    let hash = |method| slow_hash(&credential(method, username, password), &salt);
    let id = random_id();
    connection.execute(
        "INSERT INTO users (id, account, username, priv_level, signature_secret, md5_hash, sha1_hash, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            id,
            account.as_str(),
            username,
            priv_level.as_str(),
            random_id(),
            hash(Method::Md5),
            hash(Method::Sha1),
            now()
        ],
    )?;
    Ok(id)
}

fn account_id(column: usize, text: &str) -> rusqlite::Result<AccountId> {
    AccountId::parse(text).ok_or_else(|| {
        let error = format!("{text:?} is no account id").into();
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    })
}

/// Kazoo's rule for realms (kazoo-rest.md B.1).
fn check_realm(realm: &str) -> Result<(), StoreError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = crate::model::topic::encode(realm).len() <= MAX_REALM;
    if (4..=253).contains(&realm.len()) && fits && realm.chars().all(allowed) {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "realm {realm:?}: 4 to {MAX_REALM} of letters, digits, '.', '_', '-' are allowed, a dot counting three"
    )))
}

fn now() -> i64 {
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
mod tests {
    use super::*;
    use crate::auth::credentials::same;

    #[test]
    fn first_start_happens_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path()).expect("opens");
        assert!(store.master().is_err());
        let made = store.first_start().expect("made").expect("the first");
        assert!(store.first_start().expect("fine").is_none());
        let directory = store.directory().expect("loads");
        let master = directory.master().expect("a master");
        assert_eq!(master.id, made.account);
        assert!(master.superduper);
        assert!(directory.newest_key().is_some());
        let user = directory.users_of(&made.account).next().expect("an admin");
        let credential = credential(Method::Sha1, "admin", made.password.expose());
        assert!(same(&user.sha1_hash, &slow_hash(&credential, &master.salt)));
        drop(store);
        let again = Store::open(folder.path())
            .expect("opens")
            .directory()
            .expect("loads");
        assert_eq!(again.master().map(|m| m.id.clone()), Some(made.account));
    }

    #[test]
    fn files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let mut store = Store::open(&data).expect("opens");
        store.first_start().expect("made");
        for entry in std::fs::read_dir(&data).expect("a folder") {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("metadata").permissions().mode() & 0o077;
            assert_eq!(mode, 0, "{:?}", entry.path());
        }
    }

    #[test]
    fn accounts_form_a_tree() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path()).expect("opens");
        let master = store.first_start().expect("made").expect("first").account;
        let id = "0".repeat(32);
        let new = NewAccount {
            name: "Acme",
            id: Some(&id),
            realm: Some("Acme.Example.net"),
            ..NewAccount::default()
        };
        let acme = store.create_account(&new).expect("made");
        assert_eq!(acme.realm.as_deref(), Some("acme.example.net"));
        let below = NewAccount {
            name: "Sales",
            parent: Some("Acme"),
            ..NewAccount::default()
        };
        let sales = store.create_account(&below).expect("made");
        assert!(sales.realm.expect("a realm").ends_with(".acme.example.net"));
        let directory = store.directory().expect("loads");
        assert!(
            directory.is_within(&sales.id, &acme.id) && directory.is_within(&sales.id, &master)
        );
        let error = |new: NewAccount<'_>, store: &mut Store| {
            store.create_account(&new).expect_err("refused").to_string()
        };
        for (new, part) in [
            (
                NewAccount {
                    name: "x",
                    id: Some(&id),
                    ..NewAccount::default()
                },
                "id \"0000",
            ),
            (
                NewAccount {
                    name: "x",
                    realm: Some("acme.example.net"),
                    ..NewAccount::default()
                },
                "taken already",
            ),
            (
                NewAccount {
                    name: "x",
                    parent: Some("none"),
                    ..NewAccount::default()
                },
                "\"none\" is not known",
            ),
            (
                NewAccount {
                    name: " ",
                    ..NewAccount::default()
                },
                "1 to 128",
            ),
            (
                NewAccount {
                    name: "x",
                    id: Some("X"),
                    ..NewAccount::default()
                },
                "hex digits",
            ),
            (
                NewAccount {
                    name: "x",
                    realm: Some("a b.c"),
                    ..NewAccount::default()
                },
                "are allowed",
            ),
        ] {
            let text = error(new, &mut store);
            assert!(text.contains(part), "{text}");
        }
        store
            .create_account(&NewAccount {
                name: "Acme",
                ..NewAccount::default()
            })
            .expect("a second of that name");
        let text = store.find_account("Acme").expect_err("two").to_string();
        assert!(text.contains("several"), "{text}");
    }

    #[test]
    fn users_are_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path()).expect("opens");
        store.first_start().expect("made");
        let master = store.master().expect("there");
        let bob = store
            .create_user(&master, "Bob", "secret-1", PrivLevel::User)
            .expect("made");
        assert_eq!(bob.username, "bob");
        for (name, password, part) in [
            ("BOB", "secret-1", "exists already"),
            ("", "secret-1", "1 to 128"),
            ("a:b", "secret-1", "colon"),
            ("eve", "short", "8 bytes"),
        ] {
            let error = store
                .create_user(&master, name, password, PrivLevel::User)
                .expect_err(part)
                .to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
