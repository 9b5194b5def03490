//! Which resource is next: deprovisioning strictly first, the other lanes by weight, so that none starves.
//!
//! A bounded window of the most urgent keys is held here; the backlog itself stays in the store. A
//! resource that is under way and needs a further call goes ahead of new ones of its lane. Writes that
//! may go together in one request are kept apart, and [`pack`] says when they go.

use std::collections::{HashSet, VecDeque};

use crate::directory::ResourceKey;
use crate::store::{Lane, WorkItem};
use crate::sync::pack::{self, Move, Waiting};

/// Most keys of one lane held in memory.
pub(super) const WINDOW: usize = 256;
/// Below this, a lane's window is filled up.
const LOW_WATER: usize = 64;

/// How many permits a lane gets of those that its rivals have waited for.
const fn weight(lane: Lane) -> i64 {
    match lane {
        Lane::Deprovision | Lane::Revoke => 8,
        Lane::Change => 6,
        Lane::Membership => 3,
        Lane::Backfill => 1,
    }
}

/// A resource under way.
pub(super) trait UnderWay {
    /// Its row.
    fn item(&self) -> &WorkItem;

    /// Its row is in the first lane now. What was planned and not begun is planned anew.
    fn hasten(&mut self);
}

/// One lane's candidates: new rows, and resources under way (`U`).
struct Window<U> {
    lane: Lane,
    fresh: VecDeque<WorkItem>,
    under_way: VecDeque<U>,
    /// Looked at: what they need first is a call that cannot be part of a bulk request.
    looked_at: VecDeque<U>,
    /// What they need next may be part of a bulk request.
    packable: VecDeque<U>,
    /// How many calls have gone ahead of `packable` since it was served.
    overtaken: usize,
    /// Smooth weighted round robin: grows while the lane waits, shrinks when it is served.
    credit: i64,
    /// The store may hold more than the window.
    more: bool,
}

/// What to run next.
pub(super) enum Candidate<U> {
    /// A row that was not looked at yet.
    Fresh(WorkItem),
    /// A resource that needs a further call.
    UnderWay(U),
}

/// What to do with a permit where several writes may go in one request.
pub(super) enum Choice<U> {
    /// Find out what these need; that takes no permit.
    LookAt(Vec<WorkItem>),
    /// One call for one resource.
    Single(Candidate<U>),
    /// One request for all of these.
    Pack(Vec<U>),
}

/// The candidates of every lane.
pub(super) struct Lanes<U> {
    windows: [Window<U>; Lane::ALL.len()],
    /// Every key that is in a window, under way, in flight, or whose outcome is not recorded yet.
    held: HashSet<ResourceKey>,
    /// Those of them that were in flight when their row came into the first lane.
    hastened: HashSet<ResourceKey>,
}

impl<U: UnderWay> Lanes<U> {
    pub(super) fn new() -> Self {
        let windows = Lane::ALL.map(|lane| Window {
            lane,
            fresh: VecDeque::new(),
            under_way: VecDeque::new(),
            looked_at: VecDeque::new(),
            packable: VecDeque::new(),
            overtaken: 0,
            credit: 0,
            more: true,
        });
        Self { windows, held: HashSet::new(), hastened: HashSet::new() }
    }

    /// The store may hold work that no window knows.
    pub(super) fn expect_more(&mut self) {
        for window in &mut self.windows {
            window.more = true;
        }
    }

    /// Lanes to ask the store for, and how many rows to ask for: those that are held already come back too.
    pub(super) fn wants(&self) -> Vec<(Lane, usize)> {
        let held = self.held.len();
        let wanting = self.windows.iter().filter(|window| window.more && window.fresh.len() < LOW_WATER);
        wanting.map(|window| (window.lane, WINDOW + held)).collect()
    }

    /// Takes in what the store answered to a request for `asked` rows.
    pub(super) fn fill(&mut self, lane: Lane, asked: usize, items: Vec<WorkItem>) {
        let Some(window) = self.windows.iter_mut().find(|window| window.lane == lane) else { return };
        window.more = items.len() >= asked;
        let mut overtaken = Vec::new();
        for item in items {
            if window.fresh.len() >= WINDOW {
                window.more = true;
                break;
            }
            if self.held.insert(item.key.clone()) {
                window.fresh.push_back(item);
            } else if lane == Lane::Deprovision {
                overtaken.push(item);
            }
        }
        for item in overtaken {
            self.hasten(item);
        }
    }

