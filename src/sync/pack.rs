//! When writes go together in one request. Pure.
//!
//! No permit is ever left unused so that a request may fill. What is due is looked at, which takes no
//! permit; a write goes with all others that are known then. Where the next resource needs a read
//! first, the read goes ahead of the writes that wait, a bounded number of times: its write then joins
//! them, and two calls a resource become little more than one. Whoever is to lose access overtakes
//! and is never overtaken.

/// How many of one lane wait for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Not looked at yet.
    pub(super) fresh: usize,
    /// They need a call that cannot be part of a bulk request.
    pub(super) single: usize,
    /// They need a write that may be part of one.
    pub(super) packable: usize,
    /// Calls that went ahead of the packable ones since the last of them went.
    pub(super) overtaken: usize,
}

/// What to do with a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Find out what so many fresh ones need, which takes no permit.
    LookAt(usize),
    /// One call for one resource.
    Single,
    /// One request for what is packable.
    Pack,
}

/// Most resources that are looked at in one go, and that wait for a read after it.
const LOOK_MAX: usize = 64;
/// Most reads that go ahead of a write.
const OVERTAKEN_MAX: usize = 64;

/// The next move in a lane where something waits, and up to `room` writes may go in one request.
/// `urgent` is the lane of those who lose access.
pub(super) fn next(waiting: Waiting, room: usize, urgent: bool) -> Move {
    let Waiting { fresh, single, packable, overtaken } = waiting;
    if packable > 0 && (urgent || packable >= room || overtaken >= OVERTAKEN_MAX) {
        return Move::Pack;
    }
    // Of one alone there is nothing to find out beforehand.
    let worth_a_look = fresh > 1 || (fresh == 1 && single + packable > 0);
    if worth_a_look && packable < room && single < LOOK_MAX {
        return Move::LookAt(fresh.min(room - packable).min(LOOK_MAX - single));
    }
    if packable > 0 && single == 0 { Move::Pack } else { Move::Single }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waiting(fresh: usize, single: usize, packable: usize, overtaken: usize) -> Waiting {
        Waiting { fresh, single, packable, overtaken }
    }

    #[test]
    fn the_next_move_follows_from_what_waits() {
        for (what, waiting, room, expected) in [
            ("one alone is one call", waiting(1, 0, 0, 0), 100, Move::Single),
            ("several are looked at first", waiting(30, 0, 0, 0), 100, Move::LookAt(30)),
            ("not too many at once", waiting(900, 0, 0, 0), 1_000, Move::LookAt(64)),
            ("and as there is room for", waiting(30, 0, 95, 0), 100, Move::LookAt(5)),
            ("writes that nothing holds up go", waiting(0, 0, 3, 0), 100, Move::Pack),
            ("a read goes ahead of them", waiting(0, 5, 3, 7), 100, Move::Single),
            ("not for ever", waiting(0, 5, 3, 64), 100, Move::Pack),
            ("nor when they fill a request", waiting(9, 5, 100, 0), 100, Move::Pack),
            ("reads alone go one by one", waiting(0, 5, 0, 0), 100, Move::Single),
            ("with enough reads at hand no more are looked for", waiting(9, 64, 1, 0), 100, Move::Single),
        ] {
            assert_eq!(next(waiting, room, false), expected, "{what}");
        }
    }

    #[test]
    fn who_loses_access_never_waits_for_a_request_to_fill() {
        for (what, waiting, expected) in [
            ("one alone goes at once", waiting(1, 0, 0, 0), Move::Single),
            ("several are looked at once", waiting(300, 0, 0, 0), Move::LookAt(64)),
            ("then what may go goes, however many are fresh", waiting(236, 0, 64, 0), Move::Pack),
            ("ahead of reads too", waiting(0, 63, 1, 0), Move::Pack),
            ("and a read is the next call where no write is known", waiting(0, 64, 0, 0), Move::Single),
        ] {
            assert_eq!(next(waiting, 1_000, true), expected, "{what}");
        }
    }

    /// One lane where everybody needs `reads` reads and one write, until nothing waits.
    fn permits(resources: usize, reads: usize, room: usize, urgent: bool) -> (usize, usize) {
        let (mut now, mut permits, mut packs) = (waiting(resources, 0, 0, 0), 0, 0);
        while now.fresh + now.single + now.packable > 0 {
            match next(now, room, urgent) {
                Move::LookAt(count) => {
                    now.fresh -= count;
                    if reads == 0 { now.packable += count } else { now.single += count }
                }
                Move::Single => {
                    permits += 1;
                    now.overtaken += 1;
                    if now.single > 0 {
                        now.single -= 1;
                        now.packable += 1;
                    } else {
                        now.fresh -= 1;
                        if reads > 0 {
                            now.packable += 1;
                        }
                    }
                }
                Move::Pack => {
                    permits += 1;
                    packs += 1;
                    now.overtaken = 0;
                    now.packable -= now.packable.min(room);
                }
            }
        }
        (permits, packs)
    }

    #[test]
    fn a_backlog_of_writes_costs_one_permit_a_request_and_one_of_newcomers_one_a_read() {
        assert_eq!(permits(1_000, 0, 100, false), (10, 10));
        let (permits, packs) = permits(1_000, 1, 100, false);
        assert!(permits < 1_030 && packs > 10, "{permits} permits, {packs} of them packs");
    }

    proptest! {
        /// Everything comes to its end, a look never takes more than there is, and no more permits are
        /// spent than with a call for each.
        #[test]
        fn every_move_can_be_made_and_nothing_is_left(
            resources in 0..300usize,
            reads in 0..2usize,
            room in 2..200usize,
            urgent in any::<bool>(),
        ) {
            prop_assert!(permits(resources, reads, room, urgent).0 <= resources * (reads + 1));
        }
    }
}
