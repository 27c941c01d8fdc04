//! The token: a JWT as Kazoo makes it (kazoo-rest.md chapter C). Pure: time is an argument, keys
//! come from whoever calls.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Deserialize;

use crate::model::id::hex;
use crate::model::{Claims, Secret, TokenDigest};

/// The issuer whose tokens the gateway signs itself.
pub const KAZOO: &str = "kazoo";

/// Longer texts are not looked at.
const MAX_LENGTH: usize = 16 * 1024;

/// Why a token is worth nothing. The text is short and holds nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Not three parts of base64url with JSON in the first two, or a claim of the wrong type.
    Malformed,
    /// An algorithm that is not on the issuer's list.
    Algorithm,
    /// An issuer that nobody configured.
    UnknownIssuer,
    /// A key that the issuer does not have.
    UnknownKey,
    /// The signature does not fit.
    BadSignature,
    /// `exp` is not in the future.
    Expired,
    /// `identity_sig` missing or wrong: the user's secret has changed.
    BadIdentity,
    /// No account, or one that is not an id.
    NoAccount,
    /// The account or the user is not there any more.
    UnknownIdentity,
    /// The account or the user is disabled.
    Disabled,
    /// Somebody logged out with it.
    Revoked,
    /// The issuer may not speak for super-duper admins.
    Superduper,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm not supported",
            Self::UnknownIssuer => "unknown issuer",
            Self::UnknownKey => "unknown key",
            Self::BadSignature => "bad signature",
            Self::Expired => "expired",
            Self::BadIdentity => "bad identity signature",
            Self::NoAccount => "no account",
            Self::UnknownIdentity => "unknown account or user",
            Self::Disabled => "account or user disabled",
            Self::Revoked => "revoked",
            Self::Superduper => "issuer not allowed for this account",
        })
    }
}

impl std::error::Error for TokenError {}

/// A token taken apart, nothing of it believed yet.
#[derive(Debug)]
pub struct Parsed<'a> {
    /// The algorithm that it claims.
    pub algorithm: Algorithm,
    /// The key that it claims.
    pub kid: Option<String>,
    /// What it claims.
    pub claims: Claims,
    signed: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    kid: Option<String>,
}

/// Takes a token apart.
pub fn parse(token: &str) -> Result<Parsed<'_>, TokenError> {
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    if token.len() > MAX_LENGTH || claims.contains('.') {
        return Err(TokenError::Malformed);
    }
    let header: RawHeader = decode(header)?;
    let algorithm = header.alg.parse().map_err(|_| TokenError::Algorithm)?;
    Ok(Parsed {
        algorithm,
        kid: header.kid,
        claims: decode(claims)?,
        signed,
        signature,
    })
}

fn decode<'a, T: for<'d> Deserialize<'d>>(part: &'a str) -> Result<T, TokenError> {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

impl Parsed<'_> {
    /// Names the token, whoever signed it.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(sha256(self.signed))
    }

    /// Whether this key made the signature with the algorithm that the token claims. The caller has
    /// checked that the algorithm is allowed.
    pub fn verify(&self, key: &DecodingKey) -> Result<(), TokenError> {
        let signed = self.signed.as_bytes();
        match jsonwebtoken::crypto::verify(self.signature, signed, key, self.algorithm) {
            Ok(true) => Ok(()),
            _ => Err(TokenError::BadSignature),
        }
    }
}

impl Claims {
    /// `exp` must lie in the future, strictly (C.2).
    pub fn check_expiry(&self, unix: u64) -> Result<(), TokenError> {
        match self.exp {
            Some(exp) if exp <= unix => Err(TokenError::Expired),
            _ => Ok(()),
        }
    }

    /// `identity_sig` must be there and fit, compared in constant time.
    pub fn check_identity(&self, id: &str, key: &Secret) -> Result<(), TokenError> {
        let expected = identity_signature(id, key);
        let given = self.identity_sig.as_deref().unwrap_or_default();
        constant_time::verify_slices_are_equal(expected.as_bytes(), given.as_bytes())
            .map_err(|_| TokenError::BadIdentity)
    }
}

/// SHA-256 of a text.
pub fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    hash
}

/// `identity_sig` (C.4) over an identity's id.
pub fn identity_signature(id: &str, key: &Secret) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, id.as_bytes()))
}

