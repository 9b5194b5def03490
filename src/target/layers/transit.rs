//! How late calls reach the vendor, as far as their answers tell.
//!
//! A vendor counts calls when they come, the relay when they go. Nobody tells when a call came, but it
//! came before its answer did: what an answer took longer than the quickest of its kind bounds by how
//! much the call was late.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;

use crate::target::call::{Call, CallClass};

/// By which share of itself a slower answer moves the reckoning: the quickest of late counts, so that a
/// vendor that has become slower for good does not lose of its rate for long.
const FORGETTING: u32 = 256;

/// The quickest answers of late, by kind of call.
#[derive(Debug, Default)]
pub struct Transit {
    quickest: BTreeMap<(CallClass, &'static str), Duration>,
}

impl Transit {
    /// An answer came `took` after its call was sent: by how much the call may have been late on its way.
    pub fn late(&mut self, kind: Kind, took: Duration) -> Duration {
        let quickest = self.quickest.entry((kind.class, kind.method)).or_insert(took);
        if took <= *quickest {
            *quickest = took;
            return Duration::ZERO;
        }
        let late = took.saturating_sub(*quickest);
        *quickest += late.min(*quickest) / FORGETTING;
        late
    }
}

/// What calls are alike that take about as long.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    class: CallClass,
    method: &'static str,
}

impl Kind {
    /// The kind of a call.
    pub fn of(call: &Call) -> Self {
        let method = match call.method {
            Method::GET => "GET",
            Method::DELETE => "DELETE",
            Method::PATCH => "PATCH",
            Method::PUT => "PUT",
            // Reads by POST are of a class of their own.
            _ => "POST",
        };
        Self { class: call.class, method }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::layers::testing::call_of;

    fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn an_answer_is_late_by_what_it_took_longer_than_the_quickest_of_its_kind() {
        let (read, write) = (call_of(CallClass::Single), call_of(CallClass::Bulk));
        let (read, write) = (Kind::of(&read), Kind::of(&write));
        let mut transit = Transit::default();
        assert_eq!(transit.late(read, millis(30)), Duration::ZERO, "nothing to compare it with");
        assert_eq!(transit.late(read, millis(20)), Duration::ZERO);
        assert_eq!(transit.late(read, millis(70)), millis(50));
        assert_eq!(transit.late(write, millis(400)), Duration::ZERO);
    }

    #[test]
    fn a_vendor_that_has_become_slower_is_not_late_for_ever() {
        let kind = Kind::of(&call_of(CallClass::Single));
        let mut transit = Transit::default();
        transit.late(kind, millis(20));
        for _ in 0..2_000 {
            transit.late(kind, millis(200));
        }
        assert!(transit.late(kind, millis(200)) < millis(1));
        transit.late(kind, millis(20));
        assert_eq!(transit.late(kind, millis(200)), millis(180));
    }
}
