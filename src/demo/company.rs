//! A generated stream of a company's changes, and the directory that it describes: for the demo, for
//! tests and for benchmarks.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::directory::{
    Change, ExternalId, Kind, MembersEdit, Operation, Snapshot, Version, VersionedChange, merge,
    parse_attributes,
};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// One event, as it is posted.
#[derive(Clone, Debug)]
pub struct Event {
    /// The `webhook-id`.
    pub id: String,
    /// Changes in the native format.
    pub changes: Vec<Value>,
}

impl Event {
    /// The body, in the native format.
    pub fn body(&self) -> String {
        json!({ "changes": self.changes }).to_string()
    }
}

/// How large a stream is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// People hired at the start.
    pub users: usize,
    /// Groups made at the start.
    pub groups: usize,
    /// Changes in all, those of the start included; duplicates come on top.
    pub changes: usize,
}

/// Events in the order of delivery: with duplicates, disorder, bursts on one group, renames, leavers
/// and people who come back.
pub fn generate(shape: Shape, seed: u64) -> Vec<Event> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut generator = Generator { shape, clock: 1_700_000_000, names: BTreeMap::new(), events: Vec::new() };
    generator.company(&mut chance);
    while generator.changes() < shape.changes {
        generator.happening(&mut chance);
    }
    let mut events = generator.events;
    disorder(&mut events, &mut chance);
    events
}

/// The directory that the events describe, in whatever order they come.
pub fn directory(events: &[Event]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for event in events {
        let changes: Vec<VersionedChange> =
            (0u32..).zip(&event.changes).map(|(index, change)| versioned(event, index, change)).collect();
        merge(&mut snapshot, &changes);
    }
    snapshot
}

struct Generator {
    shape: Shape,
    clock: i64,
    names: BTreeMap<usize, usize>,
    events: Vec<Event>,
}

impl Generator {
    fn changes(&self) -> usize {
        self.events.iter().map(|event| event.changes.len()).sum()
    }

    fn push(&mut self, changes: Vec<Value>) {
        let id = format!("evt-{:06}", self.events.len());
        self.events.push(Event { id, changes });
    }

    fn now(&mut self) -> String {
        self.clock += 1;
        Timestamp::from_seconds(self.clock).to_string()
    }

    fn company(&mut self, chance: &mut StdRng) {
        for group in 0..self.shape.groups {
            let at = self.now();
            self.push(vec![json!({"op": "group.upsert", "id": format!("g-{group}"), "occurred_at": at,
                "attributes": {"displayName": format!("Team {group}")}})]);
        }
        let users: Vec<usize> = (0..self.shape.users).collect();
        for batch in users.chunks(4) {
            let changes = batch.iter().map(|user| self.hire(*user, chance)).collect();
            self.push(changes);
        }
    }

    fn hire(&mut self, user: usize, chance: &mut StdRng) -> Value {
        let at = self.now();
        let name = self.user_name(user);
        let department = ["SUPPORT", "SALES", "ENGINEERING", "FINANCE"].choose(chance).expect("not empty");
        json!({"op": "user.upsert", "id": format!("u-{user}"), "occurred_at": at, "attributes": {
            "userName": name, "displayName": format!("User {user}"), "active": true,
            "name": {"givenName": format!("Given{user}"), "familyName": format!("Family{user}")},
            "emails": [{"value": name, "type": "work", "primary": true}],
            "department": department,
        }})
    }

    fn user_name(&self, user: usize) -> String {
        match self.names.get(&user) {
            None => format!("user{user}@example.com"),
            Some(renames) => format!("user{user}.{renames}@example.com"),
        }
    }

