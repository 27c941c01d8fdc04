//! Token checks as the sockets and REST ask for them: a cached signature, then everything that can
//! change (expiry, the user's secret, what is disabled) against the directory of this moment.

use std::sync::Arc;

use dashmap::DashMap;
use jsonwebtoken::Algorithm;

use super::access;
use super::directory::{AccountRecord, Directory};
use super::issuer::TrustedIssuer;
use super::live::Live;
use super::token::{self, KAZOO, Parsed, TokenError, sha256};
use crate::catalogue::Account;
use crate::model::{AccountId, Claims, Grant, Identity, Token, Voucher};

/// Signatures remembered at most; beyond that the memory starts anew.
const CACHE_SIZE: usize = 100_000;

/// Checks and makes tokens.
#[derive(Debug)]
pub struct Authority {
    live: Arc<Live>,
    issuers: Vec<TrustedIssuer>,
    /// By SHA-256 of the token: whose signature was found good, and what the token says.
    verified: DashMap<[u8; 32], Arc<Grant>>,
}

/// A token to be made.
#[derive(Debug)]
pub struct NewToken<'a> {
    /// Its account.
    pub account: &'a AccountRecord,
    /// Its user; `None` for a token of the account as such.
    pub owner: Option<&'a str>,
    /// How it was obtained, such as `cb_user_auth`.
    pub method: &'a str,
    /// Unix seconds.
    pub expires_at: u64,
    /// Random: no two tokens are the same.
    pub id: String,
}

impl Authority {
    /// Over a directory that the store keeps fresh.
    pub fn new(live: Arc<Live>, issuers: Vec<TrustedIssuer>) -> Self {
        Self {
            live,
            issuers,
            verified: DashMap::new(),
        }
    }

    /// What tokens are checked against, and the news of its changes.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The accounts and users of this moment.
    pub fn directory(&self) -> Arc<Directory> {
        self.live.directory()
    }

    /// Who the token speaks for at this time (Unix seconds).
    pub fn verify(&self, token: &Token, unix: u64) -> Result<Identity, TokenError> {
        let directory = self.live.directory();
        let grant = self.grant(&directory, token)?;
        self.standing(&directory, grant, unix)
    }

    /// Looks again at a token that was good once.
    pub fn look_again(&self, identity: &Identity, unix: u64) -> Result<Identity, TokenError> {
        self.standing(&self.live.directory(), identity.grant.clone(), unix)
    }

    /// Everything about a token that can change while its signature stays good.
    fn standing(
        &self,
        directory: &Directory,
        grant: Arc<Grant>,
        unix: u64,
    ) -> Result<Identity, TokenError> {
        let claims = &grant.claims;
        claims.check_expiry(unix)?;
        if self.live.is_revoked(&grant.digest) {
            return Err(TokenError::Revoked);
        }
        let account = claims
            .account_id
            .as_deref()
            .and_then(AccountId::parse)
            .ok_or(TokenError::NoAccount)?;
        let owner = claims.owner_id.as_deref();
        let (check_identity, superduper_allowed) = match &grant.voucher {
            Voucher::None => return Err(TokenError::UnknownKey),
            Voucher::Own(kid) => {
                directory.key(kid).ok_or(TokenError::UnknownKey)?;
                (true, true)
            }
            Voucher::Issuer(at) => (self.issuers[*at].identity_sig, self.issuers[*at].superduper),
        };
        if check_identity {
            let key = directory.identity_key(&account, owner);
            let (id, secret) = key.ok_or(TokenError::UnknownIdentity)?;
            claims.check_identity(&id, &secret)?;
        }
        if directory.is_gone(account.as_str()) || owner.is_some_and(|id| directory.is_gone(id)) {
            return Err(TokenError::UnknownIdentity);
        }
        let record = directory.account(&account);
        let user = owner.and_then(|owner| directory.user_of(&account, owner));
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
            owner: claims.owner_id.clone(),
            expires_at: claims.exp,
            grant,
        })
    }

    /// The account that a subscriber asks for, or the protocol's error text.
    pub fn subscriber(&self, identity: &Identity, wanted: &str) -> Result<Account, String> {
        access::subscriber(&self.live.directory(), identity, wanted)
    }

    /// A token of our own for an account, or for one of its users.
    pub fn issue(&self, new: NewToken<'_>) -> Result<Token, TokenError> {
        let directory = self.live.directory();
        let key = directory.newest_key().ok_or(TokenError::UnknownKey)?;
        let identity = directory.identity_key(&new.account.id, new.owner);
        let (id, secret) = identity.ok_or(TokenError::UnknownIdentity)?;
        let claims = Claims {
            iss: KAZOO.into(),
            identity_sig: Some(token::identity_signature(&id, &secret)),
            account_id: Some(new.account.id.to_string()),
            owner_id: new.owner.map(str::to_owned),
            method: Some(new.method.into()),
            exp: Some(new.expires_at),
            jti: Some(new.id),
        };
        token::sign(&claims, &key.kid, &key.encoding).map(Token::new)
    }

    fn grant(&self, directory: &Directory, token: &Token) -> Result<Arc<Grant>, TokenError> {
        let hash = sha256(token.expose());
        if let Some(known) = self.verified.get(&hash) {
            return Ok(known.clone());
        }
        let parsed = token::parse(token.expose())?;
        let voucher = self.voucher(directory, &parsed)?;
        if self.verified.len() >= CACHE_SIZE {
            self.verified.clear();
        }
        let grant = Arc::new(Grant {
            digest: parsed.digest(),
            voucher,
            claims: parsed.claims,
        });
        self.verified.insert(hash, grant.clone());
        Ok(grant)
    }

    fn voucher(&self, directory: &Directory, token: &Parsed<'_>) -> Result<Voucher, TokenError> {
        let own = token.kid.as_deref().and_then(|kid| directory.key(kid));
        if let (KAZOO, Some(key)) = (token.claims.iss.as_str(), own) {
            if token.algorithm != Algorithm::RS256 {
                return Err(TokenError::Algorithm);
            }
            token.verify(&key.decoding)?;
            return Ok(Voucher::Own(key.kid.clone()));
        }
        let issuer = self
            .issuers
            .iter()
            .position(|issuer| issuer.name == token.claims.iss);
        match issuer {
            Some(at) => self.issuers[at].verify(token).map(|()| Voucher::Issuer(at)),
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
