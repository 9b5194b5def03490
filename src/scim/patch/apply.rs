//! Applying a PATCH to a resource, strictly by RFC 7644 section 3.5.2. For the sandbox: a strict vendor.

use serde_json::{Map, Value};

use super::value::{is_primary, normalise, single};
use super::{Op, PatchError, PatchOp, PatchRequest};
use crate::scim::definition::{Attribute, Mutability, Resolved, SchemaRules};
use crate::scim::filter::{self, Filter};
use crate::scim::path::PatchPath;

/// Whether the resource is other than it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is: the version must move.
    Yes,
    /// It is not: the version must stay (RFC 7644 section 3.5.2.1).
    No,
}

/// Applies all operations of `request` to `resource`, or none of them.
///
/// `resource` is expected in the RFC's spelling. What was there already is not added again; a replace
/// of what is absent adds it; a replace that picks no value is `noTarget`; a remove without a filter
/// removes all values; a remove that carries a value is refused, since clients disagree on what it
/// means; a new primary value takes the place of the old one.
pub fn apply(
    resource: &mut Value,
    request: &PatchRequest,
    rules: &SchemaRules,
) -> Result<Changed, PatchError> {
    let Value::Object(before) = &*resource else {
        return Err(PatchError::InvalidSyntax("the resource is not an object".to_owned()));
    };
    let mut after = before.clone();
    for operation in &request.operations {
        apply_operation(&mut after, operation, rules)?;
    }
    let changed = if after == *before { Changed::No } else { Changed::Yes };
    *resource = Value::Object(after);
    Ok(changed)
}

fn apply_operation(
    resource: &mut Map<String, Value>,
    operation: &PatchOp,
    rules: &SchemaRules,
) -> Result<(), PatchError> {
    let PatchOp { op, path, value } = operation;
    match (op, path, value) {
        (Op::Remove, None, _) => Err(PatchError::NoTarget(String::new())),
        (Op::Remove, Some(_), Some(_)) => {
            Err(PatchError::InvalidValue("a remove operation takes no value".to_owned()))
        }
        (Op::Remove, Some(path), None) => remove(resource, path, rules),
        (Op::Add | Op::Replace, _, None) => {
            Err(PatchError::InvalidValue("an add or replace operation needs a value".to_owned()))
        }
        (Op::Add | Op::Replace, Some(path), Some(value)) => set(resource, *op, path, value, rules),
        (Op::Add | Op::Replace, None, Some(Value::Object(attributes))) => {
            attributes.iter().try_for_each(|(path, value)| set_all(resource, *op, path, value, rules))
        }
        (Op::Add | Op::Replace, None, Some(_)) => {
            Err(PatchError::InvalidValue("an operation without a path needs an object".to_owned()))
        }
    }
}

/// One attribute of an operation without a path. What the service keeps for itself is passed over: a
/// client may send back a resource as it was read (RFC 7644 section 3.5.1 for PUT).
fn set_all(
    resource: &mut Map<String, Value>,
    op: Op,
    path: &str,
    value: &Value,
    rules: &SchemaRules,
) -> Result<(), PatchError> {
    let kept_by_the_service =
        rules.top_level(path).is_some_and(|attribute| attribute.mutability == Mutability::ReadOnly);
    if kept_by_the_service { Ok(()) } else { set(resource, op, path, value, rules) }
}

fn set(
    resource: &mut Map<String, Value>,
    op: Op,
    text: &str,
    value: &Value,
    rules: &SchemaRules,
) -> Result<(), PatchError> {
    let (path, found) = resolve(text, rules)?;
    refuse_read_only(text, &found)?;
    if value.is_null() {
        return if op == Op::Replace { remove(resource, text, rules) } else { Ok(()) };
    }
    let Some(extension) = found.extension else {
        return set_in(resource, op, text, path.filter.as_ref(), &found, value);
    };
    set_in(object_at(resource, extension.name), op, text, path.filter.as_ref(), &found, value)?;
    drop_if_empty(resource, extension.name);
    Ok(())
}

