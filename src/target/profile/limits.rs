//! How much a vendor takes.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use super::window::{Cost, Scope, Window};
use crate::target::call::CallClass;
use crate::target::layers::limiter::Bucket;
use crate::target::layers::meter::Pace;

/// How much a vendor takes: rates, calls in flight, pauses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Calls a second in the long run; absent: only the windows limit.
    pub rate_per_second: Option<f64>,
    /// Calls that may go at once after a quiet time.
    pub burst: NonZeroU32,
    /// Calls in flight.
    pub concurrency: NonZeroU32,
    /// Never more than so many calls in any stretch of so much time; all of them hold at once.
    pub windows: Vec<Window>,
    /// Further limits for single calls.
    pub single: ClassLimits,
    /// Further limits for lists.
    pub list: ClassLimits,
    /// Further limits for bulk requests.
    pub bulk: ClassLimits,
    /// The longest pause that the vendor can ask for.
    #[serde(with = "duration")]
    pub retry_after_cap: Duration,
    /// The pause after a 429 that does not say how long; it widens with a run of them.
    #[serde(with = "duration")]
    pub default_wait: Duration,
    /// Headers in which the vendor tells its quota; absent: those that are usual.
    pub headers: Option<QuotaHeaders>,
}

/// Limits of one class of calls, besides those of all calls.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassLimits {
    /// Calls a second in the long run.
    pub rate_per_second: Option<f64>,
    /// Calls that may go at once after a quiet time; absent: 1.
    pub burst: Option<NonZeroU32>,
    /// Windows.
    pub windows: Vec<Window>,
}

/// The names of the headers in which a vendor tells its quota. Either `remaining`, or `allowed` and
/// `used` together, say what is left.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaHeaders {
    /// Calls allowed.
    pub allowed: Option<String>,
    /// Calls used.
    pub used: Option<String>,
    /// Calls left.
    pub remaining: Option<String>,
    /// When it starts anew.
    pub reset: String,
    /// What is in `reset`.
    #[serde(default)]
    pub reset_unit: ResetUnit,
}

/// What is in a reset header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetUnit {
    /// Seconds from now.
    #[default]
    Seconds,
    /// A moment, in seconds since 1970.
    EpochSeconds,
    /// A moment, in milliseconds since 1970.
    EpochMilliseconds,
    /// A moment, as HTTP writes dates.
    HttpDate,
}

impl QuotaHeaders {
    /// A vendor that tells what is left, and for how many seconds.
    pub fn of(remaining: &str, reset: &str) -> Self {
        Self {
            allowed: None,
            used: None,
            remaining: Some(remaining.to_owned()),
            reset: reset.to_owned(),
            reset_unit: ResetUnit::Seconds,
        }
    }
}

impl Default for Limits {
    /// 25 calls a second is what Microsoft asks of services that Entra provisions, so a SCIM service
    /// that says nothing else should bear it.
    fn default() -> Self {
        Self {
            rate_per_second: Some(25.0),
            burst: NonZeroU32::MIN,
            concurrency: NonZeroU32::new(8).expect("8 is over zero"),
            windows: Vec::new(),
            single: ClassLimits::default(),
            list: ClassLimits::default(),
            bulk: ClassLimits::default(),
            retry_after_cap: Duration::from_hours(1),
            default_wait: Duration::from_secs(1),
            headers: None,
        }
    }
}

impl Limits {
    /// The buckets that keep all of these limits.
    pub fn buckets(&self) -> Vec<Bucket> {
        let mut buckets = Vec::new();
        fill(&mut buckets, &Scope::default(), self.rate_per_second, self.burst, &self.windows);
        for (class, limits) in self.classes() {
            let burst = limits.burst.unwrap_or(NonZeroU32::MIN);
            let scope = Scope::of_class(class);
            fill(&mut buckets, &scope, limits.rate_per_second, burst, &limits.windows);
        }
        buckets
    }

    /// The windows of all calls and of each class.
    pub fn all_windows(&self) -> Vec<Window> {
        let of_class = |(class, limits): (CallClass, &ClassLimits)| -> Vec<Window> {
            let scoped = |window: &Window| Window {
                scope: Scope { class: Some(class), ..window.scope.clone() },
                ..window.clone()
            };
            limits.windows.iter().map(scoped).collect()
        };
        self.windows.iter().cloned().chain(self.classes().into_iter().flat_map(of_class)).collect()
    }

    /// The classes that have limits of their own.
    pub fn classes(&self) -> [(CallClass, &ClassLimits); 3] {
        [(CallClass::Single, &self.single), (CallClass::List, &self.list), (CallClass::Bulk, &self.bulk)]
    }
}

fn fill(buckets: &mut Vec<Bucket>, scope: &Scope, rate: Option<f64>, burst: NonZeroU32, windows: &[Window]) {
    if let Some(rate) = rate {
        let pace = Pace::per_second(rate, burst);
        buckets.push(Bucket { scope: scope.clone(), cost: Cost::Request, pace });
    }
    for window in windows {
        let pace = Pace::window(window.limit, window.per, window.burst());
        let scope = Scope { class: scope.class, ..window.scope.clone() };
        buckets.push(Bucket { scope, cost: window.cost, pace });
    }
}

/// Durations as people write them: `500ms`, `60s`, `1h`.
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, de::Error as _};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            D::Error::custom(format!(
                "`{text}` is no duration ({error}); write it like \"500ms\", \"60s\", \"1h\""
            ))
        })
    }
}
