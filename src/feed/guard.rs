//! The guard of snapshots: what is absent from one is deprovisioned only while that is little, or an
//! operator has consented to more.

use crate::clock::Timestamp;
use crate::store::Consent;

/// How much one snapshot may take away without consent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Of those who are there, in percent; rounded up, so that one may always go unless this is 0.
    pub removed_percent_max: f64,
    /// In users and groups.
    pub removed_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { removed_percent_max: 10.0, removed_max: 1_000 }
    }
}

/// What a snapshot would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Users and groups that it names.
    pub named: u64,
    /// Users and groups that the source said to be there before.
    pub there: u64,
    /// Those of them that would lose access: absent, or said to have left.
    pub removed: u64,
}

/// Why a snapshot was not taken: nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// It names nobody, which a broken export does, too.
    #[error(
        "it names nobody, and {there} are there; to remove them all the same, consent to {there} removals and repeat it"
    )]
    Empty {
        /// How many are there.
        there: u64,
    },
    /// More would go than is usual.
    #[error(
        "it would remove {removed} of {there}, over the limit of {allowed}; to take it all the same, consent to {removed} removals and repeat it"
    )]
    TooMany {
        /// How many would go.
        removed: u64,
        /// How many are there.
        there: u64,
        /// How many may go.
        allowed: u64,
    },
}

/// Whether a snapshot may be taken at `now`; true where that takes the consent.
pub fn check(
    effect: Effect,
    limits: &Limits,
    consent: Option<&Consent>,
    now: Timestamp,
) -> Result<bool, Held> {
    let Effect { named, there, removed } = effect;
    let allowed = limits.allowed(there);
    let held = if named == 0 && there > 0 {
        Held::Empty { there }
    } else if removed > allowed {
        Held::TooMany { removed, there, allowed }
    } else {
        return Ok(false);
    };
    match consent {
        Some(consent) if consent.removals >= removed && now < consent.until => Ok(true),
        Some(_) | None => Err(held),
    }
}

impl Limits {
    fn allowed(&self, there: u64) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a number of people is small, and never below zero"
        )]
        let share = (there as f64 * self.removed_percent_max / 100.0).ceil() as u64;
        share.min(self.removed_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn effect(named: u64, there: u64, removed: u64) -> Effect {
        Effect { named, there, removed }
    }

    #[test]
    fn little_may_go_and_one_always() {
        for (there, removed, taken) in
            [(0, 0, true), (1, 1, true), (5, 1, true), (5, 2, false), (100, 10, true), (100, 11, false)]
        {
            let verdict = check(effect(1, there, removed), &Limits::default(), None, NOW);
            assert_eq!(verdict.is_ok(), taken, "{removed} of {there}: {verdict:?}");
        }
        let verdict = check(effect(1, 100_000, 1_001), &Limits::default(), None, NOW);
        assert_eq!(verdict, Err(Held::TooMany { removed: 1_001, there: 100_000, allowed: 1_000 }));
        let none = Limits { removed_percent_max: 0.0, removed_max: 1_000 };
        assert!(check(effect(1, 100, 1), &none, None, NOW).is_err());
    }

    #[test]
    fn a_snapshot_that_names_nobody_is_held_however_few_are_there() {
        assert_eq!(check(effect(0, 1, 1), &Limits::default(), None, NOW), Err(Held::Empty { there: 1 }));
        assert_eq!(check(effect(0, 0, 0), &Limits::default(), None, NOW), Ok(false));
    }

    #[test]
    fn consent_lasts_for_so_many_and_so_long() {
        let consent = |removals, until| Consent {
            removals,
            until: Timestamp::from_seconds(until),
            by: "ann".to_owned(),
        };
        let with = |consent| check(effect(0, 50, 50), &Limits::default(), Some(&consent), NOW);
        assert_eq!(with(consent(50, 1_001)), Ok(true));
        assert!(with(consent(49, 1_001)).is_err());
        assert!(with(consent(50, 1_000)).is_err());
        let unused = check(effect(9, 50, 1), &Limits::default(), Some(&consent(50, 1_001)), NOW);
        assert_eq!(unused, Ok(false), "what needs no consent does not spend it");
    }
}
