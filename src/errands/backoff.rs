//! How long an errand that failed is left alone: exponential, with full jitter, capped.

use std::time::Duration;

use rand::{Rng, RngExt};

/// First upper bound.
const BASE: Duration = Duration::from_secs(2);
/// Last upper bound: a provider that is back is asked again within a quarter of an hour.
const CAP: Duration = Duration::from_mins(15);
/// Never shorter than this.
const FLOOR: Duration = Duration::from_millis(500);

/// The wait after `failures` in a row.
pub fn wait(failures: u32, chance: &mut impl Rng) -> Duration {
    let bound = BASE.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(CAP);
    FLOOR + bound.mul_f64(chance.random::<f64>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    proptest! {
        #[test]
        fn waits_stay_between_the_floor_and_the_growing_bound(failures: u32, seed: u64) {
            let wait = wait(failures, &mut StdRng::seed_from_u64(seed));
            let bound = CAP.as_secs_f64().min(2.0 * 2f64.powi(i32::try_from(failures.min(20)).unwrap()));
            prop_assert!(wait >= FLOOR && wait.as_secs_f64() <= bound + FLOOR.as_secs_f64() + 1e-6);
        }
    }
}