    fn happening(&mut self, chance: &mut StdRng) {
        let user = chance.random_range(0..self.shape.users);
        let group = chance.random_range(0..self.shape.groups);
        let at = self.now();
        match chance.random_range(0..100) {
            0..40 => {
                let users = self.some_users(chance, 5);
                let word = if chance.random_bool(0.7) { "add" } else { "remove" };
                self.push(vec![json!({"op": "group.members", "id": format!("g-{group}"), "occurred_at": at, word: users})]);
            }
            40..55 => self.burst(group, chance),
            55..75 => {
                let title = format!("Title {}", chance.random_range(0..9));
                self.push(vec![json!({"op": "user.upsert", "id": format!("u-{user}"), "occurred_at": at,
                    "attributes": {"title": title, "department": "MOVED"}})]);
            }
            75..83 => {
                *self.names.entry(user).or_default() += 1;
                let name = self.user_name(user);
                self.push(vec![json!({"op": "user.upsert", "id": format!("u-{user}"), "occurred_at": at,
                    "attributes": {"userName": name, "emails": [{"value": name, "type": "work", "primary": true}]}})]);
            }
            83..88 => self
                .push(vec![json!({"op": "user.deactivate", "id": format!("u-{user}"), "occurred_at": at})]),
            88..91 => {
                self.push(vec![json!({"op": "user.delete", "id": format!("u-{user}"), "occurred_at": at})]);
            }
            91..94 => {
                let rehired = self.hire(user, chance);
                self.push(vec![rehired]);
            }
            94..97 => {
                let name = format!("Team {group} renamed {}", self.clock);
                self.push(vec![json!({"op": "group.upsert", "id": format!("g-{group}"), "occurred_at": at,
                    "attributes": {"displayName": name}})]);
            }
            _ => {
                let users = self.some_users(chance, 20);
                self.push(vec![json!({"op": "group.members", "id": format!("g-{group}"), "occurred_at": at, "set": users})]);
            }
        }
    }

    /// A reorganisation: many events about one group.
    fn burst(&mut self, group: usize, chance: &mut StdRng) {
        for _ in 0..chance.random_range(3..12) {
            let users = self.some_users(chance, 3);
            let at = self.now();
            self.push(vec![
                json!({"op": "group.members", "id": format!("g-{group}"), "occurred_at": at, "add": users}),
            ]);
        }
    }

    fn some_users(&self, chance: &mut StdRng, most: usize) -> Vec<String> {
        let count = chance.random_range(1..=most).min(self.shape.users);
        let mut users: Vec<usize> = (0..self.shape.users).collect();
        let (chosen, _) = users.partial_shuffle(chance, count);
        chosen.iter().map(|user| format!("u-{user}")).collect()
    }
}

/// Shuffles within windows, and delivers one event in ten again later.
fn disorder(events: &mut Vec<Event>, chance: &mut StdRng) {
    for window in events.chunks_mut(50) {
        window.shuffle(chance);
    }
    let again: Vec<Event> = events.iter().filter(|_| chance.random_bool(0.1)).cloned().collect();
    for event in again {
        let at = chance.random_range(0..=events.len());
        events.insert(at, event);
    }
}

fn versioned(event: &Event, index: u32, change: &Value) -> VersionedChange {
    let Change { occurred_at, operation } = parse(change);
    let version = Version {
        occurred_at: occurred_at.expect("every change has a time"),
        event: event.id.clone(),
        index,
    };
    VersionedChange { version, operation }
}

fn parse(change: &Value) -> Change {
    let text = |name: &str| change[name].as_str().expect("a text").to_owned();
    let id = ExternalId::parse(text("id")).expect("a valid id");
    let ids = |name: &str| -> Vec<ExternalId> {
        let ids = change[name].as_array().into_iter().flatten();
        ids.map(|id| ExternalId::parse(id.as_str().expect("a text")).expect("a valid id")).collect()
    };
    let attributes =
        |kind| parse_attributes(kind, change["attributes"].as_object().expect("an object")).expect("valid");
    let operation = match text("op").as_str() {
        "user.upsert" => Operation::UserUpsert { id, attributes: attributes(Kind::User) },
        "user.deactivate" => Operation::UserDeactivate { id },
        "user.delete" => Operation::UserDelete { id },
        "group.upsert" => Operation::GroupUpsert { id, attributes: attributes(Kind::Group) },
        "group.members" if change.get("set").is_some() => {
            Operation::GroupMembers { id, edit: MembersEdit::Set(ids("set")) }
        }
        "group.members" => Operation::GroupMembers {
            id,
            edit: MembersEdit::Delta { add: ids("add"), remove: ids("remove") },
        },
        other => panic!("{other}"),
    };
    Change { occurred_at: Timestamp::parse_rfc3339(&text("occurred_at")), operation }
}
