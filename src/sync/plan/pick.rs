//! Units that are one element of a list, picked by a value: `emails[type eq "work"]`.
//!
//! The relay owns the elements that it names and no others, so a list with such units is never replaced
//! without having been read.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::directory::AttributePath;
use crate::scim::filter::{self, Filter};
use crate::scim::patch::{Op, PatchOp};
use crate::scim::path::{AttributePath as AttributeName, PatchPath};
use crate::sync::plan::Units;
use crate::sync::plan::diff::{covers, member, operation};

/// One picked element.
pub(super) struct Pick {
    list: String,
    filter: Filter,
    /// The part that the filter compares, in lower case.
    by: Option<String>,
}

impl Pick {
    /// The element that a unit is; `None` for a unit that is no element.
    pub(super) fn of(unit: &AttributePath) -> Option<Self> {
        if !is_pick(unit) {
            return None;
        }
        let path = PatchPath::parse(unit.as_str())?;
        let filter = path.filter?;
        let by = match &filter {
            Filter::Compare(by, ..) => Some(by.name.to_lowercase()),
            Filter::And(_) | Filter::Or(_) | Filter::Not(_) | Filter::Present(_) | Filter::Values(..) => None,
        };
        let list = AttributeName { sub: None, ..path.attribute }.whole();
        Some(Self { list, filter, by })
    }

    /// The element in a resource.
    pub(super) fn find<'a>(&self, resource: &'a Map<String, Value>) -> Option<&'a Value> {
        member(resource, &self.list)?.as_array()?.iter().find(|element| self.is(element))
    }

    fn is(&self, element: &Value) -> bool {
        filter::matches(&self.filter, element)
    }

    /// The parts that are not as wanted; what the element is picked by is, as it was found by that.
    fn differing<'a>(
        &'a self,
        wanted: &'a Value,
        held: &'a Value,
    ) -> impl Iterator<Item = (&'a String, &'a Value)> {
        wanted.as_object().into_iter().flatten().filter(move |(name, wanted)| {
            let picked_by = self.by.as_deref().is_some_and(|by| by.eq_ignore_ascii_case(name));
            let held = held.as_object().and_then(|held| member(held, name));
            !picked_by && !held.is_some_and(|held| covers(&format!("{}.{name}", self.list), wanted, held))
        })
    }

    /// Puts the element into a list, in the place of the one that was there; null takes it out.
    fn put(&self, list: &mut Vec<Value>, element: &Value) {
        let held = list.iter().position(|held| self.is(held));
        match (held, element) {
            (_, Value::Null) => list.retain(|held| !self.is(held)),
            (Some(at), element) => {
                if let (Value::Object(held), Value::Object(wanted)) = (&mut list[at], element) {
                    held.extend(wanted.clone());
                }
            }
            (None, element) => list.push(element.clone()),
        }
    }
}

/// Whether a unit is one element of a list.
pub(super) fn is_pick(unit: &AttributePath) -> bool {
    unit.as_str().contains('[')
}

/// The operations that lead from what is held to what is wanted, for the units that are elements.
/// `resource` is as it was read; without it, what was said last is what is held.
pub(super) fn diff(
    desired: &Units,
    applied: &Units,
    resource: Option<&Map<String, Value>>,
    path_filters: bool,
) -> Vec<PatchOp> {
    let mut ops = Vec::new();
    let mut lists: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (unit, wanted) in desired {
        let Some(pick) = Pick::of(unit) else { continue };
        let held = match resource {
            Some(resource) => pick.find(resource),
            None => applied.get(unit).filter(|value| !value.is_null()),
        };
        let in_place = match (wanted, held) {
            (Value::Null, None) => true,
            (Value::Null, Some(_)) | (_, None) => false,
            (wanted, Some(held)) => pick.differing(wanted, held).next().is_none(),
        };
        if in_place {
            continue;
        }
        if path_filters {
            ops.extend(operations(&pick, unit, wanted, held));
        } else {
            let list = lists.entry(pick.list.clone()).or_insert_with(|| read_list(resource, &pick.list));
            pick.put(list, wanted);
        }
    }
    ops.extend(
        lists.into_iter().map(|(list, elements)| operation(Op::Replace, &list, Some(Value::Array(elements)))),
    );
    ops
}

/// Whether the resource must be read before the units can be compared: an element that was never
/// spoken of may be there, and a list that can only be replaced whole has others.
pub(super) fn must_be_read(desired: &Units, applied: &Units, path_filters: bool) -> bool {
    desired.iter().filter(|(unit, _)| is_pick(unit)).any(|(unit, wanted)| match applied.get(unit) {
        None => true,
        Some(held) => !path_filters && held != wanted,
    })
}