    /// Somebody's access is to end whose row was taken in before that, for its turn in another lane.
    fn hasten(&mut self, item: WorkItem) {
        let [first, others @ ..] = &mut self.windows;
        if first.holds(&item.key) {
            return;
        }
        for window in others {
            if let Some(at) = window.fresh.iter().position(|held| held.key == item.key) {
                window.fresh.remove(at);
                first.fresh.push_back(item);
                return;
            }
            for queue in [&mut window.under_way, &mut window.looked_at, &mut window.packable] {
                let at = queue.iter().position(|held| held.item().key == item.key);
                if let Some(mut held) = at.and_then(|at| queue.remove(at)) {
                    held.hasten();
                    first.under_way.push_back(held);
                    return;
                }
            }
        }
        self.hastened.insert(item.key);
    }

    pub(super) fn has_candidate(&self) -> bool {
        self.windows.iter().any(Window::has_candidate)
    }

    /// Takes the most urgent candidate.
    pub(super) fn take(&mut self) -> Option<Candidate<U>> {
        let lane = self.turn()?;
        self.windows[lane].pop()
    }

    /// Takes what to do next where up to `room` writes may go in one request.
    pub(super) fn choose(&mut self, room: usize) -> Option<Choice<U>> {
        let credits = self.windows.each_ref().map(|window| window.credit);
        let lane = self.turn()?;
        let window = &mut self.windows[lane];
        let urgent = window.lane == Lane::Deprovision;
        match pack::next(window.waiting(), room, urgent) {
            Move::LookAt(count) => {
                let items = window.fresh.drain(..count).collect();
                // No permit is spent, so nobody has had a turn.
                for (window, credit) in self.windows.iter_mut().zip(credits) {
                    window.credit = credit;
                }
                Some(Choice::LookAt(items))
            }
            Move::Single => {
                window.overtaken += 1;
                window.pop().map(Choice::Single)
            }
            Move::Pack => {
                let mut pack = window.take_packable(room);
                if !urgent {
                    // Room that is left costs nothing.
                    for window in &mut self.windows[1..] {
                        pack.extend(window.take_packable(room - pack.len()));
                    }
                }
                Some(Choice::Pack(pack))
            }
        }
    }

    /// Whether somebody's access is to end.
    pub(super) fn is_urgent(&self) -> bool {
        self.windows[0].has_candidate()
    }

    /// Whether more than one resource waits.
    pub(super) fn has_several(&self) -> bool {
        let waiting = self.windows.iter().map(Window::waiting);
        waiting.map(|waiting| waiting.fresh + waiting.single + waiting.packable).sum::<usize>() > 1
    }

    /// Whose turn it is.
    fn turn(&mut self) -> Option<usize> {
        if self.windows[0].has_candidate() {
            return Some(0);
        }
        let mut total = 0;
        let mut best: Option<usize> = None;
        for at in 0..self.windows.len() {
            let window = &mut self.windows[at];
            if !window.has_candidate() {
                continue;
            }
            total += weight(window.lane);
            window.credit += weight(window.lane);
            if best.is_none_or(|best| self.windows[at].credit > self.windows[best].credit) {
                best = Some(at);
            }
        }
        self.windows[best?].credit -= total;
        best
    }

    /// Puts a resource back that needs a further call.
    pub(super) fn resume(&mut self, under_way: U) {
        let Some(under_way) = self.unless_hastened(under_way) else { return };
        if let Some(window) = self.window(under_way.item().lane) {
            window.under_way.push_back(under_way);
        }
    }

    /// Puts a resource back that was looked at and needs a call of its own, the first one.
    pub(super) fn resume_later(&mut self, looked_at: U) {
        let Some(looked_at) = self.unless_hastened(looked_at) else { return };
        if let Some(window) = self.window(looked_at.item().lane) {
            window.looked_at.push_back(looked_at);
        }
    }

    /// Puts a resource back that needs a write which may be part of a bulk request.
    pub(super) fn resume_packable(&mut self, packable: U) {
        let Some(packable) = self.unless_hastened(packable) else { return };
        if let Some(window) = self.window(packable.item().lane) {
            window.packable.push_back(packable);
        }
    }

