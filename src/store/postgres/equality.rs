//! The two stores do the same: random walks that both take, compared after each step in all that can
//! be asked. SQLite records one outcome after another, so that this also shows what a batch may not
//! change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::harness::Place;
use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::conformance::must;
use crate::store::conformance::scene::{NOW, outcome, retry, wait};
use crate::store::conformance::script::{DIRECTORY, GROUPS, Script, USERS, group_key, id, stream, user_key};
use crate::store::sqlite::SqliteStore;
use crate::store::{
    Committed, Intent, ItemId, Lane, LedgerEntry, LedgerFilter, LedgerRecord, Link, LinkChange,
    MembersOutcome, Outcome, ParkedMember, Row, Store, StoreError, Tenure, WorkChange,
};

/// Follow one directory, so that a walk of one leaves the other alone.
const TARGETS: [&str; 2] = ["acme", "second"];
/// Groups that both targets derive.
const DERIVED: [&str; 2] = ["Sellers", "Heads"];
const STEPS: usize = 40;
/// After every time of a walk.
const END: Timestamp = Timestamp::from_seconds(20_000);

#[tokio::test]
async fn random_walks_lead_both_stores_to_the_same_state() {
    for seed in 0..4 {
        let mut walk = Walk::begin(seed).await;
        for step in 0..STEPS {
            let taken = walk.step().await;
            walk.compare(&format!("seed {seed}, step {step}: {taken}")).await;
        }
    }
}

struct Walk {
    chance: StdRng,
    ours: PostgresStoreAt,
    theirs: SqliteStore,
    script: Script,
    events: u32,
    tenures: Vec<Tenure>,
}

/// The store, and the database that it is in.
struct PostgresStoreAt {
    store: super::PostgresStore,
    _place: Place,
}

impl Walk {
    async fn begin(seed: u64) -> Self {
        let place = Place::new();
        let ours = PostgresStoreAt { store: place.open().await, _place: place };
        let theirs = SqliteStore::open_temporary().unwrap();
        let chance = StdRng::seed_from_u64(seed);
        let mut walk =
            Self { chance, ours, theirs, script: Script::default(), events: 0, tenures: Vec::new() };
        for target in TARGETS {
            let directory = DIRECTORY.to_owned();
            walk.both(async |store| store.enrol(target, &directory, NOW).await).await;
            let taken = walk.both(async |store| store.take(target, "replica-1", Duration::ZERO).await).await;
            walk.tenures.push(taken.expect("no lease lasts"));
        }
        walk
    }

    /// The answer that both stores give.
    async fn both<T: Debug + PartialEq>(&self, ask: impl AsyncFn(&dyn Store) -> Result<T, StoreError>) -> T {
        let ours = must(ask(&self.ours.store).await);
        assert_eq!(ours, must(ask(&self.theirs).await));
        ours
    }

    async fn step(&mut self) -> String {
        match self.chance.random_range(0..10) {
            0..3 => self.feed().await,
            3 => self.intend().await,
            4 => self.settle_parked().await,
            _ => self.commit().await,
        }
    }

    async fn feed(&mut self) -> String {
        for changes in stream(self.chance.random()) {
            let event = self.script.event(self.events, changes);
            self.events += 1;
            self.both(async |store| store.append(event.clone()).await).await;
        }
        // Which events share a batch shows in nothing but the answer.
        for store in [&self.ours.store as &dyn Store, &self.theirs] {
            while must(store.project(&self.script, 100).await).more {}
        }
        "feed".to_owned()
    }

    async fn intend(&mut self) -> String {
        let (tenure, key) = (self.tenure(), self.key());
        let intent = Intent { operation: "create".to_owned(), at: NOW };
        self.both(async |store| store.intend(&tenure, &key, &intent).await).await;
        format!("intend {key:?} at {}", tenure.target)
    }

    async fn settle_parked(&mut self) -> String {
        let target = self.tenure().target;
        let parked = if self.chance.random_bool(0.5) {
            ItemId::Resource(self.key())
        } else {
            ItemId::Member { group: id(self.pick(&GROUPS)), user: id(self.pick(&USERS)) }
        };
        let retry = self.chance.random_bool(0.5);
        self.both(async |store| {
            if retry {
                store.retry_parked(&target, &parked, "ann", NOW).await
            } else {
                store.discard_parked(&target, &parked, "ann", NOW).await
            }
        })
        .await;
        format!("settle {parked} at {target}, retry {retry}")
    }

    async fn commit(&mut self) -> String {
        let tenure = self.tenure();
        let mut batch = Vec::new();
        for _ in 0..self.chance.random_range(1..8) {
            batch.push(self.outcome(&tenure.target).await);
        }
        let committed: Committed =
            self.both(async |store| store.commit(&tenure, batch.clone(), NOW).await).await;
        format!("commit {batch:?} at {}: {committed:?}", tenure.target)
    }

    async fn outcome(&mut self, target: &str) -> Outcome {
        let key = self.key();
        let dossier = self.both(async |store| store.load(target, &key, 100).await).await;
        let current = dossier.map_or(0, |dossier| dossier.item.generation);
        let generation = if self.chance.random_bool(0.7) { current } else { self.chance.random_range(0..4) };
        Outcome {
            link: self.link_change(generation),
            members: self.members_outcome(key.kind),
            waits_for: self.users(0.2),
            memberships: self.memberships(key.kind),
            ledger: self.entries(),
            ..outcome(&key, generation).ending(self.work_change())
        }
    }

