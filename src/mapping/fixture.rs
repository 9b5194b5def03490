//! Users for the tests of expressions.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::directory::{
    Attributes, ExternalId, Kind, Operation, Snapshot, User, Version, VersionedChange, merge,
    parse_attributes,
};
use crate::mapping::Subject;

fn id() -> ExternalId {
    ExternalId::parse("u-1").unwrap()
}

/// The user `u-1` as an upsert of these attributes leaves it.
pub(super) fn user(attributes: &Value) -> User {
    let attributes = parse_attributes(Kind::User, attributes.as_object().unwrap()).unwrap();
    let version = Version { occurred_at: Timestamp::from_seconds(1), event: "e".into(), index: 0 };
    let mut snapshot = Snapshot::default();
    let operation = Operation::UserUpsert { id: id(), attributes };
    merge(&mut snapshot, &[VersionedChange { version, operation }]);
    snapshot.user(&id()).unwrap().clone()
}

/// The user `u-1`, described and then deleted.
pub(super) fn deleted() -> User {
    let mut snapshot = Snapshot::default();
    let version = |index| Version { occurred_at: Timestamp::from_seconds(1), event: "e".into(), index };
    let described = Operation::UserUpsert { id: id(), attributes: Attributes::default() };
    let changes = [described, Operation::UserDelete { id: id() }];
    let changes: Vec<_> = (0..)
        .zip(changes)
        .map(|(index, operation)| VersionedChange { version: version(index), operation })
        .collect();
    merge(&mut snapshot, &changes);
    snapshot.user(&id()).unwrap().clone()
}

/// What expressions see of [`user`].
pub(super) fn subject(attributes: &Value) -> Subject {
    Subject::new(&id(), &user(attributes))
}
