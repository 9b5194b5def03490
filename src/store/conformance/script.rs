//! Stands in for the sources: events whose changes are known, and random streams of them.

use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::directory::{
    Change, ExternalId, Kind, MembersEdit, Operation, ResourceKey, Version, VersionedChange, parse_attributes,
};
use crate::store::{EventReader, NewEvent};

/// The directory that a script feeds unless it says otherwise.
pub const DIRECTORY: &str = "corp";

/// Changes by event. An event's body is its number in the script.
#[derive(Debug, Default)]
pub struct Script(Mutex<Vec<Vec<Change>>>);

impl Script {
    /// Adds an event, to be appended. Its id and time of receipt follow from `number`.
    pub fn event(&self, number: u32, changes: Vec<Change>) -> NewEvent {
        let urgent = changes.iter().any(|change| change.operation.ends_access());
        let mut script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        script.push(changes);
        NewEvent {
            source: "hr".to_owned(),
            directory: DIRECTORY.to_owned(),
            event_id: format!("evt-{number}"),
            received_at: received_at(number),
            urgent,
            body: (script.len() - 1).to_string().into_bytes(),
        }
    }
}

impl EventReader for Script {
    fn read(&self, _: &str, body: &[u8]) -> Result<Vec<Change>, String> {
        let script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = std::str::from_utf8(body).ok().and_then(|text| text.parse::<usize>().ok());
        number.and_then(|number| script.get(number)).cloned().ok_or_else(|| "no such event".to_owned())
    }
}

/// When the event with this number was received: one second after the one before.
pub fn received_at(number: u32) -> Timestamp {
    Timestamp::from_seconds(1_000 + i64::from(number))
}

/// The changes of an event as a store must version them.
pub fn versioned(event: &NewEvent, changes: &[Change]) -> Vec<VersionedChange> {
    let versioned = (0..).zip(changes).map(|(index, change)| {
        let occurred_at = change.occurred_at.unwrap_or(event.received_at);
        let version = Version { occurred_at, event: event.event_id.clone(), index };
        VersionedChange { version, operation: change.operation.clone() }
    });
    versioned.collect()
}

/// A change without a time of its own.
pub fn now(operation: Operation) -> Change {
    Change { occurred_at: None, operation }
}

/// A change at a second.
pub fn at(seconds: i64, operation: Operation) -> Change {
    Change { occurred_at: Some(Timestamp::from_seconds(seconds)), operation }
}

/// An id.
pub fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).expect("ids in this suite are valid")
}

/// The key of a user.
pub fn user_key(text: &str) -> ResourceKey {
    ResourceKey::user(id(text))
}

/// The key of a group.
pub fn group_key(text: &str) -> ResourceKey {
    ResourceKey::group(id(text))
}

/// Describes a user.
pub fn user(name: &str, attributes: &Value) -> Operation {
    let object = attributes.as_object().expect("attributes are an object");
    let attributes = parse_attributes(Kind::User, object).expect("attributes in this suite are valid");
    Operation::UserUpsert { id: id(name), attributes }
}

/// Describes a user by a title, which is enough to make it another one.
pub fn titled(name: &str, title: &str) -> Operation {
    user(name, &json!({"title": title}))
}

/// Ends a user's access.
pub fn deactivate(name: &str) -> Operation {
    Operation::UserDeactivate { id: id(name) }
}

/// Deletes a user.
pub fn delete_user(name: &str) -> Operation {
    Operation::UserDelete { id: id(name) }
}

/// Describes a group.
pub fn group(name: &str, display_name: &str) -> Operation {
    let attributes = json!({"displayName": display_name});
    let object = attributes.as_object().expect("attributes are an object");
    let attributes = parse_attributes(Kind::Group, object).expect("attributes in this suite are valid");
    Operation::GroupUpsert { id: id(name), attributes }
}

/// Adds users to a group and removes others.
pub fn members(group: &str, add: &[&str], remove: &[&str]) -> Operation {
    let ids = |names: &[&str]| names.iter().map(|name| id(name)).collect();
    Operation::GroupMembers { id: id(group), edit: MembersEdit::Delta { add: ids(add), remove: ids(remove) } }
}

/// States the whole membership of a group.
pub fn members_set(group: &str, users: &[&str]) -> Operation {
    Operation::GroupMembers {
        id: id(group),
        edit: MembersEdit::Set(users.iter().map(|name| id(name)).collect()),
    }
}

/// The users of random streams.
pub const USERS: [&str; 5] = ["u1", "u2", "u3", "u4", "ü/5"];
/// The groups of random streams.
pub const GROUPS: [&str; 3] = ["g1", "g2", "g:3"];

/// A random stream of events, the same for the same seed. Several changes share a moment, some have
/// no time of their own.
pub fn stream(seed: u64) -> Vec<Vec<Change>> {
    let mut chance = StdRng::seed_from_u64(seed);
    let events = chance.random_range(1..20);
    let event = |chance: &mut StdRng| {
        let changes = chance.random_range(1..4);
        (0..changes).map(|_| change(chance)).collect()
    };
    (0..events).map(|_| event(&mut chance)).collect()
}

/// The same things in another order, some of them twice.
pub fn shuffled<T: Clone>(seed: u64, things: &[T]) -> Vec<T> {
    let mut chance = StdRng::seed_from_u64(seed);
    let again = things.iter().filter(|_| chance.random_bool(0.3)).cloned().collect::<Vec<_>>();
    let mut all: Vec<T> = things.iter().cloned().chain(again).collect();
    all.shuffle(&mut chance);
    all
}

fn change(chance: &mut StdRng) -> Change {
    let operation = operation(chance);
    if chance.random_bool(0.2) { now(operation) } else { at(chance.random_range(1_000..1_008), operation) }
}

fn operation(chance: &mut StdRng) -> Operation {
    let user_name = pick(chance, &USERS);
    let group_name = pick(chance, &GROUPS);
    match chance.random_range(0..10) {
        0..3 => user(user_name, &attributes(chance)),
        3 => deactivate(user_name),
        4 => delete_user(user_name),
        5 => group(group_name, pick(chance, &["One", "Two"])),
        6 => Operation::GroupDelete { id: id(group_name) },
        7 => members_set(group_name, &some(chance)),
        _ => {
            let add = some(chance);
            let remove: Vec<&str> = some(chance).into_iter().filter(|user| !add.contains(user)).collect();
            members(group_name, &add, &remove)
        }
    }
}

fn attributes(chance: &mut StdRng) -> Value {
    let drawn = [
        json!({"title": "A"}),
        json!({"title": "B", "active": true}),
        json!({"title": null, "active": false}),
        json!({"name": {"givenName": "Jo", "familyName": null}}),
        json!({"name": null}),
        json!({"department": "X", "manager": "u1", "urn:e:1:User": {"badge": 1}}),
        json!({"urn:e:1:User": null}),
    ];
    drawn.choose(chance).cloned().unwrap_or_default()
}

fn pick<'a>(chance: &mut StdRng, names: &[&'a str]) -> &'a str {
    names.choose(chance).copied().unwrap_or_default()
}

fn some(chance: &mut StdRng) -> Vec<&'static str> {
    USERS.into_iter().filter(|_| chance.random_bool(0.4)).collect()
}
