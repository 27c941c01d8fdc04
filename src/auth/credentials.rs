//! What a log-in sends (md5 or sha1 of `user:password`, kazoo-rest.md B.1) and what is stored of it:
//! only a slow salted hash, so that a stolen database is not a list of credentials.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use md5::{Digest, Md5};

use crate::model::id::hex;

/// How a client made its credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `md5`, the default.
    Md5,
    /// `sha`, meaning SHA-1.
    Sha1,
}

/// The credential of a user: hex digest of `username:password`, the name in lower case.
pub fn credential(method: Method, username: &str, password: &str) -> String {
    let text = format!("{}:{password}", username.to_lowercase());
    match method {
        Method::Md5 => hex(&Md5::digest(text.as_bytes())),
        Method::Sha1 => hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref()),
    }
}

/// argon2id of a credential under an account's salt (19 MiB, 2 passes, as OWASP advises): tens of
/// milliseconds of CPU, so never on a runtime thread. Credentials longer than Kazoo's 64 characters
/// are the caller's to refuse.
pub fn slow_hash(credential: &str, salt: &[u8; 16]) -> Vec<u8> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default());
    let mut out = vec![0; 32];
    // Fails only for lengths that are constant here, or a password of 4 GiB.
    let done = argon2.hash_password_into(credential.as_bytes(), salt, &mut out);
    if done.is_ok() { out } else { Vec::new() }
}

/// What is stored of a user's password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hashes {
    /// [`slow_hash`] of the md5 credential.
    pub md5: Vec<u8>,
    /// [`slow_hash`] of the sha1 credential.
    pub sha1: Vec<u8>,
}

impl Hashes {
    /// Of a new password. Slow on purpose: two argon2id hashes.
    pub fn new(username: &str, password: &str, salt: &[u8; 16]) -> Self {
        let hash = |method| slow_hash(&credential(method, username, password), salt);
        Self {
            md5: hash(Method::Md5),
            sha1: hash(Method::Sha1),
        }
    }

    /// The one that a log-in of this method is compared with.
    pub fn of(&self, method: Method) -> &[u8] {
        match method {
            Method::Md5 => &self.md5,
            Method::Sha1 => &self.sha1,
        }
    }
}

/// Compares stored and computed hash in constant time. An empty one equals nothing.
pub fn same(stored: &[u8], computed: &[u8]) -> bool {
    !stored.is_empty()
        && aws_lc_rs::constant_time::verify_slices_are_equal(stored, computed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kazoos_digests() {
        let md5 = credential(Method::Md5, "Bob", "secret");
        assert_eq!(md5, "a5ab2b88c7de2711ffcb9c24fe8a545a");
        let sha1 = credential(Method::Sha1, "bob", "secret");
        assert_eq!(sha1.len(), 40);
        let stored = slow_hash(&md5, &[7; 16]);
        assert!(same(&stored, &slow_hash(&md5, &[7; 16])));
        assert!(!same(&stored, &slow_hash(&md5, &[8; 16])));
        assert!(!same(&stored, &slow_hash(&sha1, &[7; 16])));
        assert!(!same(&[], &[]));
    }
}
