//! How long a failed resource is left alone: exponential, with full jitter, capped.

use std::time::Duration;

use rand::{Rng, RngExt};

/// First upper bound.
const BASE: Duration = Duration::from_secs(1);
/// Last upper bound.
const CAP: Duration = Duration::from_mins(5);
/// Never shorter than this: a vendor that answers with errors at once must not be met at once.
const FLOOR: Duration = Duration::from_millis(100);

/// The wait before the next attempt, after `failures` in a row.
pub fn wait(failures: u32, chance: &mut impl Rng) -> Duration {
    let bound = BASE.saturating_mul(2u32.saturating_pow(failures.min(16))).min(CAP);
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
            let bound = CAP.as_secs_f64().min(2f64.powi(i32::try_from(failures.min(20)).unwrap()));
            prop_assert!(wait >= FLOOR && wait.as_secs_f64() <= bound + FLOOR.as_secs_f64() + 1e-6);
        }
    }
}
