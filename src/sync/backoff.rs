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
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn waits_stay_between_the_floor_and_the_growing_bound() {
        for (failures, bound) in [(0, 1), (1, 2), (5, 32), (8, 256), (9, 300), (u32::MAX, 300)] {
            let (mut chance, bound) = (StdRng::seed_from_u64(7), Duration::from_secs(bound));
            let waits: Vec<Duration> = (0..1_000).map(|_| wait(failures, &mut chance)).collect();
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!((FLOOR..FLOOR + bound.mul_f64(0.02)).contains(least), "{failures}: {least:?}");
            let top = FLOOR + bound.mul_f64(0.98)..=FLOOR + bound;
            assert!(top.contains(most), "{failures}: {most:?}");
        }
    }
}
