//! Splits a batch of outcomes into rounds, so that each round may be written by a few statements.
//!
//! Outcomes count in their order: a user who is linked wakes those who wait for it, and who is waited
//! for gets work. Outcomes of one round have no such effect on each other, and of two that have, the
//! earlier one is in an earlier round, so that the rounds come to the same as one outcome after another.

use std::collections::BTreeMap;

use crate::directory::ResourceKey;

/// What recording an outcome reads or changes.
pub(super) struct Touch<'a> {
    /// The resource itself.
    pub(super) own: &'a ResourceKey,
    /// Users that it waits for: whether they are linked is read, and they may get work.
    pub(super) seeks: Vec<ResourceKey>,
    /// Resources that wait for it, and are told.
    pub(super) wakes: Vec<ResourceKey>,
    /// Whether it may touch anything else: it has a round of its own.
    pub(super) alone: bool,
}

/// The places of a batch's outcomes, round by round.
pub(super) fn rounds(batch: &[Touch<'_>]) -> Vec<Vec<usize>> {
    let mut plan = Plan::default();
    for (place, touch) in batch.iter().enumerate() {
        plan.add(place, touch);
    }
    plan.rounds
}

#[derive(Default)]
struct Plan<'a> {
    rounds: Vec<Vec<usize>>,
    /// The first round that is open to further outcomes.
    open: usize,
    free: BTreeMap<&'a ResourceKey, Free>,
}

/// The first rounds in which a resource may be touched again, after its own, those who seek it and those
/// who wake it so far: two
/// who seek it, or two who wake it, do not disturb each other.
#[derive(Clone, Copy, Default)]
struct Free {
    own: usize,
    seek: usize,
    wake: usize,
}

impl<'a> Plan<'a> {
    fn add(&mut self, place: usize, touch: &'a Touch<'_>) {
        let mut round = if touch.alone { self.rounds.len() } else { self.open };
        let free = |key: &ResourceKey| self.free.get(key).copied().unwrap_or_default();
        let own = free(touch.own);
        round = round.max(own.own).max(own.seek).max(own.wake);
        for key in &touch.seeks {
            round = round.max(free(key).own).max(free(key).wake);
        }
        for key in &touch.wakes {
            round = round.max(free(key).own).max(free(key).seek);
        }
        self.put(place, touch, round);
    }

    fn put(&mut self, place: usize, touch: &'a Touch<'_>, round: usize) {
        if self.rounds.len() <= round {
            self.rounds.resize(round + 1, Vec::new());
        }
        self.rounds[round].push(place);
        let next = round + 1;
        if touch.alone {
            self.open = next;
        }
        self.free.entry(touch.own).or_default().own = next;
        for key in &touch.seeks {
            let free = self.free.entry(key).or_default();
            free.seek = free.seek.max(next);
        }
        for key in &touch.wakes {
            let free = self.free.entry(key).or_default();
            free.wake = free.wake.max(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::conformance::script::{group_key, user_key};

    fn touch(own: &ResourceKey) -> Touch<'_> {
        Touch { own, seeks: Vec::new(), wakes: Vec::new(), alone: false }
    }

    #[test]
    fn outcomes_that_have_nothing_to_do_with_each_other_share_a_round() {
        let (a, b, g) = (user_key("a"), user_key("b"), group_key("g"));
        assert_eq!(rounds(&[touch(&a), touch(&b), touch(&g)]), [[0, 1, 2]]);
        assert_eq!(rounds(&[]), [[0_usize; 0]; 0]);
    }

    #[test]
    fn whoever_touches_what_another_touched_comes_after_it() {
        let (a, b, g, h) = (user_key("a"), user_key("b"), group_key("g"), group_key("h"));
        let seeks = |own, key: &ResourceKey| Touch { seeks: vec![key.clone()], ..touch(own) };
        let wakes = |own, key: &ResourceKey| Touch { wakes: vec![key.clone()], ..touch(own) };
        let alone = |own| Touch { alone: true, ..touch(own) };
        // (batch, rounds)
        let cases = [
            (vec![touch(&a), touch(&a)], vec![vec![0], vec![1]]),
            (vec![seeks(&g, &a), seeks(&h, &a)], vec![vec![0, 1]]),
            (vec![seeks(&g, &a), touch(&a), seeks(&h, &a)], vec![vec![0], vec![1], vec![2]]),
            (vec![wakes(&a, &g), wakes(&b, &g), touch(&h)], vec![vec![0, 1, 2]]),
            (vec![wakes(&a, &g), touch(&g), wakes(&b, &g)], vec![vec![0], vec![1], vec![2]]),
            (vec![wakes(&a, &b), seeks(&g, &b), touch(&h)], vec![vec![0, 2], vec![1]]),
            (vec![seeks(&a, &a), wakes(&b, &b)], vec![vec![0, 1]]),
            (vec![touch(&a), alone(&b), touch(&g)], vec![vec![0], vec![1], vec![2]]),
            (vec![alone(&a), alone(&b)], vec![vec![0], vec![1]]),
        ];
        for (number, (batch, expected)) in cases.into_iter().enumerate() {
            assert_eq!(rounds(&batch), expected, "case {number}");
        }
    }

    fn disturb(a: &Touch<'_>, b: &Touch<'_>) -> bool {
        let one_way = |a: &Touch<'_>, b: &Touch<'_>| {
            a.own == b.own
                || a.alone
                || b.seeks.contains(a.own)
                || b.wakes.contains(a.own)
                || a.seeks.iter().any(|key| b.wakes.contains(key))
        };
        one_way(a, b) || one_way(b, a)
    }

    proptest! {
        #[test]
        fn every_outcome_has_one_round_and_none_overtakes_whom_it_disturbs(
            batch in prop::collection::vec(
                (0..6_usize, prop::collection::vec(0..6_usize, 0..3), prop::collection::vec(0..6_usize, 0..3),
                 prop::bool::weighted(0.1)),
                0..20,
            )
        ) {
            let keys: Vec<ResourceKey> = (0..6).map(|number| user_key(&format!("u{number}"))).collect();
            let named = |places: &[usize]| places.iter().map(|place| keys[*place].clone()).collect();
            let batch: Vec<Touch<'_>> = batch.iter().map(|(own, seeks, wakes, alone)| Touch {
                own: &keys[*own], seeks: named(seeks), wakes: named(wakes), alone: *alone,
            }).collect();
            let rounds = rounds(&batch);
            let mut round_of = vec![Vec::new(); batch.len()];
            for (round, places) in rounds.iter().enumerate() {
                prop_assert!(!places.is_empty());
                for place in places {
                    round_of[*place].push(round);
                }
            }
            for (later, of_later) in round_of.iter().enumerate() {
                prop_assert_eq!(of_later.len(), 1);
                for earlier in 0..later {
                    if disturb(&batch[earlier], &batch[later]) {
                        prop_assert!(round_of[earlier] < *of_later, "{} and {}", earlier, later);
                    }
                }
            }
        }
    }
}
