//! Chooses what goes wrong with a request.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::sandbox::endpoint::{Call, Endpoint};
use crate::sandbox::fault::{Effect, Fault, When};

/// The faults in force, how often each was asked, and the dice.
#[derive(Debug)]
pub struct FaultDesk {
    faults: Vec<Counted>,
    since: Instant,
    dice: StdRng,
}

#[derive(Debug)]
struct Counted {
    fault: Fault,
    seen: u64,
    met: u64,
}

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Someone edits the resource right before.
    pub edit: bool,
    /// What becomes of the request; the first fault that meets it decides.
    pub effect: Option<Effect>,
    /// What a status says about coming back.
    pub retry_after: Option<Duration>,
}

impl FaultDesk {
    /// Starts with these faults. The same seed and the same requests give the same verdicts.
    pub fn new(faults: Vec<Fault>, seed: u64) -> Self {
        let mut desk = Self { faults: Vec::new(), since: Instant::now(), dice: StdRng::seed_from_u64(seed) };
        desk.replace(faults);
        desk
    }

    /// Puts other faults in force; counts and spans begin anew.
    pub fn replace(&mut self, faults: Vec<Fault>) {
        self.faults = faults.into_iter().map(|fault| Counted { fault, seen: 0, met: 0 }).collect();
        self.since = Instant::now();
    }

    /// The faults in force, in their short form.
    pub fn list(&self) -> Vec<String> {
        self.faults.iter().map(|counted| counted.fault.to_string()).collect()
    }

    /// Decides on one request.
    pub fn decide(&mut self, call: &Call) -> Verdict {
        let elapsed = self.since.elapsed();
        let mut verdict = Verdict::default();
        for counted in &mut self.faults {
            let is_edit = counted.fault.effect == Effect::Edit;
            let taken = if is_edit { verdict.edit } else { verdict.effect.is_some() };
            if !counted.fault.scope.covers(call) || (is_edit && !is_write_to_one(call)) {
                continue;
            }
            if !counted.meets(elapsed, &mut self.dice) || taken {
                continue;
            }
            counted.met += 1;
            if is_edit {
                verdict.edit = true;
            } else {
                verdict.effect = Some(counted.fault.effect);
                verdict.retry_after = counted.fault.retry_after;
            }
        }
        verdict
    }
}

impl Counted {
    fn meets(&mut self, elapsed: Duration, dice: &mut StdRng) -> bool {
        self.seen += 1;
        match self.fault.when {
            When::Always => true,
            When::Chance(chance) => dice.random::<f64>() < chance,
            When::Every(n) => self.seen.is_multiple_of(n),
            When::Next(n) => self.met < n,
            When::Between(from, to) => (from..to).contains(&elapsed),
        }
    }
}

fn is_write_to_one(call: &Call) -> bool {
    call.is_write() && matches!(call.endpoint, Endpoint::Resource(..))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::sandbox::endpoint::Kind;
    use crate::sandbox::fault::Phase;

    fn call(method: Method) -> Call {
        Call { method, endpoint: Endpoint::Resource(Kind::User, "1".to_owned()) }
    }

    fn desk(faults: &[&str]) -> FaultDesk {
        FaultDesk::new(faults.iter().map(|text| Fault::parse(text).unwrap()).collect(), 1)
    }

    /// Which of `n` PATCH requests were met.
    fn met(desk: &mut FaultDesk, n: usize) -> Vec<bool> {
        (0..n).map(|_| desk.decide(&call(Method::PATCH)).effect.is_some()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_meets_the_requests_that_its_when_says() {
        assert_eq!(met(&mut desk(&["500"]), 2), [true, true]);
        assert_eq!(met(&mut desk(&["500:every=3"]), 6), [false, false, true, false, false, true]);
        assert_eq!(met(&mut desk(&["500:next=2"]), 4), [true, true, false, false]);
        assert_eq!(met(&mut desk(&["500:0"]), 3), [false; 3]);
        assert_eq!(met(&mut desk(&["500:on=GET"]), 2), [false; 2]);
        assert_eq!(met(&mut desk(&["500:on=PATCH+writes+users"]), 2), [true; 2]);
        assert_eq!(met(&mut desk(&["500:on=groups"]), 2), [false; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_has_a_beginning_and_an_end() {
        let mut desk = desk(&["outage:5s..15s"]);
        assert_eq!(met(&mut desk, 1), [false]);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(met(&mut desk, 1), [true]);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(met(&mut desk, 1), [false]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_fault_decides_and_the_next_is_kept_for_later() {
        let mut desk = desk(&["500:next=1", "429:next=1", "edit:next=1"]);
        let first = desk.decide(&call(Method::PATCH));
        assert_eq!((first.edit, first.effect), (true, Some(Effect::Status(500, Phase::Before))));
        let second = desk.decide(&call(Method::PATCH));
        assert_eq!((second.edit, second.effect), (false, Some(Effect::Status(429, Phase::Before))));
        assert_eq!(desk.decide(&call(Method::PATCH)), Verdict::default());
    }

    #[tokio::test(start_paused = true)]
    async fn an_edit_comes_before_writes_to_one_resource_only() {
        let mut desk = desk(&["edit"]);
        assert!(!desk.decide(&call(Method::GET)).edit);
        let create = Call { method: Method::POST, endpoint: Endpoint::Collection(Kind::User) };
        assert!(!desk.decide(&create).edit);
        assert!(desk.decide(&call(Method::DELETE)).edit);
    }

    #[tokio::test(start_paused = true)]
    async fn one_seed_gives_one_course() {
        let course = |seed| met(&mut FaultDesk::new(vec![Fault::parse("500:0.5").unwrap()], seed), 64);
        assert_eq!(course(7), course(7));
        assert_ne!(course(7), course(8));
    }

    #[tokio::test(start_paused = true)]
    async fn the_token_endpoint_is_met_only_when_named() {
        let token = Call { method: Method::POST, endpoint: Endpoint::Token };
        assert_eq!(desk(&["500"]).decide(&token).effect, None);
        assert!(desk(&["500:on=token"]).decide(&token).effect.is_some());
    }
}
