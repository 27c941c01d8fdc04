//! Accounts, users and keys as one snapshot. The store makes a new one when something changed; who
//! holds an old one finishes with it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Map, Value};

use super::credentials::Hashes;
use crate::model::{AccountId, Secret};

/// What clients keep in an account or user beyond the fields that the gateway knows.
pub type Document = Map<String, Value>;

/// An account (kazoo-rest.md G.2, as far as the gateway needs it).
#[derive(Debug, Clone)]
pub struct AccountRecord {
    /// Its id.
    pub id: AccountId,
    /// Its name, as typed.
    pub name: String,
    /// Its realm, lower case; unique.
    pub realm: Option<String>,
    /// The account above; `None` for the master account.
    pub parent: Option<AccountId>,
    /// A disabled account's tokens are worth nothing.
    pub enabled: bool,
    /// Whether its users may see account `*`.
    pub superduper: bool,
    /// Signs the identity of tokens without a user.
    pub signature_secret: Secret,
    /// Salt of its users' credentials. One for the whole account: a log-in names no user, so one
    /// slow hash must do for all of them.
    pub salt: [u8; 16],
    /// SHA-256 of its API key; `None`: nobody can log in by key.
    pub api_key: Option<[u8; 32]>,
    /// Fields of the client's own.
    pub document: Document,
    /// Unix seconds.
    pub created: u64,
}

/// Kazoo's user level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivLevel {
    /// `admin`
    Admin,
    /// `user`
    User,
}

impl PrivLevel {
    /// From Kazoo's text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Admin, Self::User]
            .into_iter()
            .find(|level| level.as_str() == text)
    }

    /// Kazoo's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }
}

/// A user (kazoo-rest.md G.3, as far as the gateway needs it).
#[derive(Debug, Clone)]
pub struct UserRecord {
    /// Its id, the `owner_id` of tokens.
    pub id: String,
    /// Its account.
    pub account: AccountId,
    /// Lower case; unique in the account.
    pub username: String,
    /// What it may administer.
    pub priv_level: PrivLevel,
    /// A disabled user's tokens are worth nothing.
    pub enabled: bool,
    /// Signs the identity of its tokens; a new one ends all of them.
    pub signature_secret: Secret,
    /// Of the password, under the account's salt.
    pub hashes: Hashes,
    /// Fields of the client's own.
    pub document: Document,
    /// Unix seconds.
    pub created: u64,
}

/// A key of our own issuer `kazoo`.
#[derive(Clone)]
pub struct SigningKey {
    /// Its id, in the header of tokens.
    pub kid: String,
    /// Signs new tokens.
    pub encoding: EncodingKey,
    /// Verifies them.
    pub decoding: DecodingKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// The snapshot.
#[derive(Debug, Default)]
pub struct Directory {
    accounts: HashMap<AccountId, AccountRecord>,
    users: HashMap<String, UserRecord>,
    by_realm: HashMap<String, AccountId>,
    by_name: HashMap<String, Vec<AccountId>>,
    by_api_key: HashMap<[u8; 32], AccountId>,
    children: HashMap<AccountId, Vec<AccountId>>,
    keys: HashMap<String, SigningKey>,
    gone: HashSet<String>,
    newest_key: Option<String>,
    master: Option<AccountId>,
    /// Kazoo's `secret_for_user_signature`.
    node_secret: Option<Secret>,
    /// 32 hex digits that name the installation.
    pub cluster_id: String,
}

impl Directory {
    /// Builds the look-up tables. `keys` come oldest first.
    pub fn new(
        accounts: Vec<AccountRecord>,
        users: Vec<UserRecord>,
        keys: Vec<SigningKey>,
        node_secret: Secret,
        cluster_id: String,
    ) -> Self {
        let mut directory = Self {
            newest_key: keys.last().map(|key| key.kid.clone()),
            node_secret: Some(node_secret),
            cluster_id,
            ..Self::default()
        };
        for account in accounts {
            if let Some(realm) = &account.realm {
                directory.by_realm.insert(realm.clone(), account.id.clone());
            }
            let same_name = directory
                .by_name
                .entry(normal_name(&account.name))
                .or_default();
            same_name.push(account.id.clone());
            if let Some(key) = account.api_key {
                directory.by_api_key.insert(key, account.id.clone());
            }
            match &account.parent {
                Some(parent) => {
                    let siblings = directory.children.entry(parent.clone()).or_default();
                    siblings.push(account.id.clone());
                }
                None => directory.master = Some(account.id.clone()),
            }
            directory.accounts.insert(account.id.clone(), account);
        }
        directory.users = users
            .into_iter()
            .map(|user| (user.id.clone(), user))
            .collect();
        directory.keys = keys.into_iter().map(|key| (key.kid.clone(), key)).collect();
        directory
    }

    /// The same, knowing also which accounts and users are no more: tokens of another issuer, which
    /// need not know anybody here, are worth nothing for them.
    pub fn without(self, gone: HashSet<String>) -> Self {
        Self { gone, ..self }
    }

    /// Whether an account or a user was deleted.
    pub fn is_gone(&self, id: &str) -> bool {
        self.gone.contains(id)
    }

