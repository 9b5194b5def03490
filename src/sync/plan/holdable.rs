//! What a vendor can hold: attributes that it does not take are left out before anything is compared.

use serde_json::Value;

use crate::directory::{AttributePath, Kind};
use crate::sync::plan::Units;
use crate::sync::policy::{Policy, Shape};

/// The units that may go to the vendor. `creating` asks for those of a new resource.
pub(super) fn holdable(policy: &Policy, kind: Kind, units: Units, creating: bool) -> Units {
    let shape = &policy.shape;
    let taken = |path: &AttributePath| match kind {
        Kind::User => creating || !names(path.as_str(), |name| shape.immutable.contains(name)),
        Kind::Group => {
            shape.group_attributes.is_empty()
                || names(path.as_str(), |name| shape.group_attributes.contains(name))
        }
    };
    let units = units.into_iter().filter(|(path, _)| !policy.strips(path.as_str()) && taken(path));
    if shape.multi_valued {
        units.collect()
    } else {
        units.map(|(path, value)| (path, single(value))).collect()
    }
}

/// The first attribute that the vendor requires and `units` lack.
pub(super) fn missing<'a>(shape: &'a Shape, units: &Units) -> Option<&'a str> {
    let known = |required: &str| {
        units.iter().any(|(path, value)| {
            let path = path.as_str();
            !is_empty(value)
                && (path == required || path.strip_prefix(required).is_some_and(|rest| rest.starts_with('.')))
        })
    };
    shape.required.iter().map(String::as_str).find(|required| !known(required))
}

/// Whether a `userName` would be refused because it is no mail address.
pub(super) fn is_no_address(shape: &Shape, units: &Units) -> bool {
    let name = units.get("userName").and_then(Value::as_str).unwrap_or_default();
    let address = name.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
    shape.username_is_email && !address
}

/// Whether a list names a path, or the attribute that it is a part of.
fn names(path: &str, is_named: impl Fn(&str) -> bool) -> bool {
    is_named(path) || path.split_once('.').is_some_and(|(first, _)| is_named(first))
}

/// Of several values, the primary one, else the first.
fn single(value: Value) -> Value {
    let Value::Array(mut values) = value else { return value };
    let primary = values.iter().position(|value| value.get("primary") == Some(&Value::Bool(true)));
    if let Some(primary) = primary {
        values.swap(0, primary);
    }
    values.truncate(1);
    Value::Array(values)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(parts) => parts.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn units(value: &Value) -> Units {
        let pairs = value.as_object().unwrap().iter();
        pairs.map(|(path, value)| (AttributePath::new(path), value.clone())).collect()
    }

    fn with(shape: Shape) -> Policy {
        Policy { shape, ..Policy::default() }
    }

    #[test]
    fn an_immutable_attribute_goes_out_once() {
        let immutable = ["userName", "name"].map(str::to_owned).into();
        let policy = with(Shape { immutable, ..Shape::default() });
        let all = units(&json!({ "userName": "a", "name.givenName": "A", "title": "t" }));
        assert_eq!(holdable(&policy, Kind::User, all.clone(), true), all);
        let later = holdable(&policy, Kind::User, all.clone(), false);
        assert_eq!(later, units(&json!({ "title": "t" })));
        assert_eq!(holdable(&policy, Kind::Group, all.clone(), false), all);
    }

    #[test]
    fn a_group_has_only_the_attributes_that_it_may_have() {
        let group_attributes = ["displayName".to_owned()].into();
        let policy = with(Shape { group_attributes, ..Shape::default() });
        let group = units(&json!({ "displayName": "G", "externalId": "g-1" }));
        assert_eq!(holdable(&policy, Kind::Group, group, true), units(&json!({ "displayName": "G" })));
    }

    #[test]
    fn one_value_is_left_of_several_where_one_is_all_that_fits() {
        let policy = with(Shape { multi_valued: false, ..Shape::default() });
        for (sent, held) in [
            (
                json!([{"value": "a"}, {"value": "b", "primary": true}]),
                json!([{"value": "b", "primary": true}]),
            ),
            (json!([{"value": "a"}, {"value": "b"}]), json!([{"value": "a"}])),
            (json!([]), json!([])),
            (Value::Null, Value::Null),
        ] {
            let units = Units::from([(AttributePath::new("emails"), sent)]);
            let expected = Units::from([(AttributePath::new("emails"), held)]);
            assert_eq!(holdable(&policy, Kind::User, units, false), expected);
        }
    }

    #[test]
    fn what_is_required_and_blank_is_missing() {
        let shape = Shape { required: ["name", "emails"].map(str::to_owned).into(), ..Shape::default() };
        for (held, lacks) in [
            (json!({ "name.givenName": "A", "emails": [{ "value": "a@x" }] }), None),
            (json!({ "name.givenName": " ", "emails": [{ "value": "a@x" }] }), Some("name")),
            (json!({ "names": "A", "emails": [{ "value": "a@x" }] }), Some("name")),
            (json!({ "name.givenName": "A", "emails": [] }), Some("emails")),
        ] {
            assert_eq!(missing(&shape, &units(&held)), lacks, "{held}");
        }
    }

    #[test]
    fn a_name_must_be_an_address_only_where_the_vendor_says_so() {
        let strict = Shape { username_is_email: true, ..Shape::default() };
        for (name, refused) in [("a@x", false), ("a", true), ("@x", true), ("a@", true)] {
            let units = units(&json!({ "userName": name }));
            assert_eq!(is_no_address(&strict, &units), refused, "{name}");
            assert!(!is_no_address(&Shape::default(), &units));
        }
    }
}
