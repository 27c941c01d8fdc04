//! Token checks as the sockets and REST ask for them: a cached signature, then everything that can
//! change (expiry, the user's secret, what is disabled) against the directory of this moment.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use dashmap::DashMap;
use jsonwebtoken::Algorithm;

use super::access;
use super::directory::{AccountRecord, Directory};
use super::issuer::TrustedIssuer;
use super::token::{self, Claims, KAZOO, Parsed, TokenError};
use crate::catalogue::Account;
use crate::model::{AccountId, Identity, Token};

/// Signatures remembered at most; beyond that the memory starts anew.
const CACHE_SIZE: usize = 100_000;

/// Checks and makes tokens.
#[derive(Debug)]
pub struct Authority {
    directory: Arc<ArcSwap<Directory>>,
    issuers: Vec<TrustedIssuer>,
    /// By SHA-256 of the token: whose signature was found good, and what the token says.
    verified: DashMap<[u8; 32], (Trust, Claims)>,
}

/// Who vouches for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trust {
    /// A key of our own, by its id.
    Own(String),
    /// An issuer from the settings, by its place.
    Issuer(usize),
}

impl Authority {
    /// Over a directory that the store keeps fresh.
    pub fn new(directory: Arc<ArcSwap<Directory>>, issuers: Vec<TrustedIssuer>) -> Self {
        Self {
            directory,
            issuers,
            verified: DashMap::new(),
        }
    }

    /// The accounts and users of this moment.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// Who the token speaks for at this time (Unix seconds).
    pub fn verify(&self, token: &Token, unix: u64) -> Result<Identity, TokenError> {
        let directory = self.directory.load();
        let (trust, claims) = self.signature(&directory, token)?;
        claims.check_expiry(unix)?;
        let account = claims
            .account_id
            .as_deref()
            .and_then(AccountId::parse)
            .ok_or(TokenError::NoAccount)?;
        let owner = claims.owner_id.as_deref();
        let (check_identity, superduper_allowed) = match &trust {
            Trust::Own(kid) => {
                directory.key(kid).ok_or(TokenError::UnknownKey)?;
                (true, true)
            }
            Trust::Issuer(at) => (self.issuers[*at].identity_sig, self.issuers[*at].superduper),
        };
        if check_identity {
            let key = directory.identity_key(&account, owner);
            let (id, secret) = key.ok_or(TokenError::UnknownIdentity)?;
            claims.check_identity(&id, &secret)?;
        }
        let record = directory.account(&account);
        let user = owner.and_then(|owner| directory.user(owner));
        let disabled = record.is_some_and(|account| !account.enabled)
            || user.is_some_and(|user| !user.enabled);
        if disabled {
            return Err(TokenError::Disabled);
        }
        let superduper = record.is_some_and(|account| account.superduper);
        if superduper && !superduper_allowed {
            // Above all others, such an account is as good as `*`.
            return Err(TokenError::Superduper);
        }
        Ok(Identity {
            superduper,
            account,
            owner: claims.owner_id,
            expires_at: claims.exp,
        })
    }

    /// The account that a subscriber asks for, or the protocol's error text.
    pub fn subscriber(&self, identity: &Identity, wanted: &str) -> Result<Account, String> {
        access::subscriber(&self.directory.load(), identity, wanted)
    }

    /// A token of our own for an account, or for one of its users.
    pub fn issue(
        &self,
        account: &AccountRecord,
        owner: Option<&str>,
        method: &str,
        expires_at: u64,
    ) -> Result<Token, TokenError> {
        let directory = self.directory.load();
        let key = directory.newest_key().ok_or(TokenError::UnknownKey)?;
        let identity = directory.identity_key(&account.id, owner);
        let (id, secret) = identity.ok_or(TokenError::UnknownIdentity)?;
        let claims = Claims {
            iss: KAZOO.into(),
            identity_sig: Some(token::identity_signature(&id, &secret)),
            account_id: Some(account.id.to_string()),
            owner_id: owner.map(str::to_owned),
            method: Some(method.into()),
            exp: Some(expires_at),
        };
        token::sign(&claims, &key.kid, &key.encoding).map(Token::new)
    }

    fn signature(
        &self,
        directory: &Directory,
        token: &Token,
    ) -> Result<(Trust, Claims), TokenError> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.expose().as_bytes()).as_ref());
        if let Some(known) = self.verified.get(&hash) {
            return Ok(known.clone());
        }
        let parsed = token::parse(token.expose())?;
        let trust = self.trust(directory, &parsed)?;
        if self.verified.len() >= CACHE_SIZE {
            self.verified.clear();
        }
        self.verified
            .insert(hash, (trust.clone(), parsed.claims.clone()));
        Ok((trust, parsed.claims))
    }

    fn trust(&self, directory: &Directory, token: &Parsed<'_>) -> Result<Trust, TokenError> {
        let own = token.kid.as_deref().and_then(|kid| directory.key(kid));
        if let (KAZOO, Some(key)) = (token.claims.iss.as_str(), own) {
            if token.algorithm != Algorithm::RS256 {
                return Err(TokenError::Algorithm);
            }
            token.verify(&key.decoding)?;
            return Ok(Trust::Own(key.kid.clone()));
        }
        let issuer = self
            .issuers
            .iter()
            .position(|issuer| issuer.name == token.claims.iss);
        match issuer {
            Some(at) => self.issuers[at].verify(token).map(|()| Trust::Issuer(at)),
            // Kazoo's own word for algorithms that nobody offers comes before the key.
            None if token.algorithm != Algorithm::RS256 => Err(TokenError::Algorithm),
            None if token.claims.iss == KAZOO => Err(TokenError::UnknownKey),
            None => Err(TokenError::UnknownIssuer),
        }
    }
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