    /// An account by its id.
    pub fn account(&self, id: &AccountId) -> Option<&AccountRecord> {
        self.accounts.get(id)
    }

    /// A user of an account.
    pub fn user_of(&self, account: &AccountId, id: &str) -> Option<&UserRecord> {
        self.user(id).filter(|user| user.account == *account)
    }

    /// A user by its id.
    pub fn user(&self, id: &str) -> Option<&UserRecord> {
        self.users.get(id)
    }

    /// The users of an account.
    pub fn users_of<'d>(&'d self, account: &'d AccountId) -> impl Iterator<Item = &'d UserRecord> {
        self.users
            .values()
            .filter(move |user| user.account == *account)
    }

    /// The account of a realm, whatever its letters' case.
    pub fn by_realm(&self, realm: &str) -> Option<&AccountRecord> {
        self.accounts.get(self.by_realm.get(&realm.to_lowercase())?)
    }

    /// The accounts of a name, compared as Kazoo does: letters and digits only, lower case.
    pub fn by_name(&self, name: &str) -> impl Iterator<Item = &AccountRecord> {
        // A name without letters and digits is nobody's name.
        let name = Some(normal_name(name)).filter(|name| !name.is_empty());
        let ids = name.and_then(|name| self.by_name.get(&name));
        ids.into_iter()
            .flatten()
            .filter_map(|id| self.accounts.get(id))
    }

    /// The account of an API key, by the key's SHA-256: the look-up's time tells nothing of the key.
    pub fn by_api_key(&self, hash: &[u8; 32]) -> Option<&AccountRecord> {
        self.accounts.get(self.by_api_key.get(hash)?)
    }

    /// The accounts right below one.
    pub fn children(&self, account: &AccountId) -> impl Iterator<Item = &AccountRecord> {
        let ids = self.children.get(account);
        ids.into_iter()
            .flatten()
            .filter_map(|id| self.accounts.get(id))
    }

    /// The accounts below one, at any depth.
    pub fn descendants(&self, account: &AccountId) -> Vec<&AccountRecord> {
        // A loop in the data must not loop here.
        let mut seen = HashSet::from([account]);
        let mut found: Vec<&AccountRecord> = Vec::new();
        let mut next = Some(account);
        let mut looked_at = 0;
        while let Some(id) = next {
            found.extend(self.children(id).filter(|child| seen.insert(&child.id)));
            next = found.get(looked_at).map(|found| &found.id);
            looked_at += 1;
        }
        found
    }

    /// The accounts above one, the master account first (Kazoo's `pvt_tree`).
    pub fn ancestors(&self, account: &AccountId) -> Vec<&AccountRecord> {
        let mut found: Vec<&AccountRecord> = Vec::new();
        let mut next = self.account(account).and_then(|own| own.parent.as_ref());
        while let Some(above) = next.and_then(|id| self.account(id)) {
            if found.len() > self.accounts.len() {
                break;
            }
            found.push(above);
            next = above.parent.as_ref();
        }
        found.reverse();
        found
    }

    /// The account above all others.
    pub fn master(&self) -> Option<&AccountRecord> {
        self.accounts.get(self.master.as_ref()?)
    }

    /// Whether `account` is `top` or lies below it.
    pub fn is_within(&self, account: &AccountId, top: &AccountId) -> bool {
        let mut next = Some(account);
        // No tree is as deep as it has accounts; a loop in the data must not loop here.
        for _ in 0..=self.accounts.len() {
            match next {
                Some(id) if id == top => return true,
                Some(id) => {
                    next = self
                        .accounts
                        .get(id)
                        .and_then(|found| found.parent.as_ref())
                }
                None => return false,
            }
        }
        false
    }

    /// A key of our own by its id.
    pub fn key(&self, kid: &str) -> Option<&SigningKey> {
        self.keys.get(kid)
    }

    /// The key for new tokens.
    pub fn newest_key(&self) -> Option<&SigningKey> {
        self.keys.get(self.newest_key.as_ref()?)
    }

    /// The id that tokens' identity signature is made over and the key to make it with: the user's,
    /// or the account's for tokens without a user (kazoo-rest.md C.4).
    pub fn identity_key(
        &self,
        account: &AccountId,
        owner: Option<&str>,
    ) -> Option<(String, Secret)> {
        let node = self.node_secret.as_ref()?;
        let (id, own) = match owner {
            Some(owner) => {
                let user = self.user_of(account, owner)?;
                (owner.to_owned(), &user.signature_secret)
            }
            None => (
                account.to_string(),
                &self.account(account)?.signature_secret,
            ),
        };
        Some((
            id,
            Secret::new(format!("{}{}", own.expose(), node.expose())),
        ))
    }
}

/// Kazoo's normal form of an account name (kazoo-rest.md B.1): lower case, letters and digits only.
pub fn normal_name(name: &str) -> String {
    let lower = name.to_lowercase();
    lower.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_kazoo_does() {
        assert_eq!(normal_name("A-C m.E!"), "acme");
        assert_eq!(normal_name("Zoë 7"), "zo7");
    }
}
