//! What a source says of one record, and what tells it from what was said before.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Operation};
use crate::source::fed;
use crate::store::{Aspect, RecordKey, SettledRecord};

/// Bytes of a fingerprint.
const FINGERPRINT_BYTES: usize = 16;

/// What a source says of one record.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The record.
    pub key: RecordKey,
    /// What it says.
    pub change: Change,
    /// Of what it says, whenever it says so.
    pub fingerprint: Vec<u8>,
}

impl Said {
    /// From a change.
    pub fn new(change: Change) -> Self {
        let timeless = Change { occurred_at: None, operation: change.operation };
        let digest = Sha256::digest(canonical(fed::change(&timeless)).as_bytes());
        let fingerprint = digest[..FINGERPRINT_BYTES].to_vec();
        let key = key_of(&timeless.operation);
        Self { key, change: Change { occurred_at: change.occurred_at, ..timeless }, fingerprint }
    }

    /// That the record is gone since `at`.
    pub fn gone(key: &RecordKey, at: Timestamp) -> Self {
        Self::new(Change { occurred_at: Some(at), operation: deletion(key) })
    }

    /// Said at `at`.
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.change.occurred_at = Some(at);
        self
    }

    /// Whether the user or group is there, going by this.
    pub fn is_there(&self) -> bool {
        fed::is_there(&self.change.operation)
    }

    /// Whether somebody who is there loses access by this.
    pub fn ends_access(&self) -> bool {
        self.change.operation.ends_access() || !self.is_there()
    }
}

/// What is remembered once this was taken in. With a group its list of members is forgotten, so that
/// the same list counts as new when the group is back.
pub fn settled(said: &[Said]) -> Vec<SettledRecord> {
    let settled = said.iter().map(|said| SettledRecord {
        key: said.key.clone(),
        fingerprint: said.fingerprint.clone(),
        is_there: said.is_there(),
    });
    let gone = said.iter().filter(|said| said.key.aspect == Aspect::Group && !said.is_there());
    let lists = gone.map(|said| RecordKey { aspect: Aspect::Members, id: said.key.id.clone() });
    let lists = lists.filter(|list| !said.iter().any(|said| said.key == *list));
    let forgotten = lists.map(|key| SettledRecord { key, fingerprint: Vec::new(), is_there: false });
    settled.chain(forgotten).collect()
}

/// Maps keep no order of their own, so they are written in the order of their names.
fn canonical(mut value: Value) -> String {
    value.sort_all_objects();
    value.to_string()
}

fn key_of(operation: &Operation) -> RecordKey {
    let aspect = match operation {
        Operation::UserUpsert { .. } | Operation::UserDeactivate { .. } | Operation::UserDelete { .. } => {
            Aspect::User
        }
        Operation::GroupUpsert { .. } | Operation::GroupDelete { .. } => Aspect::Group,
        Operation::GroupMembers { .. } => Aspect::Members,
    };
    RecordKey { aspect, id: operation.key().id }
}

fn deletion(key: &RecordKey) -> Operation {
    let id: ExternalId = key.id.clone();
    match key.aspect {
        Aspect::User => Operation::UserDelete { id },
        // A list of members goes with its group.
        Aspect::Group | Aspect::Members => Operation::GroupDelete { id },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(item: &Value) -> Said {
        let body = json!({"changes": [item]}).to_string();
        Said::new(fed::read(body.as_bytes()).unwrap().remove(0))
    }

    #[test]
    fn the_same_words_have_one_fingerprint_whenever_and_in_whatever_order_they_are_said() {
        let first =
            said(&json!({"op": "user.upsert", "id": "u", "attributes": {"userName": "u", "title": "T"},
            "occurred_at": "2026-11-20T10:00:00Z"}));
        let second =
            said(&json!({"op": "user.upsert", "id": "u", "attributes": {"title": "T", "userName": "u"}}));
        let other =
            said(&json!({"op": "user.upsert", "id": "u", "attributes": {"title": "t", "userName": "u"}}));
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_ne!(first.fingerprint, other.fingerprint);
        assert_eq!(first.fingerprint.len(), FINGERPRINT_BYTES);
    }

    #[test]
    fn a_group_and_its_members_are_two_records() {
        let group = said(&json!({"op": "group.upsert", "id": "g", "attributes": {}}));
        let members = said(&json!({"op": "group.members", "id": "g", "set": ["u"]}));
        assert_eq!((group.key.aspect, members.key.aspect), (Aspect::Group, Aspect::Members));
    }

    #[test]
    fn a_group_that_is_gone_takes_its_list_of_members_along() {
        let gone = said(&json!({"op": "group.delete", "id": "g"}));
        let settled = settled(&[gone]);
        let list = RecordKey { aspect: Aspect::Members, id: settled[0].key.id.clone() };
        assert_eq!(settled[1], SettledRecord { key: list, fingerprint: Vec::new(), is_there: false });
        let user = said(&json!({"op": "user.delete", "id": "u"}));
        assert_eq!(super::settled(&[user]).len(), 1);
    }

    #[test]
    fn who_is_inactive_or_gone_loses_access() {
        for (item, expected) in [
            (json!({"op": "user.upsert", "id": "u", "attributes": {"active": false}}), (true, true)),
            (json!({"op": "user.upsert", "id": "u", "attributes": {"active": true}}), (true, false)),
            (json!({"op": "user.deactivate", "id": "u"}), (true, true)),
            (json!({"op": "user.delete", "id": "u"}), (false, true)),
            (json!({"op": "group.delete", "id": "u"}), (false, true)),
        ] {
            let said = said(&item);
            assert_eq!((said.is_there(), said.ends_access()), expected, "{item}");
        }
    }
}
