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
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    proptest! {
        #[test]
        fn waits_stay_between_the_floor_and_the_growing_bound(
            failures: u32, seed: u64, base in 1_u64..5, cap in 5_u64..1_000,
        ) {
            let (base, cap, floor) = (Duration::from_secs(base), Duration::from_secs(cap), Duration::from_millis(100));
            let wait = Backoff { base, cap, floor }.wait(failures, &mut StdRng::seed_from_u64(seed));
            let bound = base.as_secs_f64() * 2f64.powi(i32::try_from(failures.min(20)).unwrap());
            let bound = cap.as_secs_f64().min(bound) + floor.as_secs_f64() + 1e-6;
            prop_assert!(wait >= floor && wait.as_secs_f64() <= bound);
        }
    }
}