    /// Every resource that is under way, for the end of the dispatcher.
    pub(super) fn drain_under_way(&mut self) -> Vec<U> {
        let queues = |window: &mut Window<U>| {
            let (under_way, looked_at) = (window.under_way.drain(..), window.looked_at.drain(..));
            under_way.chain(looked_at).chain(window.packable.drain(..)).collect::<Vec<_>>()
        };
        self.windows.iter_mut().flat_map(queues).collect()
    }

    /// Takes what was hastened in flight into the first lane; answers what was not.
    fn unless_hastened(&mut self, mut under_way: U) -> Option<U> {
        if !self.hastened.remove(&under_way.item().key) {
            return Some(under_way);
        }
        under_way.hasten();
        self.windows[0].under_way.push_back(under_way);
        None
    }

    fn window(&mut self, lane: Lane) -> Option<&mut Window<U>> {
        self.windows.iter_mut().find(|window| window.lane == lane)
    }

    /// Whether a resource waits here or is being worked on.
    pub(super) fn holds(&self, key: &ResourceKey) -> bool {
        self.held.contains(key)
    }

    /// The resource's outcome is recorded: it may be taken again.
    pub(super) fn release(&mut self, key: &ResourceKey) {
        self.held.remove(key);
        self.hastened.remove(key);
    }
}

impl<U: UnderWay> Window<U> {
    fn holds(&self, key: &ResourceKey) -> bool {
        let under_way = self.under_way.iter().chain(&self.looked_at).chain(&self.packable);
        under_way.map(UnderWay::item).chain(&self.fresh).any(|item| item.key == *key)
    }

    fn waiting(&self) -> Waiting {
        Waiting {
            fresh: self.fresh.len(),
            single: self.under_way.len() + self.looked_at.len(),
            packable: self.packable.len(),
            overtaken: self.overtaken,
        }
    }

    fn has_candidate(&self) -> bool {
        let Waiting { fresh, single, packable, .. } = self.waiting();
        fresh + single + packable > 0
    }

    fn pop(&mut self) -> Option<Candidate<U>> {
        let queues = [&mut self.under_way, &mut self.looked_at, &mut self.packable];
        match queues.into_iter().find_map(VecDeque::pop_front) {
            Some(under_way) => Some(Candidate::UnderWay(under_way)),
            None => self.fresh.pop_front().map(Candidate::Fresh),
        }
    }

