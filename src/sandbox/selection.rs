//! Which attributes an answer carries: `attributes` and `excludedAttributes`, RFC 7644 section 3.9.

use serde_json::{Map, Value};

use crate::sandbox::answer::Refusal;
use crate::scim::error::ScimType;
use crate::scim::path::AttributePath;
use crate::scim::schema;

/// What every answer carries.
const ALWAYS: [&str; 2] = ["schemas", "id"];

/// The attributes asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    only: Vec<AttributePath>,
    without: Vec<AttributePath>,
}

impl Selection {
    /// From the names of either parameter.
    pub fn new<'a>(
        only: impl IntoIterator<Item = &'a str>,
        without: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Refusal> {
        Ok(Self { only: parse(only)?, without: parse(without)? })
    }

    /// Whether any attributes were named to be in the answer.
    pub fn names_any(&self) -> bool {
        !self.only.is_empty()
    }

    /// Whether the answer has a use for this attribute of the core schema, or a part of it.
    pub fn wants(&self, name: &str) -> bool {
        if !self.only.is_empty() {
            return self.only.iter().any(|path| is_core(path) && path.name.eq_ignore_ascii_case(name));
        }
        let excluded = |path: &AttributePath| {
            is_core(path) && path.sub.is_none() && path.name.eq_ignore_ascii_case(name)
        };
        !self.without.iter().any(excluded)
    }

    /// Leaves out of a resource what was not asked for.
    pub fn project(&self, mut resource: Value) -> Value {
        if !self.only.is_empty() {
            return self.pick(&resource);
        }
        for path in &self.without {
            if let Some((holder, name)) = locate(&mut resource, path) {
                leave_out(holder, &name, path.sub.as_deref());
            }
        }
        resource
    }

    fn pick(&self, resource: &Value) -> Value {
        let mut picked = Map::new();
        for name in ALWAYS {
            if let Some(value) = resource.get(name) {
                picked.insert(name.to_owned(), value.clone());
            }
        }
        let mut source = resource.clone();
        for path in &self.only {
            let Some((holder, name)) = locate(&mut source, path) else { continue };
            let value = match &path.sub {
                Some(sub) => part(&holder[&name], sub),
                None => Some(holder[&name].clone()),
            };
            let Some(value) = value else { continue };
            match path.urn.as_deref().filter(|_| !is_core(path) && !name.starts_with("urn:")) {
                Some(_) => {
                    let urn = extension_key(resource, path).unwrap_or_default();
                    let extension = picked.entry(urn).or_insert_with(|| Value::Object(Map::new()));
                    merge(&mut extension[&name], value);
                }
                None => merge(picked.entry(name).or_insert(Value::Null), value),
            }
        }
        Value::Object(picked)
    }
}

fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<AttributePath>, Refusal> {
    let names = names.into_iter().map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| {
            AttributePath::parse(name)
                .ok_or_else(|| Refusal::bad(ScimType::InvalidPath, format!("{name:?} is not an attribute")))
        })
        .collect()
}

fn is_core(path: &AttributePath) -> bool {
    path.urn
        .as_deref()
        .is_none_or(|urn| [schema::USER, schema::GROUP].iter().any(|core| core.eq_ignore_ascii_case(urn)))
}

/// The object that holds what a path names, and the name in the spelling it has there.
fn locate<'a>(resource: &'a mut Value, path: &AttributePath) -> Option<(&'a mut Map<String, Value>, String)> {
    let extension = if is_core(path) { None } else { extension_key(resource, path) };
    let top = resource.as_object_mut()?;
    match extension {
        Some(urn) if urn.eq_ignore_ascii_case(&path.whole()) => Some((top, urn)),
        Some(urn) => {
            let holder = top.get_mut(&urn)?.as_object_mut()?;
            let name = key(holder, &path.name)?;
            Some((holder, name))
        }
        None if is_core(path) => {
            let name = key(top, &path.name)?;
            Some((top, name))
        }
        None => None,
    }
}

