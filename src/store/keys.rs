//! The keys that sign our tokens.

use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::sqlite::{Store, StoreError};
use crate::auth::SigningKey;

impl Store {
    /// All of them, oldest first.
    pub(super) fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
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
}

fn signing_key(kid: String, pkcs8: &[u8]) -> Result<SigningKey, StoreError> {
    let bad = || StoreError::File(format!("signing key {kid} cannot be read"));
    let pair = KeyPair::from_pkcs8(pkcs8).map_err(|_| bad())?;
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        BASE64_STANDARD.encode(pkcs8)
    );
    let encoding = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| bad())?;
    let decoding = DecodingKey::from_rsa_der(pair.public_key().as_ref());
    Ok(SigningKey {
        kid,
        encoding,
        decoding,
    })
}