/// Puts the elements into a whole resource.
pub(super) fn put_all(resource: &mut Map<String, Value>, units: &Units) {
    for (unit, element) in units {
        let Some(pick) = Pick::of(unit) else { continue };
        let mut list = read_list(Some(resource), &pick.list);
        pick.put(&mut list, element);
        if list.is_empty() {
            resource.remove(&pick.list);
        } else {
            resource.insert(pick.list, Value::Array(list));
        }
    }
}

fn operations(pick: &Pick, unit: &AttributePath, wanted: &Value, held: Option<&Value>) -> Vec<PatchOp> {
    match (wanted, held) {
        (Value::Null, _) => vec![operation(Op::Remove, unit.as_str(), None)],
        (wanted, None) => vec![operation(Op::Add, &pick.list, Some(Value::Array(vec![wanted.clone()])))],
        (wanted, Some(held)) => pick
            .differing(wanted, held)
            .map(|(name, wanted)| operation(Op::Replace, &format!("{unit}.{name}"), Some(wanted.clone())))
            .collect(),
    }
}

fn read_list(resource: Option<&Map<String, Value>>, list: &str) -> Vec<Value> {
    let held = resource.and_then(|resource| member(resource, list)?.as_array());
    held.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WORK: &str = r#"emails[type eq "work"]"#;

    fn units(element: &Value) -> Units {
        Units::from([(AttributePath::new(WORK), element.clone())])
    }

    fn text(ops: &[PatchOp]) -> Vec<String> {
        ops.iter()
            .map(|op| {
                let value = op.value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
                format!("{:?} {}{value}", op.op, op.path.as_deref().unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn one_element_is_changed_and_the_others_stay() {
        let ours = json!({"type": "work", "value": "new@x"});
        let home = json!({"type": "home", "value": "h@x"});
        let untyped = json!({"value": "untyped@x"});
        for (held, wanted, filters, expected) in [
            (vec![], &ours, true, vec![r#"Add emails=[{"type":"work","value":"new@x"}]"#]),
            (
                vec![home.clone(), untyped.clone()],
                &ours,
                true,
                vec![r#"Add emails=[{"type":"work","value":"new@x"}]"#],
            ),
            (
                vec![json!({"type": "Work", "value": "old@x", "display": "theirs"}), home.clone()],
                &ours,
                true,
                vec![r#"Replace emails[type eq "work"].value="new@x""#],
            ),
            (vec![json!({"type": "work", "value": "NEW@x", "primary": true})], &ours, true, vec![]),
            (vec![ours.clone(), home.clone()], &Value::Null, true, vec![r#"Remove emails[type eq "work"]"#]),
            (vec![home.clone()], &Value::Null, true, vec![]),
            (
                vec![home.clone(), json!({"type": "work", "value": "old@x", "display": "theirs"})],
                &ours,
                false,
                vec![
                    r#"Replace emails=[{"type":"home","value":"h@x"},{"display":"theirs","type":"work","value":"new@x"}]"#,
                ],
            ),
            (
                vec![ours.clone(), untyped.clone()],
                &Value::Null,
                false,
                vec![r#"Replace emails=[{"value":"untyped@x"}]"#],
            ),
        ] {
            let resource = json!({ "emails": held });
            let ops = diff(&units(wanted), &Units::new(), resource.as_object(), filters);
            assert_eq!(text(&ops), expected, "{resource} to {wanted}");
        }
    }

    #[test]
    fn what_was_never_said_of_an_element_is_read_first() {
        let (ours, theirs) =
            (json!({"type": "work", "value": "a@x"}), json!({"type": "work", "value": "b@x"}));
        assert!(must_be_read(&units(&ours), &Units::new(), true));
        assert!(must_be_read(&units(&Value::Null), &Units::new(), true));
        assert!(!must_be_read(&units(&ours), &units(&theirs), true));
        assert!(must_be_read(&units(&ours), &units(&theirs), false));
        assert!(!must_be_read(&units(&ours), &units(&ours), false));
    }

    #[test]
    fn elements_of_one_list_meet_in_a_whole_resource() {
        let mut desired = units(&json!({"type": "work", "value": "w@x"}));
        desired
            .insert(AttributePath::new(r#"emails[type eq "a.b"]"#), json!({"type": "a.b", "value": "o@x"}));
        desired.insert(AttributePath::new(r#"phoneNumbers[type eq "fax"]"#), Value::Null);
        let mut resource = Map::new();
        put_all(&mut resource, &desired);
        let expected = json!({"emails": [{"type": "a.b", "value": "o@x"}, {"type": "work", "value": "w@x"}]});
        assert_eq!(Value::Object(resource), expected);
    }
}