    fn take_packable(&mut self, most: usize) -> Vec<U> {
        self.overtaken = 0;
        self.packable.drain(..most.min(self.packable.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::directory::ExternalId;

    impl UnderWay for WorkItem {
        fn item(&self) -> &WorkItem {
            self
        }

        fn hasten(&mut self) {
            self.lane = Lane::Deprovision;
        }
    }

    fn item(lane: Lane, id: usize) -> WorkItem {
        WorkItem {
            key: ResourceKey::user(ExternalId::parse(format!("{}-{id}", lane.as_str())).unwrap()),
            lane,
            generation: 1,
            since: Timestamp::default(),
            attempts: 0,
            failed_at: None,
            intent: None,
        }
    }

    fn fill(lanes: &mut Lanes<WorkItem>, lane: Lane, count: usize) {
        lanes.fill(lane, WINDOW, (0..count).map(|id| item(lane, id)).collect());
    }

    fn taken(lanes: &mut Lanes<WorkItem>) -> Option<Lane> {
        lanes.take().map(|candidate| match candidate {
            Candidate::Fresh(item) | Candidate::UnderWay(item) => item.lane,
        })
    }

    #[test]
    fn deprovisioning_goes_ahead_of_everything_even_of_what_is_under_way() {
        let mut lanes = Lanes::new();
        fill(&mut lanes, Lane::Change, 10);
        lanes.resume(item(Lane::Change, 99));
        fill(&mut lanes, Lane::Deprovision, 2);
        assert_eq!(taken(&mut lanes), Some(Lane::Deprovision));
        assert_eq!(taken(&mut lanes), Some(Lane::Deprovision));
        assert_eq!(taken(&mut lanes), Some(Lane::Change));
    }

    /// Each stands in another queue of another lane when the same row comes in the first one.
    #[test]
    fn who_loses_access_goes_ahead_also_where_an_earlier_change_is_held() {
        let put: [fn(&mut Lanes<WorkItem>, WorkItem); 5] = [
            |lanes, item| lanes.fill(Lane::Change, WINDOW, vec![item]),
            |lanes, item| hold(lanes, item, Lanes::resume),
            |lanes, item| hold(lanes, item, Lanes::resume_later),
            |lanes, item| hold(lanes, item, Lanes::resume_packable),
            |_, _| {},
        ];
        for (case, put) in put.into_iter().enumerate() {
            let mut lanes = Lanes::new();
            fill(&mut lanes, Lane::Change, 50);
            put(&mut lanes, item(Lane::Change, 99));
            let leaver = WorkItem { lane: Lane::Deprovision, ..item(Lane::Change, 99) };
            lanes.fill(Lane::Deprovision, WINDOW, vec![leaver.clone()]);
            lanes.fill(Lane::Deprovision, WINDOW, vec![leaver.clone()]);
            let (Some(Candidate::Fresh(first) | Candidate::UnderWay(first)), Some(next)) =
                (lanes.take(), taken(&mut lanes))
            else {
                panic!("{case}: there are fifty-one");
            };
            assert_eq!(
                (first.key, first.lane, next),
                (leaver.key, Lane::Deprovision, Lane::Change),
                "{case}"
            );
        }
    }

    #[test]
    fn who_loses_access_during_a_call_goes_ahead_after_it() {
        for resume in [Lanes::resume, Lanes::resume_later, Lanes::resume_packable] {
            let mut lanes = Lanes::new();
            fill(&mut lanes, Lane::Change, 1);
            let Some(Candidate::Fresh(in_flight)) = lanes.take() else { panic!("there is one") };
            fill(&mut lanes, Lane::Membership, 50);
            let leaver = WorkItem { lane: Lane::Deprovision, ..in_flight.clone() };
            lanes.fill(Lane::Deprovision, WINDOW, vec![leaver]);
            assert!(!lanes.is_urgent(), "it is in flight");
            resume(&mut lanes, in_flight);
            assert_eq!(taken(&mut lanes), Some(Lane::Deprovision));
        }
    }

    fn hold(lanes: &mut Lanes<WorkItem>, item: WorkItem, put: fn(&mut Lanes<WorkItem>, WorkItem)) {
        lanes.held.insert(item.key.clone());
        put(lanes, item);
    }

    #[test]
    fn what_is_under_way_goes_ahead_of_new_rows_of_its_lane() {
        let mut lanes = Lanes::new();
        fill(&mut lanes, Lane::Change, 1);
        lanes.resume(item(Lane::Change, 99));
        assert!(matches!(lanes.take(), Some(Candidate::UnderWay(_))));
    }

    #[test]
    fn the_other_lanes_share_by_weight_and_none_starves() {
        let mut lanes = Lanes::new();
        for lane in [Lane::Revoke, Lane::Change, Lane::Membership, Lane::Backfill] {
            fill(&mut lanes, lane, 200);
        }
        let served: Vec<Lane> = (0..180).filter_map(|_| taken(&mut lanes)).collect();
        let count = |lane| served.iter().filter(|served| **served == lane).count();
        assert_eq!(
            [count(Lane::Revoke), count(Lane::Change), count(Lane::Membership), count(Lane::Backfill)],
            [80, 60, 30, 10]
        );
    }

    #[test]
    fn a_held_key_is_not_taken_twice_until_it_is_released() {
        let mut lanes: Lanes<WorkItem> = Lanes::new();
        fill(&mut lanes, Lane::Change, 1);
        assert!(lanes.take().is_some());
        fill(&mut lanes, Lane::Change, 1);
        assert!(lanes.take().is_none());
        lanes.release(&item(Lane::Change, 0).key);
        fill(&mut lanes, Lane::Change, 1);
        assert!(lanes.take().is_some());
    }

    #[test]
    fn the_window_is_bounded_and_remembers_that_there_is_more() {
        let mut lanes: Lanes<WorkItem> = Lanes::new();
        lanes.fill(Lane::Change, 1_000, (0..1_000).map(|id| item(Lane::Change, id)).collect());
        assert_eq!(lanes.windows.iter().map(|window| window.fresh.len()).sum::<usize>(), WINDOW);
        assert!(lanes.wants().iter().all(|(lane, _)| *lane != Lane::Change), "the window is still full");
        for _ in 0..WINDOW {
            lanes.take();
        }
        assert!(lanes.wants().iter().any(|(lane, _)| *lane == Lane::Change));
    }
}
