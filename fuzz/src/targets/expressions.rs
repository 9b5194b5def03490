//! Expressions, and the places where their results go.

use std::sync::LazyLock;

use scim_relay::clock::Timestamp;
use scim_relay::directory::{
    ExternalId, Kind, Operation, Snapshot, User, Version, VersionedChange, merge, parse_attributes,
};
use scim_relay::mapping::{AttributeMap, Expression, Mapping, Place, Subject};
use serde_json::json;

use super::texts;
use crate::input::Input;

/// Calls in an expression that is evaluated. An operator may write one that works for long; what is
/// held here is that none fails otherwise than by an error.
const CALLS_MAX: usize = 6;

/// A line with a place, and an expression.
pub fn compile(input: &[u8]) {
    let mut input = Input::of(input);
    let place = Place::parse(input.text_line());
    let Some(source) = input.text() else { return };
    let Ok(expression) = Expression::compile(source) else { return };
    assert_eq!(expression.source(), source, "an expression is kept as it was written");
    if source.matches('(').count() > CALLS_MAX {
        return;
    }
    let (id, user) = &*USER;
    let subject = Subject::new(id, user);
    let result = expression.evaluate(&subject);
    assert_eq!(result, expression.evaluate(&subject), "an expression gives the same each time");
    let _ = expression.holds(&subject);
    let attributes = place.ok().and_then(|place| AttributeMap::new(vec![(place, expression.clone())]).ok());
    let mapping = Mapping { scope: Some(expression), attributes, derived_groups: Vec::new() };
    let _ = (mapping.fingerprint(), mapping.map(id, user));
}

/// Each of its lists holds one element, so that macros inside macros stay short.
static USER: LazyLock<(ExternalId, User)> = LazyLock::new(|| {
    let id = ExternalId::parse("u-1").expect("it is an id");
    let attributes = json!({
        "userName": "ann", "active": true, "department": "SALES", "title": "Lead",
        "name": {"givenName": "Ann", "familyName": "B"},
        "emails": [{"value": "ann@example.com", "type": "work"}],
        "urn:ietf:params:scim:schemas:extension:acme:2.0:User": {"badge": "7"},
    });
    let attributes = attributes.as_object().expect("it is an object");
    let attributes = parse_attributes(Kind::User, attributes).expect("they are attributes");
    let version = Version { occurred_at: Timestamp::from_seconds(1), event: "e".to_owned(), index: 0 };
    let operation = Operation::UserUpsert { id: id.clone(), attributes };
    let mut snapshot = Snapshot::default();
    merge(&mut snapshot, &[VersionedChange { version, operation }]);
    let user = snapshot.user(&id).expect("it was merged").clone();
    (id, user)
});

pub fn seeds() -> Vec<Vec<u8>> {
    texts(&[
        "title\nuser.department in [\"SUPPORT\", \"SALES\"] && user.active",
        "emails[type eq \"work\"].value\nuser.userName + \"@example.com\"",
        "name.givenName\nuser.emails.filter(e, e.type == \"work\")[0].value",
        "displayName\nhas(user.title) ? user.title.lowerAscii() : user[\"urn:ietf:params:scim:schemas:extension:acme:2.0:User\"].badge",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department\nuser.name.givenName.matches('^A.*') ? 'a' : null",
        "userType\n{'a': [1, 2.5, true, b'x', 1u]}.a[0] == 1 ? 'x' : string(7 % 2 - 3)",
        "active\nuser.emails.exists(e, e.value.startsWith('a')) || size(user.name) > 1",
    ])
}
