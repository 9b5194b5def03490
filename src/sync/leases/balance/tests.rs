use proptest::prelude::*;

use super::*;
use crate::store::Tenure;

const NOTHING: &BTreeSet<String> = &BTreeSet::new();

/// Replicas and who holds what; a holder that does not live has left, and its lease lasts.
#[derive(Clone, Debug)]
struct World {
    replicas: BTreeSet<String>,
    holders: BTreeMap<String, Option<String>>,
}

impl World {
    fn roster(&self) -> Roster {
        let tenure = |target: &String, holder: &Option<String>| {
            let holder = holder.clone()?;
            Some(Tenure { target: target.clone(), holder, epoch: 1 })
        };
        Roster {
            replicas: self.replicas.clone(),
            targets: self.holders.iter().map(|(name, holder)| (name.clone(), tenure(name, holder))).collect(),
        }
    }

    fn moves(&self, name: &str, overdue: &BTreeSet<String>) -> Moves {
        balance(Own { name, ending: NOTHING, overdue }, &self.roster())
    }

    /// As a store does it: what somebody else holds is not given out.
    fn act(&mut self, name: &str, moves: &Moves) {
        for target in &moves.take {
            let holder = self.holders.get_mut(target).unwrap();
            if holder.is_none() {
                *holder = Some(name.to_owned());
            }
        }
        for target in &moves.hand_back {
            assert_eq!(self.holders.insert(target.clone(), None), Some(Some(name.to_owned())));
        }
    }

    /// Every lease of those who do not live runs out.
    fn run_out(&mut self) {
        for holder in self.holders.values_mut() {
            *holder = holder.take().filter(|name| self.replicas.contains(name));
        }
    }

    fn counts(&self) -> Vec<usize> {
        let held = |name| self.holders.values().filter(|holder| holder.as_ref() == Some(name)).count();
        self.replicas.iter().map(held).collect()
    }

    fn is_even(&self) -> bool {
        let counts = self.counts();
        self.holders.values().all(Option::is_some)
            && counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1
    }

    fn is_quiet(&self) -> bool {
        self.replicas.iter().all(|name| self.moves(name, NOTHING) == Moves::default())
    }
}

fn name(number: usize) -> String {
    format!("r{number}")
}

/// Up to six replicas; targets held by any of them, by one that has left (`r9`), or by nobody.
fn worlds() -> impl Strategy<Value = World> {
    let holder = prop_oneof![Just(None), Just(Some(9)), (0_usize..6).prop_map(Some)];
    (1_usize..=6, prop::collection::vec(holder, 0..40)).prop_map(|(replicas, holders)| World {
        replicas: (0..replicas).map(name).collect(),
        holders: holders
            .into_iter()
            .enumerate()
            .map(|(number, holder)| (format!("t{number:02}"), holder.map(name)))
            .collect(),
    })
}

