//! How long what failed is left alone: exponential, with full jitter, capped.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The bounds of a wait.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// First upper bound; each further failure doubles it.
    pub base: Duration,
    /// Last upper bound.
    pub cap: Duration,
    /// Never shorter than this: who answers with errors at once must not be met at once.
    pub floor: Duration,
}

impl Backoff {
    /// The wait after `failures` in a row.
    pub fn wait(&self, failures: u32, chance: &mut impl Rng) -> Duration {
        let bound = self.base.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(self.cap);
        self.floor + bound.mul_f64(chance.random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn waits_stay_between_the_floor_and_the_growing_bound() {
        let floor = Duration::from_millis(100);
        let backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_mins(5), floor };
        for (failures, bound) in [(0, 1), (1, 2), (5, 32), (8, 256), (9, 300), (u32::MAX, 300)] {
            let (mut chance, bound) = (StdRng::seed_from_u64(7), Duration::from_secs(bound));
            let waits: Vec<Duration> = (0..1_000).map(|_| backoff.wait(failures, &mut chance)).collect();
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!((floor..floor + bound.mul_f64(0.02)).contains(least), "{failures}: {least:?}");
            let top = floor + bound.mul_f64(0.98)..=floor + bound;
            assert!(top.contains(most), "{failures}: {most:?}");
        }
    }
}
