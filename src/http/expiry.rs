//! When secrets end, where the configuration says so: nobody is surprised by an end that was written down.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};

/// How often the log says that a secret ends.
const REMINDED_EVERY: Duration = Duration::from_hours(24);

/// A secret whose end is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Where the configuration says it: `sources.okta`, `targets.acme.auth`.
    pub secret: String,
    /// Its end.
    pub at: Timestamp,
}

impl Expiry {
    /// Whole seconds that are left; negative once it has ended.
    pub const fn seconds_left(&self, now: Timestamp) -> i64 {
        self.at.as_seconds().saturating_sub(now.as_seconds())
    }

    /// Whether somebody should act, `notice` ahead of the end.
    pub fn is_near(&self, notice: Duration, now: Timestamp) -> bool {
        i128::from(self.seconds_left(now)) <= i128::from(notice.as_secs())
    }

    /// The state in words, which read after the secret's place.
    pub fn words(&self, now: Timestamp) -> String {
        let left = self.seconds_left(now);
        match left.div_euclid(24 * 3600) {
            _ if left < 0 => format!("has ended at {}", self.at),
            0 => format!("ends within a day, at {}", self.at),
            1 => format!("ends in a day, at {}", self.at),
            days => format!("ends in {days} days, at {}", self.at),
        }
    }
}

/// Says every day in the log which secrets end soon, from now on until it is told to stop.
pub async fn remind(expiries: Vec<Expiry>, notice: Duration, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut days = interval(REMINDED_EVERY);
    while stop.run_until_cancelled(days.tick()).await.is_some() {
        let now = clock.now();
        for expiry in expiries.iter().filter(|expiry| expiry.is_near(notice, now)) {
            tracing::warn!(secret = expiry.secret, state = expiry.words(now), "a secret is about to end");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_near_its_end_from_the_notice_on_and_stays_so() {
        let day = 24 * 3600;
        let expiry = Expiry { secret: "sources.okta".to_owned(), at: Timestamp::from_seconds(100 * day) };
        let notice = Duration::from_hours(14 * 24);
        for (now, left, near, words) in [
            (86 * day - 1, 14 * day + 1, false, "ends in 14 days"),
            (86 * day, 14 * day, true, "ends in 14 days"),
            (99 * day, day, true, "ends in a day"),
            (100 * day - 1, 1, true, "ends within a day"),
            (100 * day + 1, -1, true, "has ended"),
        ] {
            let now = Timestamp::from_seconds(now);
            assert_eq!(expiry.seconds_left(now), left);
            assert_eq!(expiry.is_near(notice, now), near, "{left}");
            assert!(expiry.words(now).starts_with(words), "{}", expiry.words(now));
        }
    }
}