proptest! {
    #[test]
    fn rounds_in_any_order_end_in_an_even_spread_that_stays(mut world in worlds(), order in prop::collection::vec(0_usize..6, 150)) {
        world.run_out();
        for turn in order {
            let name = name(turn % world.replicas.len());
            let moves = world.moves(&name, NOTHING);
            world.act(&name, &moves);
        }
        // Chance may have left somebody out.
        for name in world.replicas.clone().iter().cycle().take(12 * world.replicas.len()) {
            let moves = world.moves(name, NOTHING);
            world.act(name, &moves);
        }
        prop_assert!(world.is_even(), "{:?}", world.counts());
        prop_assert!(world.is_quiet());
    }

    /// All act on what they saw before anybody acted.
    #[test]
    fn nobody_reaches_for_what_another_holds_or_reaches_for(mut world in worlds()) {
        for _ in 0..12 {
            let all: Vec<_> = world.replicas.iter().map(|name| (name.clone(), world.moves(name, NOTHING))).collect();
            let mut reached = BTreeSet::new();
            for target in all.iter().flat_map(|(_, moves)| &moves.take) {
                prop_assert_eq!(&world.holders[target], &None, "a lease on it lasts");
                prop_assert!(reached.insert(target.clone()), "two reach for {}", target);
            }
            for (name, moves) in &all {
                world.act(name, moves);
            }
        }
        world.run_out();
        for _ in 0..2 {
            for name in world.replicas.clone() {
                let moves = world.moves(&name, NOTHING);
                world.act(&name, &moves);
            }
        }
        prop_assert!(world.is_even(), "{:?}", world.counts());
        prop_assert!(world.is_quiet());
    }

    #[test]
    fn a_dead_replicas_targets_are_all_taken(mut world in worlds(), dead in 0_usize..6) {
        world.replicas.insert(name(7));
        world.replicas.remove(&name(dead));
        world.run_out();
        for name in world.replicas.iter().chain(&world.replicas).cloned().collect::<Vec<_>>() {
            let moves = Moves { hand_back: Vec::new(), ..world.moves(&name, NOTHING) };
            world.act(&name, &moves);
        }
        prop_assert!(world.holders.values().all(Option::is_some));
    }

    #[test]
    fn targets_are_handed_back_only_while_somebody_is_short_and_few_are_free(world in worlds()) {
        let free = world.holders.values().filter(|holder| holder.is_none()).count();
        let least = world.holders.len() / world.replicas.len();
        for name in &world.replicas {
            let moves = world.moves(name, NOTHING);
            prop_assert!(moves.hand_back.len() + free.min(FREE_MAX) <= FREE_MAX);
            if !moves.hand_back.is_empty() {
                prop_assert!(moves.take.is_empty());
                prop_assert!(world.counts().iter().any(|count| *count <= least));
            }
        }
    }
}

fn world(replicas: &[&str], holders: &[(&str, Option<&str>)]) -> World {
    World {
        replicas: replicas.iter().map(|name| (*name).to_owned()).collect(),
        holders: holders
            .iter()
            .map(|(target, holder)| ((*target).to_owned(), holder.map(str::to_owned)))
            .collect(),
    }
}

#[test]
fn who_is_alone_takes_everything_at_once_though_the_roster_does_not_know_it_yet() {
    let all: Vec<String> = (0..50).map(|number| format!("t{number:02}")).collect();
    let holders = all.iter().map(|target| (target.clone(), None)).collect();
    let world = World { replicas: BTreeSet::new(), holders };
    assert_eq!(world.moves("a", NOTHING), Moves { take: all, hand_back: Vec::new() });
}

#[test]
fn an_even_spread_is_left_as_it_is_whoever_has_the_odd_one() {
    for odd in ["a", "b"] {
        let world = world(&["a", "b"], &[("t1", Some("a")), ("t2", Some(odd)), ("t3", Some("b"))]);
        assert!(world.is_quiet(), "{odd}");
    }
}

#[test]
fn what_is_being_handed_back_is_not_handed_back_twice() {
    let world =
        world(&["a", "b"], &[("t1", Some("a")), ("t2", Some("a")), ("t3", Some("a")), ("t4", Some("a"))]);
    let roster = world.roster();
    let ending = BTreeSet::from(["t3".to_owned()]);
    let moves = balance(Own { name: "a", ending: &ending, overdue: NOTHING }, &roster);
    assert_eq!(moves.hand_back, ["t4"], "three are left, and half of four is two");
    let ending = BTreeSet::from(["t3".to_owned(), "t4".to_owned()]);
    let moves = balance(Own { name: "a", ending: &ending, overdue: NOTHING }, &roster);
    assert_eq!(moves, Moves::default());
}

#[test]
fn what_nobody_takes_for_long_is_taken_by_whoever_sees_it() {
    let world = world(&["a", "b"], &[("t1", None), ("t2", Some("b"))]);
    assert_eq!(world.moves("b", NOTHING), Moves::default(), "it is a's share");
    let overdue = BTreeSet::from(["t1".to_owned(), "t2".to_owned()]);
    assert_eq!(world.moves("b", &overdue).take, ["t1"]);
}
