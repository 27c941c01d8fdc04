//! Chance that can be repeated: SplitMix64, and the few distributions that calls need. Good enough for
//! made-up telephone calls, and for nothing secret.

/// The same seed gives the same numbers on every machine.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// For something that has a name: its ids stay, whatever else is added to the simulation.
    pub(super) fn named(seed: u64, name: &str) -> Self {
        // FNV-1a.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut rng = Self(seed ^ hash);
        rng.next();
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 or more, below 1.
    fn unit(&mut self) -> f64 {
        // 53 bits fit a float exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }

    pub(super) fn chance(&mut self, part: f64) -> bool {
        self.unit() < part
    }

    /// From `least` up to, and without, `most`.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % most.saturating_sub(least).max(1)
    }

    /// An index of something that has `length` members.
    pub(super) fn index(&mut self, length: usize) -> usize {
        let most = u64::try_from(length).unwrap_or(u64::MAX);
        usize::try_from(self.between(0, most)).unwrap_or_default()
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// One of some choices, each with its weight.
    pub(super) fn weighted<T: Copy>(&mut self, of: &[(u64, T)]) -> T {
        let mut at = self.between(0, of.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in of {
            if at < *weight {
                return *choice;
            }
            at -= weight;
        }
        of[0].1
    }

    /// Milliseconds to the next of events that come at random, so many milliseconds apart on average.
    pub(super) fn exponential(&mut self, mean: f64) -> u64 {
        millis(-mean * (1.0 - self.unit()).ln())
    }

    /// Milliseconds around `median`: most a little less, some much more, as calls last.
    pub(super) fn lognormal(&mut self, median: f64, sigma: f64) -> u64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        millis(median * (sigma * normal).exp())
    }

    /// Lower-case hex digits.
    pub(super) fn hex(&mut self, digits: usize) -> String {
        let mut out = String::with_capacity(digits + 16);
        while out.len() < digits {
            out.push_str(&format!("{:016x}", self.next()));
        }
        out.truncate(digits);
        out
    }

    /// As the switch names its channels.
    pub(super) fn uuid(&mut self) -> String {
        let hex = self.hex(30);
        format!(
            "{}-{}-4{}-a{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..15],
            &hex[15..18],
            &hex[18..]
        )
    }
}

fn millis(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded just here"
    )]
    let millis = value.clamp(0.0, 1e12) as u64;
    millis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_itself() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (rng.uuid(), rng.between(5, 9), rng.lognormal(1e5, 0.7))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(draw(1).0.len(), 36);
        assert_ne!(Rng::named(1, "a").hex(32), Rng::named(1, "b").hex(32));
    }

    #[test]
    fn keeps_its_averages() {
        let mut rng = Rng::new(7);
        let draws = 20_000;
        let sum: u64 = (0..draws).map(|_| rng.exponential(5_000.0)).sum();
        assert!((4_800..5_200).contains(&(sum / draws)), "{}", sum / draws);
        let short = (0..draws).filter(|_| rng.lognormal(1_000.0, 0.7) < 1_000);
        assert!((9_700..10_300).contains(&short.count()));
        let first = (0..draws).filter(|_| rng.weighted(&[(1, true), (3, false)]));
        assert!((4_700..5_300).contains(&first.count()));
        assert!((0..draws).all(|_| (3..6).contains(&rng.between(3, 6))));
    }
}