fn set_in(
    holder: &mut Map<String, Value>,
    op: Op,
    text: &str,
    filter: Option<&Filter>,
    found: &Resolved,
    value: &Value,
) -> Result<(), PatchError> {
    match (filter, found.sub) {
        (Some(filter), sub) => set_picked(holder, op, text, found.attribute, filter, sub, value),
        (None, Some(_)) if found.attribute.multi_valued => Err(PatchError::InvalidPath(text.to_owned())),
        (None, Some(sub)) => {
            set_value(object_at(holder, found.attribute.name), op, text, sub, value)?;
            drop_if_empty(holder, found.attribute.name);
            Ok(())
        }
        (None, None) => set_value(holder, op, text, found.attribute, value),
    }
}

/// Sets a whole attribute, or a whole sub-attribute of a single complex one.
fn set_value(
    holder: &mut Map<String, Value>,
    op: Op,
    text: &str,
    attribute: &'static Attribute,
    value: &Value,
) -> Result<(), PatchError> {
    let wrapped;
    let value = if attribute.multi_valued && !value.is_array() {
        wrapped = Value::Array(vec![value.clone()]);
        &wrapped
    } else {
        value
    };
    let Some(value) = normalise(attribute, value)? else {
        if op == Op::Replace {
            refuse_unassigning(text, attribute)?;
            holder.remove(attribute.name);
        }
        return Ok(());
    };
    refuse_immutable(text, attribute, holder.get(attribute.name), &value)?;
    match (holder.get_mut(attribute.name), value) {
        (Some(Value::Object(old)), Value::Object(new)) => merge(old, new, attribute),
        (Some(Value::Array(old)), Value::Array(new)) if op == Op::Add => add_values(old, new),
        (_, value) => {
            holder.insert(attribute.name.to_owned(), value);
        }
    }
    Ok(())
}

/// Sets the values that a filter picks, or one sub-attribute of each.
fn set_picked(
    holder: &mut Map<String, Value>,
    op: Op,
    text: &str,
    attribute: &'static Attribute,
    filter: &Filter,
    sub: Option<&'static Attribute>,
    value: &Value,
) -> Result<(), PatchError> {
    let Some(Value::Array(values)) = holder.get_mut(attribute.name) else {
        return Err(PatchError::NoTarget(text.to_owned()));
    };
    let picked: Vec<usize> = indices(values, filter);
    if picked.is_empty() {
        return Err(PatchError::NoTarget(text.to_owned()));
    }
    for &index in &picked {
        let Value::Object(element) = &mut values[index] else { continue };
        match sub {
            Some(sub) => set_value(element, op, text, sub, value)?,
            None => match single(attribute, value)? {
                Some(Value::Object(new)) if op == Op::Add => merge(element, new, attribute),
                Some(Value::Object(new)) => *element = new,
                Some(_) | None => {
                    return Err(PatchError::InvalidValue(format!("{text:?}: an object is expected")));
                }
            },
        }
    }
    let newest = picked.iter().rev().copied().find(|&index| is_primary(&values[index]));
    if let Some(newest) = newest {
        keep_one_primary(values, newest);
    }
    Ok(())
}

fn remove(resource: &mut Map<String, Value>, text: &str, rules: &SchemaRules) -> Result<(), PatchError> {
    let (path, found) = resolve(text, rules)?;
    refuse_read_only(text, &found)?;
    refuse_unassigning(text, found.sub.unwrap_or(found.attribute))?;
    match found.extension {
        Some(extension) => {
            if let Some(Value::Object(holder)) = resource.get_mut(extension.name) {
                remove_from(holder, text, &path, &found)?;
            }
            drop_if_empty(resource, extension.name);
            Ok(())
        }
        None => remove_from(resource, text, &path, &found),
    }
}

