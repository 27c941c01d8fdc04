//! The system's randomness: ids, passwords, salts.

use crate::model::id::hex;

/// 32 random hex digits.
pub fn random_id() -> String {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    hex(&bytes)
}

/// A password of this many letters and digits, without those that look alike.
pub fn random_text(length: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789A";
    let mut bytes = vec![0; length];
    fill(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect()
}

/// Fills a buffer with random bytes.
pub fn fill(bytes: &mut [u8]) {
    // Fails only where the system has no randomness at all; nothing may go on then.
    #[expect(
        clippy::expect_used,
        reason = "a secret without randomness must never exist"
    )]
    aws_lc_rs::rand::fill(bytes).expect("the system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::is_hex32;

    #[test]
    fn looks_as_it_should() {
        assert!(is_hex32(&random_id()));
        assert_ne!(random_id(), random_id());
        assert_eq!(random_text(20).len(), 20);
    }
}