/// The secret of a user's tokens from a change of the password on (Unix milliseconds): 32 hex digits,
/// made of the installation's own secret, so that nodes with copies of one database agree on it.
pub fn token_secret(installation: &Secret, user: &str, since: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, installation.expose().as_bytes());
    let tag = hmac::sign(&key, format!("tokens of {user} since {since}").as_bytes());
    hex(&tag.as_ref()[..16])
}

/// Signs claims with a key of our own (RS256, with its `kid`).
pub fn sign(claims: &Claims, kid: &str, key: &EncodingKey) -> Result<String, TokenError> {
    let header = Header {
        kid: Some(kid.to_owned()),
        ..Header::new(Algorithm::RS256)
    };
    jsonwebtoken::encode(&header, claims, key).map_err(|_| TokenError::UnknownKey)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The vectors of kazoo-rest.md chapter I.
    pub(in crate::auth) const TOKEN: &str = include_str!("../../tests/fixtures/token/token.jwt");
    pub(in crate::auth) const PUBLIC_KEY: &str =
        include_str!("../../tests/fixtures/token/public.pem");
    pub(in crate::auth) const EXPIRES: u64 = 1_795_370_854;

    fn key() -> DecodingKey {
        DecodingKey::from_rsa_pem(PUBLIC_KEY.as_bytes()).expect("a key")
    }

    #[test]
    fn a_token_of_kazoos_own() {
        let parsed = parse(TOKEN.trim()).expect("well formed");
        assert_eq!(parsed.algorithm, Algorithm::RS256);
        assert_eq!(
            parsed.kid.as_deref(),
            Some("5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e")
        );
        assert_eq!(parsed.claims.iss, KAZOO);
        assert_eq!(parsed.verify(&key()), Ok(()));
        assert_eq!(parsed.claims.check_expiry(EXPIRES - 1), Ok(()));
        assert_eq!(
            parsed.claims.check_expiry(EXPIRES),
            Err(TokenError::Expired)
        );
        let secret =
            Secret::new("0123456789abcdef0123456789abcdeffedcba9876543210fedcba9876543210");
        let identity = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
        assert_eq!(parsed.claims.check_identity(identity, &secret), Ok(()));
        assert_eq!(
            identity_signature(identity, &secret),
            "0llaOGLqsz8ez9jUZE4Kt3p9NFb8myBrbS1Bu8CTCIQ"
        );
        let account = Secret::new(format!(
            "{}{}",
            "2".repeat(32),
            "fedcba9876543210fedcba9876543210"
        ));
        assert_eq!(
            identity_signature("aa11bb22cc33dd44ee55ff6600112233", &account),
            "w_sAsTg_lf8e7Cmf_-oP6GF03Ae9TrsGC5lyZGksWH0"
        );
    }

    #[test]
    fn tampered_tokens() {
        let token = TOKEN.trim();
        let (rest, last) = token.split_at(token.len() - 2);
        let other = if last.starts_with('A') { "BA" } else { "AA" };
        let changed = format!("{rest}{other}");
        let parsed = parse(&changed).expect("well formed");
        assert_eq!(parsed.verify(&key()), Err(TokenError::BadSignature));
        let without = Claims {
            identity_sig: None,
            ..parse(token).expect("ok").claims
        };
        assert_eq!(
            without.check_identity("x", &Secret::new("")),
            Err(TokenError::BadIdentity)
        );
    }

    #[test]
    fn what_is_no_token() {
        let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
        for (token, expected) in [
            (String::new(), TokenError::Malformed),
            ("a.b".into(), TokenError::Malformed),
            (
                "0123456789abcdef0123456789abcdef".into(),
                TokenError::Malformed,
            ),
            (
                format!("{}.{}.x", part("{}"), part("{}")),
                TokenError::Malformed,
            ),
            (
                format!("{}.{}.x.y", part(r#"{"alg":"RS256"}"#), part("{}")),
                TokenError::Malformed,
            ),
            (
                format!("{}.{}.x", part(r#"{"alg":"none"}"#), part("{}")),
                TokenError::Algorithm,
            ),
            (
                format!(
                    "{}.{}.x",
                    part(r#"{"alg":"RS256"}"#),
                    part(r#"{"exp":"soon"}"#)
                ),
                TokenError::Malformed,
            ),
            (
                format!("{}.{}.", "A".repeat(20_000), part("{}")),
                TokenError::Malformed,
            ),
        ] {
            assert_eq!(parse(&token).err(), Some(expected), "{token}");
        }
    }
}
