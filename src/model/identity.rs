//! Who a token speaks for, and the token itself as a text that cannot be printed by accident.

use std::fmt;

use super::AccountId;

/// The result of a token check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account that the token belongs to.
    pub account: AccountId,
    /// The user, absent for tokens of an account as such.
    pub owner: Option<String>,
    /// Unix seconds from which on the token is worth nothing; `None`: it never expires.
    pub expires_at: Option<u64>,
    /// Whether account `*` is allowed.
    pub superduper: bool,
}

/// A token as a client sent it. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

impl Token {
    /// Wraps a text; nothing is checked.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret text: for verifying it, or for handing it to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}