fn extension_key(resource: &Value, path: &AttributePath) -> Option<String> {
    let urn = path.urn.as_deref()?;
    let object = resource.as_object()?;
    key(object, urn).or_else(|| key(object, &path.whole()))
}

fn key(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned()
}

/// One sub-attribute, of each element when there are several.
fn part(value: &Value, sub: &str) -> Option<Value> {
    match value {
        Value::Array(values) => {
            Some(Value::Array(values.iter().filter_map(|value| part(value, sub)).collect()))
        }
        Value::Object(parts) => {
            let name = key(parts, sub)?;
            Some(Value::Object(Map::from_iter([(name.clone(), parts[&name].clone())])))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn leave_out(holder: &mut Map<String, Value>, name: &str, sub: Option<&str>) {
    if ALWAYS.contains(&name) {
        return;
    }
    let Some(sub) = sub else {
        holder.remove(name);
        return;
    };
    match holder.get_mut(name) {
        Some(Value::Array(values)) => {
            for value in values {
                remove_part(value, sub);
            }
        }
        Some(value) => remove_part(value, sub),
        None => {}
    }
}

fn remove_part(value: &mut Value, sub: &str) {
    if let Some(parts) = value.as_object_mut()
        && let Some(name) = key(parts, sub)
    {
        parts.remove(&name);
    }
}

/// Puts the parts of `new` beside those of `old`, element by element, so that `name.a,name.b` has both.
fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => old.extend(new),
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            old.iter_mut().zip(new).for_each(|(old, new)| merge(old, new));
        }
        (old, new) => *old = new,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn jane() -> Value {
        json!({
            "schemas": ["s"], "id": "1", "userName": "jane",
            "name": {"givenName": "J", "familyName": "D", "formatted": "J D"},
            "emails": [{"value": "a", "type": "work"}, {"value": "b", "type": "home"}],
            schema::ENTERPRISE_USER: {"department": "S", "division": "D"}
        })
    }

    fn project(only: &str, without: &str) -> Value {
        Selection::new(only.split(','), without.split(',')).unwrap().project(jane())
    }

    #[test]
    fn what_is_named_comes_with_what_always_comes() {
        let department = format!("{}:department", schema::ENTERPRISE_USER);
        for (only, expected) in [
            ("USERNAME".to_owned(), json!({"userName": "jane"})),
            (
                "name.givenName,name.familyName".to_owned(),
                json!({"name": {"givenName": "J", "familyName": "D"}}),
            ),
            ("emails.type".to_owned(), json!({"emails": [{"type": "work"}, {"type": "home"}]})),
            (format!("{}:userName", schema::USER), json!({"userName": "jane"})),
            (department, json!({schema::ENTERPRISE_USER: {"department": "S"}})),
            (
                schema::ENTERPRISE_USER.to_owned(),
                json!({schema::ENTERPRISE_USER: {"department": "S", "division": "D"}}),
            ),
            ("shoeSize".to_owned(), json!({})),
        ] {
            let mut expected = expected;
            expected["schemas"] = json!(["s"]);
            expected["id"] = json!("1");
            assert_eq!(project(&only, ""), expected, "{only}");
        }
    }

    #[test]
    fn what_is_excluded_is_left_out_but_for_what_always_comes() {
        let left = project("", &format!("id,schemas,emails.value,name,{}:division", schema::ENTERPRISE_USER));
        assert_eq!(
            left,
            json!({
                "schemas": ["s"], "id": "1", "userName": "jane",
                "emails": [{"type": "work"}, {"type": "home"}],
                schema::ENTERPRISE_USER: {"department": "S"}
            })
        );
    }

    #[test]
    fn what_nobody_wants_need_not_be_put_together() {
        let wants = |only: &str, without: &str| {
            Selection::new(only.split(','), without.split(',')).unwrap().wants("members")
        };
        assert!(wants("", "") && wants("members.value", "") && wants("", "members.display"));
        assert!(!wants("displayName", "") && !wants("", "Members"));
    }
}
