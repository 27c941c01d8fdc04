//! Who a token speaks for, what it says, and the token itself as a text that cannot be printed by
//! accident.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
    /// For another look at the same token later, without the token.
    pub grant: Arc<Grant>,
}

/// A token whose signature was found good: enough to check again what can change, nothing to log in
/// with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Names the token in the list of those that were revoked.
    pub digest: TokenDigest,
    /// Who vouches for it.
    pub voucher: Voucher,
    /// What it says.
    pub claims: Claims,
}

/// Who vouches for a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Voucher {
    /// Nobody.
    #[default]
    None,
    /// A key of our own, by its id.
    Own(String),
    /// An issuer from the settings, by its place.
    Issuer(usize),
}

/// SHA-256 of a token's signed part: the same however its signature is written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenDigest(pub [u8; 32]);

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::id::hex(&self.0[..4]))
    }
}

/// What a token says (kazoo-rest.md C.1). Anything beyond these claims is not read.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed it.
    #[serde(default)]
    pub iss: String,
    /// Binds the token to the secret of its user or account (C.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_sig: Option<String>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The user, absent for tokens of an account as such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<String>,
    /// How it was obtained, such as `cb_user_auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// Makes each of our tokens another one, so that revoking one leaves the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

/// `identity_sig` is as good as a part of a secret.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("iss", &self.iss)
            .field("account_id", &self.account_id)
            .field("owner_id", &self.owner_id)
            .field("exp", &self.exp)
            .finish_non_exhaustive()
    }
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
