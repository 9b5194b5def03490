//! Keeps the replicas' clocks together, by the store's.
//!
//! An event that does not say when it happened is reckoned to have happened when it came in. Two
//! replicas whose clocks differ would put such events into an order that nobody saw.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock::{CommonClock, Timestamp};
use crate::store::Store;
use crate::telemetry::chain;
use crate::telemetry::metrics::FloatGauge;

/// How often the store is asked.
const EVERY: Duration = Duration::from_secs(30);
/// An answer that took longer than this says too little.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);
/// Differences below this are left alone, as is what the way to the store may explain.
const DIFFERENCE_MIN: Duration = Duration::from_millis(5);
/// A machine whose clock is wrong by more than this needs a person.
const WRONG: Duration = Duration::from_secs(2);

/// What the store said, and when it was asked, by the machine's clock.
#[derive(Clone, Copy, Debug)]
struct Sample {
    asked_at: Timestamp,
    round_trip: Duration,
    answer: Timestamp,
}

/// Puts the clock right now and then, until `stop`; at once where the store has no time of its own.
pub async fn keep(
    clock: Arc<CommonClock>,
    store: Arc<dyn Store>,
    offset_seconds: FloatGauge,
    stop: CancellationToken,
) {
    while put_right(&clock, &*store, &offset_seconds).await {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

/// Asks the store once. False where it has no time of its own, and never will.
pub async fn put_right(clock: &CommonClock, store: &dyn Store, offset_seconds: &FloatGauge) -> bool {
    let (asked_at, began) = (clock.machine_now(), Instant::now());
    let answer = match tokio::time::timeout(ROUND_TRIP_MAX, store.time()).await {
        Ok(Ok(Some(answer))) => answer,
        Ok(Ok(None)) => return false,
        Ok(Err(error)) => {
            tracing::warn!(error = %chain(&error), "failed to ask the store for the time; will try again");
            return true;
        }
        Err(_) => {
            tracing::warn!(
                "failed to ask the store for the time: it did not answer soon enough; will try again"
            );
            return true;
        }
    };
    let sample = Sample { asked_at, round_trip: began.elapsed(), answer };
    let known = clock.offset_us();
    let offset = offset_us(known, sample);
    if offset != known {
        clock.set_offset_us(offset);
        tracing::debug!(offset_us = offset, was_us = known, "put the clock right");
    }
    let seconds = Duration::from_micros(offset.unsigned_abs());
    if seconds > WRONG {
        tracing::warn!(
            offset_us = offset,
            "this machine's clock is not the store's; the store's is used, but mend the machine's"
        );
    }
    offset_seconds.set(seconds.as_secs_f64().copysign(if offset < 0 { -1.0 } else { 1.0 }));
    true
}

/// The offset to use after a sample, where `known` was used before.
fn offset_us(known: i64, sample: Sample) -> i64 {
    // The answer is from some moment of the round trip; the middle is wrong by half of it at most.
    let uncertain = sample.round_trip / 2;
    let seen = sample.answer.as_micros().saturating_sub(sample.asked_at.after(uncertain).as_micros());
    let difference = Duration::from_micros(seen.abs_diff(known));
    if difference < DIFFERENCE_MIN.max(uncertain) { known } else { seen }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, TokioClock};
    use crate::sync::stage::{ACME, Mood, Stage};

    #[test]
    fn the_middle_of_the_round_trip_is_compared_and_small_differences_are_left_alone() {
        for (known_ms, round_trip_ms, answer_ms, expected_ms) in [
            (0, 2, 10_001, 0),
            (0, 2, 10_005, 0),
            (0, 2, 10_006, 5),
            (0, 2, 9_996, -5),
            (0, 400, 10_390, 0),
            (0, 400, 10_500, 300),
            (0, 2, 3_610_001, 3_600_000),
            (5, 2, 10_007, 5),
            (300, 2, 10_001, 0),
        ] {
            let sample = Sample {
                asked_at: Timestamp::from_seconds(10),
                round_trip: Duration::from_millis(round_trip_ms),
                answer: Timestamp::from_micros(answer_ms * 1_000),
            };
            let offset = offset_us(known_ms * 1_000, sample);
            assert_eq!(offset, expected_ms * 1_000, "{known_ms} {round_trip_ms} {answer_ms}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_stores_time_is_everybodys_and_a_store_without_one_changes_nothing() {
        let stage = Stage::new(&[ACME], 1.0).await;
        let store = stage.world.view();
        let machine = Arc::new(TokioClock::starting_at(Timestamp::from_seconds(1_000)));
        let (clock, gauge) = (Arc::new(CommonClock::new(machine)), FloatGauge::default());
        assert!(!put_right(&clock, &*store, &gauge).await);
        assert_eq!(clock.now(), Timestamp::from_seconds(1_000));

        let set = |seconds| {
            stage.world.habits.lock().unwrap().time =
                Some((Timestamp::from_seconds(seconds), Instant::now()));
        };
        set(2_000);
        let stop = CancellationToken::new();
        let keeping = keep(Arc::clone(&clock), store.clone(), gauge.clone(), stop.clone());
        let keeping = tokio::spawn(keeping);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(clock.now(), Timestamp::from_seconds(2_001));
        assert!((gauge.get() - 1_000.0).abs() < f64::EPSILON, "{}", gauge.get());

        // What the store does not tell changes nothing.
        store.set_mood(Mood::Silent);
        sleep(EVERY + ROUND_TRIP_MAX).await;
        assert_eq!(clock.now(), Timestamp::from_seconds(2_001).after(EVERY + ROUND_TRIP_MAX));
        store.set_mood(Mood::Well);
        set(1_000);
        sleep(EVERY).await;
        assert!(clock.now() < Timestamp::from_seconds(1_100), "{}", clock.now());
        stop.cancel();
        keeping.await.unwrap();
    }
}