    fn memberships(&mut self, kind: Kind) -> BTreeMap<ExternalId, bool> {
        let groups = DERIVED.map(|name| ExternalId::derived(name).unwrap());
        let chosen = groups.into_iter().filter(|_| kind == Kind::User && self.chance.random_bool(0.3));
        chosen.collect::<Vec<_>>().into_iter().map(|group| (group, self.chance.random_bool(0.5))).collect()
    }

    fn link_change(&mut self, synced_generation: u64) -> LinkChange {
        match self.chance.random_range(0..8) {
            0..3 => LinkChange::Keep,
            3 => LinkChange::Forget,
            4 => LinkChange::Set(Link::Absent { checked_at: NOW }),
            _ => LinkChange::Set(Link::Known(Row {
                vendor_id: self.pick(&["v-1", "v-2", "v 3"]).to_owned(),
                synced_generation,
                synced_members: self.chance.random_range(0..30),
                ..Row::default()
            })),
        }
    }

    fn members_outcome(&mut self, kind: Kind) -> MembersOutcome {
        if kind == Kind::User {
            return MembersOutcome::default();
        }
        let parked = self.users(0.1).into_iter();
        let parked = parked.map(|user| ParkedMember { user, reason: "no\0t licensed".to_owned() });
        MembersOutcome { settled: self.users(0.2), parked: parked.collect(), ..MembersOutcome::default() }
    }

    fn work_change(&mut self) -> WorkChange {
        let due = NOW.after(Duration::from_secs(self.chance.random_range(0..3)));
        match self.chance.random_range(0..8) {
            0..3 => WorkChange::Finish,
            3 => WorkChange::Continue,
            4 => retry(due),
            5 | 6 => wait(due),
            _ => WorkChange::Park { reason: "re\0fused".to_owned() },
        }
    }

    fn entries(&mut self) -> Vec<LedgerEntry> {
        let results = ["applied", "unknown", "refused"];
        let count = self.chance.random_range(0..3);
        let entry = |walk: &mut Self| LedgerEntry {
            call: Some("PATCH Users/{id}".to_owned()),
            status: Some(walk.chance.random_range(200..500)),
            elapsed_us: Some(7),
            ..LedgerEntry::without_call(NOW, "update", walk.pick(&results), Some("wh\0y".to_owned()))
        };
        (0..count).map(|_| entry(self)).collect()
    }

    fn tenure(&mut self) -> Tenure {
        self.tenures.choose(&mut self.chance).expect("there are targets").clone()
    }

    fn key(&mut self) -> ResourceKey {
        match self.chance.random_range(0..10) {
            0..6 => user_key(self.pick(&USERS)),
            6..8 => group_key(self.pick(&GROUPS)),
            _ => ResourceKey::group(ExternalId::derived(self.pick(&DERIVED)).unwrap()),
        }
    }

    fn users(&mut self, probability: f64) -> BTreeSet<ExternalId> {
        USERS.into_iter().filter(|_| self.chance.random_bool(probability)).map(id).collect()
    }

    fn pick<T: Copy>(&mut self, things: &[T]) -> T {
        *things.choose(&mut self.chance).expect("there are some")
    }

    async fn compare(&self, taken: &str) {
        let ours = seen(&self.ours.store, self.events).await;
        let theirs = seen(&self.theirs, self.events).await;
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            // PostgreSQL keeps no U+0000.
            assert_eq!(*ours, theirs.replace("\\0", "\u{FFFD}"), "{taken}");
        }
    }
}

/// All that can be asked of a store, as text.
async fn seen(store: &dyn Store, events: u32) -> Vec<String> {
    let mut seen = vec![format!("{:?}", must(store.status().await))];
    let users = USERS.into_iter().map(user_key);
    let derived = DERIVED.into_iter().map(|name| ResourceKey::group(ExternalId::derived(name).unwrap()));
    let keys: Vec<ResourceKey> = users.chain(GROUPS.into_iter().map(group_key)).chain(derived).collect();
    for target in TARGETS {
        for lane in Lane::ALL {
            seen.push(format!("{lane:?} {:?}", must(store.due(target, lane, END, 100).await)));
        }
        seen.push(format!("next {:?}", must(store.next_due(target, NOW).await)));
        for key in &keys {
            for members in [2, 100] {
                seen.push(format!("{:?}", must(store.load(target, key, members).await)));
            }
        }
        for vendor_id in ["v-1", "v-2", "v 3"] {
            seen.push(format!("{:?}", must(store.holder_of(target, Kind::User, vendor_id).await)));
        }
        seen.push(format!("{:?}", must(store.parked(target, None, 100).await)));
    }
    let mut ledger = must(store.ledger(&LedgerFilter::default(), None, 30).await);
    // Numbers may be left out.
    ledger.items.iter_mut().for_each(|record: &mut LedgerRecord| record.sequence = 0);
    seen.push(format!("{:?}", ledger.items));
    for number in events.saturating_sub(5)..events {
        seen.push(format!("{:?}", must(store.event(&format!("evt-{number}")).await)));
    }
    seen
}
