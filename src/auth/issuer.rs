//! Whose tokens are trusted. `kazoo` with the gateway's own keys always is; others are listed in the
//! settings with their keys. Nothing is ever fetched because a token names it.

use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;

use super::token::{KAZOO, Parsed, TokenError};

/// One `[[issuer]]` table of the settings file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// The claim `iss`, compared as it is.
    pub name: String,
    /// Of RS256, ES256, EdDSA, HS256. Nothing else is accepted.
    pub algorithms: Vec<String>,
    /// A PEM file with one public key.
    pub key: Option<PathBuf>,
    /// A JWKS file with several, told apart by `kid`.
    pub jwks: Option<PathBuf>,
    /// A file with the shared secret of HS256.
    pub secret: Option<PathBuf>,
    /// Whether `identity_sig` must fit a user or account known here. By default for `kazoo` only;
    /// `false` accepts tokens of a Kazoo cluster whose users are not known here.
    pub identity_sig: Option<bool>,
    /// Whether its tokens may be those of a super-duper admin's account. Off by default.
    #[serde(default)]
    pub superduper: bool,
}

/// Why an issuer cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("issuer {name:?}: {reason}")]
pub struct IssuerError {
    name: String,
    reason: String,
}

/// An issuer from the settings, its keys read.
pub struct TrustedIssuer {
    pub(super) name: String,
    algorithms: Vec<Algorithm>,
    /// With their `kid`, where they have one.
    keys: Vec<(Option<String>, DecodingKey)>,
    pub(super) identity_sig: bool,
    pub(super) superduper: bool,
}

impl std::fmt::Debug for TrustedIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustedIssuer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl TrustedIssuer {
    /// Reads the keys. Paths are taken from the directory of the settings file.
    pub fn load(settings: &IssuerSettings, base: &Path) -> Result<Self, IssuerError> {
        let fail = |reason: String| IssuerError {
            name: settings.name.clone(),
            reason,
        };
        let mut algorithms = Vec::new();
        for name in &settings.algorithms {
            algorithms.push(match name.as_str() {
                "RS256" => Algorithm::RS256,
                "ES256" => Algorithm::ES256,
                "EdDSA" => Algorithm::EdDSA,
                "HS256" => Algorithm::HS256,
                _ => {
                    let allowed = "RS256, ES256, EdDSA, HS256";
                    return Err(fail(format!("algorithm {name:?} is not one of {allowed}")));
                }
            });
        }
        let Some(first) = algorithms.first() else {
            return Err(fail("algorithms is empty".into()));
        };
        let read = |path: &Path| {
            let path = base.join(path);
            std::fs::read(&path).map_err(|error| fail(format!("{}: {error}", path.display())))
        };
        let bad_key = |path: &Path| fail(format!("{} holds no key for {first:?}", path.display()));
        let shared = algorithms.contains(&Algorithm::HS256);
        if shared && algorithms.len() > 1 {
            // Or a public key could be taken for a shared secret.
            return Err(fail(
                "HS256 must be the only algorithm of its issuer".into(),
            ));
        }
        let keys = match (&settings.key, &settings.jwks, &settings.secret) {
            (Some(path), None, None) if !shared => {
                let pem = read(path)?;
                let key = match first.family() {
                    AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(&pem),
                    AlgorithmFamily::Ec => DecodingKey::from_ec_pem(&pem),
                    _ => DecodingKey::from_ed_pem(&pem),
                };
                vec![(None, key.map_err(|_| bad_key(path))?)]
            }
            (None, Some(path), None) if !shared => {
                let set: JwkSet = serde_json::from_slice(&read(path)?)
                    .map_err(|error| fail(format!("{}: {error}", path.display())))?;
                let keys: Vec<_> = set
                    .keys
                    .iter()
                    .filter_map(|jwk| {
                        let key = DecodingKey::from_jwk(jwk).ok()?;
                        let public = key.family() != AlgorithmFamily::Hmac;
                        public.then(|| (jwk.common.key_id.clone(), key))
                    })
                    .collect();
                if keys.is_empty() {
                    return Err(bad_key(path));
                }
                keys
            }
            (None, None, Some(path)) if shared => {
                let mut secret = read(path)?;
                while secret.last().is_some_and(u8::is_ascii_whitespace) {
                    secret.pop();
                }
                if secret.len() < 32 {
                    return Err(fail(format!(
                        "{}: a secret needs 32 bytes or more",
                        path.display()
                    )));
                }
                vec![(None, DecodingKey::from_secret(&secret))]
            }
            _ => {
                let reason = "needs exactly one of key (PEM), jwks, or for HS256 secret";
                return Err(fail(reason.into()));
            }
        };
        Ok(Self {
            name: settings.name.clone(),
            algorithms,
            keys,
            identity_sig: settings.identity_sig.unwrap_or(settings.name == KAZOO),
            superduper: settings.superduper,
        })
    }

    /// Verifies a token of this issuer.
    pub(super) fn verify(&self, token: &Parsed<'_>) -> Result<(), TokenError> {
        if !self.algorithms.contains(&token.algorithm) {
            return Err(TokenError::Algorithm);
        }
        let mut result = Err(TokenError::UnknownKey);
        for (kid, key) in &self.keys {
            let named = kid.is_none() || token.kid.is_none() || *kid == token.kid;
            if named && key.family() == token.algorithm.family() {
                result = token.verify(key);
                if result.is_ok() {
                    break;
                }
            }
        }
        result
    }
}
