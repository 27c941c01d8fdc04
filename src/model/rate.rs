//! A token bucket; time is passed in.

use std::time::{Duration, Instant};

/// Holds up to `burst` tokens and gains `per_second`.
#[derive(Debug, Clone)]
pub struct Bucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    refilled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        Self {
            tokens: f64::from(burst),
            burst: f64::from(burst),
            per_second: f64::from(per_second),
            refilled: now,
        }
    }

    /// Takes one token; false when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.per_second).min(self.burst);
        self.refilled = now;
        let some = self.tokens >= 1.0;
        if some {
            self.tokens -= 1.0;
        }
        some
    }

    /// Whole tokens left by the last [`Bucket::take`].
    pub fn left(&self) -> u32 {
        // Between 0 and the burst, which is a u32.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let left = self.tokens as u32;
        left
    }

    /// From the last [`Bucket::take`] until there is a token.
    pub fn wait(&self) -> Duration {
        let missing = (1.0 - self.tokens).max(0.0);
        Duration::from_secs_f64(missing / self.per_second.max(0.001))
    }

    /// Whether the bucket would be full by now, so that it can be forgotten.
    pub fn is_full(&self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled);
        self.tokens + elapsed.as_secs_f64() * self.per_second >= self.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_at_once_then_ten_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100, 10, start);
        assert_eq!((0..200).filter(|_| bucket.take(start)).count(), 100);
        let later = start + Duration::from_secs(2);
        assert!(!bucket.is_full(later));
        assert_eq!((0..200).filter(|_| bucket.take(later)).count(), 20);
        assert!(bucket.is_full(later + Duration::from_secs(10)));
    }
}
