//! Identifiers as types, checked once where they enter.

use std::fmt;
use std::sync::Arc;

/// An account id: 32 lower-case hex digits. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// `None` unless the text is 32 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        is_hex32(text).then(|| Self(Arc::from(text)))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The account's database as it stands in routing keys: `account%2Fab%2Fcd%2F...`
    /// (kazoo-amqp.md, notation `{DB}`).
    pub fn database(&self) -> String {
        let id = &*self.0;
        format!("account%2F{}%2F{}%2F{}", &id[..2], &id[2..4], &id[4..])
    }

    /// The account that owns a database, monthly (`{DB}-YYYYMM`) or not; `None` for any other
    /// database.
    pub fn of_database(word: &str) -> Option<Self> {
        let rest = word.strip_prefix("account%2F")?;
        let rest = month_of(word).map_or(rest, |month| &rest[..rest.len() - month.len() - 1]);
        let mut parts = rest.split("%2F");
        let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || a.len() != 2 || b.len() != 2 {
            return None;
        }
        Self::parse(&format!("{a}{b}{c}"))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The `YYYYMM` of a monthly account database word (`{DB}-YYYYMM`, 55 bytes), else `None`.
pub fn month_of(word: &str) -> Option<&str> {
    const MONTHLY: usize = 55;
    let (base, month) = (word.len() == MONTHLY).then(|| word.rsplit_once('-'))??;
    let digits = month.len() == 6 && month.bytes().all(|b| b.is_ascii_digit());
    (digits && base.starts_with("account%2F")).then_some(month)
}

/// Whose events a subscription covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Account `*`: for super-duper admins only.
    All,
    /// One account.
    One(AccountId),
}

impl Scope {
    /// `*` or the account id, as the client writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => "*",
            Self::One(account) => account.as_str(),
        }
    }
}

/// A socket's id: 32 random hex digits, unique over all nodes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Wraps an id made by the caller (the core makes no randomness).
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is exactly 32 lower-case hex digits, the form of Kazoo's ids and secrets.
pub fn is_hex32(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// 32 bytes from 64 hex digits.
pub fn unhex32(text: &str) -> Option<[u8; 32]> {
    let digits = (text.len() == 64 && text.is_ascii()).then_some(text)?;
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Lower-case hex digits of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";

    #[test]
    fn accounts_and_their_databases() {
        let account = AccountId::parse(A).expect("an id");
        let database = account.database();
        assert_eq!(database, "account%2Fa1%2Fb2%2Fc3d4e5f60718293a4b5c6d7e8f90");
        assert_eq!(AccountId::of_database(&database), Some(account.clone()));
        let monthly = format!("{database}-202603");
        assert_eq!(AccountId::of_database(&monthly), Some(account));
        assert_eq!(month_of(&monthly), Some("202603"));
        assert_eq!(month_of(&database), None);
        for other in ["accounts", "account%2Fa1", "account%2F%2F%2F", ""] {
            assert_eq!(AccountId::of_database(other), None, "{other}");
        }
    }

    #[test]
    fn bad_account_ids() {
        for bad in ["", "*", "undefined", &A.to_uppercase(), &A[1..]] {
            assert_eq!(AccountId::parse(bad), None, "{bad}");
        }
    }
}
