//! Token buckets for whoever asks without a token, or tries passwords (kazoo-rest.md A.11).

use std::hash::Hash;
use std::time::Instant;

use dashmap::DashMap;

use crate::model::Bucket;

/// Keys remembered before those with a full bucket are forgotten.
const MANY: usize = 10_000;

/// A bucket for each client, or for each account.
#[derive(Debug)]
pub(super) struct Buckets<K: Eq + Hash> {
    buckets: DashMap<K, Bucket>,
    burst: u32,
    per_second: u32,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        Self {
            buckets: DashMap::new(),
            burst,
            per_second,
        }
    }

    /// Takes one: how many are left, or in how many seconds there is one again.
    pub(super) fn take(&self, key: K) -> Result<u32, u64> {
        let now = Instant::now();
        if self.buckets.len() >= MANY {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let mut bucket = self
            .buckets
            .entry(key)
            .or_insert_with(|| Bucket::new(self.burst, self.per_second, now));
        if bucket.take(now) {
            Ok(bucket.left())
        } else {
            Err(bucket.wait().as_secs() + 1)
        }
    }

    /// How many are left.
    pub(super) fn left(&self, key: &K) -> u32 {
        let bucket = self.buckets.get(key);
        bucket.map_or(self.burst, |bucket| bucket.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_does_not_take_from_another() {
        let buckets = Buckets::new(2, 1);
        assert_eq!(buckets.take("a"), Ok(1));
        assert_eq!(buckets.take("a"), Ok(0));
        assert_eq!(buckets.take("a"), Err(1));
        assert_eq!(buckets.left(&"b"), 2);
        assert_eq!(buckets.take("b"), Ok(1));
    }
}
