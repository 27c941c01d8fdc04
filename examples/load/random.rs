//! Random numbers that a seed repeats (SplitMix64), and Zipf's distribution.

/// A sequence that depends on its seed only.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to and without `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end)).unwrap_or_default()
    }

    /// From 0 up to and without 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Places of which the first is chosen most often: place `n` with weight 1 / (n + 1).
#[derive(Debug)]
pub(crate) struct Zipf(Vec<f64>);

impl Zipf {
    pub(crate) fn new(places: u32) -> Self {
        let mut sum = 0.0;
        let weights = (0..places).map(|place| {
            sum += 1.0 / f64::from(place + 1);
            sum
        });
        Self(weights.collect())
    }

    pub(crate) fn choose(&self, random: &mut Random) -> u32 {
        let point = random.share() * self.0.last().copied().unwrap_or_default();
        let place = self.0.partition_point(|sum| *sum <= point);
        u32::try_from(place.min(self.0.len() - 1)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_places_are_chosen_more_often() {
        let (zipf, mut random) = (Zipf::new(100), Random::new(1));
        let mut counts = [0; 100];
        for _ in 0..10_000 {
            counts[zipf.choose(&mut random) as usize] += 1;
        }
        assert!(
            counts[0] > 1500 && counts[1] > 700 && counts[99] < 60,
            "{counts:?}"
        );
        assert_eq!(Random::new(7).next(), Random::new(7).next());
    }
}