fn remove_from(
    holder: &mut Map<String, Value>,
    text: &str,
    path: &PatchPath,
    found: &Resolved,
) -> Result<(), PatchError> {
    let name = found.attribute.name;
    match (&path.filter, found.sub) {
        (None, None) => {
            holder.remove(name);
        }
        (None, Some(_)) if found.attribute.multi_valued => {
            return Err(PatchError::InvalidPath(text.to_owned()));
        }
        (None, Some(sub)) => {
            if let Some(Value::Object(parts)) = holder.get_mut(name) {
                parts.remove(sub.name);
            }
        }
        (Some(filter), sub) => {
            if let Some(Value::Array(values)) = holder.get_mut(name) {
                remove_picked(values, filter, sub);
            }
        }
    }
    drop_if_empty(holder, name);
    Ok(())
}

fn remove_picked(values: &mut Vec<Value>, filter: &Filter, sub: Option<&Attribute>) {
    values.retain_mut(|value| {
        if !filter::matches(filter, value) {
            return true;
        }
        match (sub, value) {
            (Some(sub), Value::Object(parts)) => {
                parts.remove(sub.name);
                !parts.is_empty()
            }
            (_, _) => false,
        }
    });
}

fn resolve(text: &str, rules: &SchemaRules) -> Result<(PatchPath, Resolved), PatchError> {
    let invalid = || PatchError::InvalidPath(text.to_owned());
    let path = PatchPath::parse(text).ok_or_else(invalid)?;
    let found = rules.resolve(&path.attribute).ok_or_else(invalid)?;
    if path.filter.is_some() && !found.attribute.multi_valued {
        return Err(invalid());
    }
    Ok((path, found))
}

fn refuse_read_only(text: &str, found: &Resolved) -> Result<(), PatchError> {
    let parts = [Some(found.attribute), found.sub];
    let read_only = parts.iter().flatten().any(|part| part.mutability == Mutability::ReadOnly);
    if read_only { Err(PatchError::Mutability(text.to_owned())) } else { Ok(()) }
}

fn refuse_unassigning(text: &str, attribute: &Attribute) -> Result<(), PatchError> {
    if attribute.required { Err(PatchError::Mutability(text.to_owned())) } else { Ok(()) }
}

fn refuse_immutable(
    text: &str,
    attribute: &Attribute,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), PatchError> {
    let changes = attribute.mutability == Mutability::Immutable && old.is_some_and(|old| old != new);
    if changes { Err(PatchError::Mutability(text.to_owned())) } else { Ok(()) }
}

/// The parts of `new` take their places in `old`; the others stay.
fn merge(old: &mut Map<String, Value>, new: Map<String, Value>, attribute: &'static Attribute) {
    for (name, value) in new {
        let part = attribute.part(&name);
        match (old.get_mut(&name), value, part) {
            (Some(Value::Object(old)), Value::Object(new), Some(part)) => merge(old, new, part),
            (_, value, _) => {
                old.insert(name, value);
            }
        }
    }
}

fn add_values(old: &mut Vec<Value>, new: Vec<Value>) {
    for value in new {
        if old.contains(&value) {
            continue;
        }
        let primary = is_primary(&value);
        old.push(value);
        if primary {
            let newest = old.len() - 1;
            keep_one_primary(old, newest);
        }
    }
}

fn keep_one_primary(values: &mut [Value], primary: usize) {
    for (index, value) in values.iter_mut().enumerate() {
        if index != primary && is_primary(value) {
            value["primary"] = Value::Bool(false);
        }
    }
}

fn indices(values: &[Value], filter: &Filter) -> Vec<usize> {
    let picked = values.iter().enumerate().filter(|(_, value)| filter::matches(filter, value));
    picked.map(|(index, _)| index).collect()
}

fn object_at<'a>(holder: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let value = holder.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was made an object above")
}

/// An attribute without values is unassigned (RFC 7643 section 2.5).
fn drop_if_empty(holder: &mut Map<String, Value>, name: &str) {
    let empty = match holder.get(name) {
        Some(Value::Array(values)) => values.is_empty(),
        Some(Value::Object(parts)) => parts.is_empty(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => false,
    };
    if empty {
        holder.remove(name);
    }
}

#[cfg(test)]
mod tests;
