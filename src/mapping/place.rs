//! Where a mapped attribute goes: a SCIM path, checked against the schema when it is read.

use std::fmt;

use serde_json::Value;

use crate::directory::AttributePath as Unit;
use crate::scim::definition::{Attribute, Resolved, Type, USER_RULES};
use crate::scim::filter::{Comparison, Filter};
use crate::scim::path::PatchPath;
use crate::scim::schema;

/// What the relay itself says of an account, or only the vendor may.
const NOT_MAPPED: [(&str, &str); 6] = [
    ("id", "the vendor gives it"),
    ("externalId", "it is always the directory's id, by which the relay knows the account"),
    ("meta", "the vendor writes it"),
    ("schemas", "the relay writes it, always complete"),
    ("groups", "memberships are changed at the groups"),
    ("password", "passwords are not relayed"),
];

/// Where one expression's result goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The smallest thing that is owned and changed as one: `userName`, `name.givenName`,
    /// `urn:…:User:department`, or one element of a list, `emails[type eq "work"]`.
    pub(super) unit: Unit,
    /// The element's part that is set, and what the element is told from others by.
    pub(super) part: Option<Part>,
    /// What the schema wants there; `None` for an extension that is not known.
    takes: Option<Takes>,
}

/// A part of one element of a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) selector: (&'static str, Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Text,
    Flag,
    Objects,
}

/// Why a path is no place for a mapped attribute, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceFault {
    /// What is wrong.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

impl Place {
    /// Reads a path: `title`, `name.givenName`, `urn:…:User:department`, `emails[type eq "work"].value`.
    pub fn parse(text: &str) -> Result<Self, PlaceFault> {
        let path = PatchPath::parse(text).ok_or_else(|| {
            fault("is not a SCIM path", "write one such as name.givenName or emails[type eq \"work\"].value")
        })?;
        let Some(found) = USER_RULES.resolve(&path.attribute) else { return unknown(text, &path) };
        let barred = NOT_MAPPED.iter().find(|(name, _)| *name == found.attribute.name);
        if let Some((_, why)) = barred {
            return Err(fault(&format!("cannot be mapped: {why}"), "remove it"));
        }
        match (&path.filter, found.attribute.multi_valued) {
            (Some(filter), true) => element(&found, filter),
            (Some(_), false) => Err(fault("picks an element of what is not a list", "remove the brackets")),
            (None, true) => whole_list(&found),
            (None, false) => single(&found),
        }
    }

    /// The value as the schema wants it, or what is needed there. A number becomes a text where a text
    /// is needed; nothing else is made of something else.
    pub(super) fn fit(&self, value: Value) -> Result<Value, &'static str> {
        match (self.takes, value) {
            (_, Value::Null) => Ok(Value::Null),
            (None, value) => Ok(value),
            (Some(Takes::Text), Value::Number(number)) => Ok(Value::String(number.to_string())),
            (Some(Takes::Text), value) if value.is_string() => Ok(value),
            (Some(Takes::Text), _) => Err("a text"),
            (Some(Takes::Flag), value) if value.is_boolean() => Ok(value),
            (Some(Takes::Flag), _) => Err("true or false"),
            (Some(Takes::Objects), Value::Array(items)) if items.iter().all(Value::is_object) => {
                Ok(Value::Array(items))
            }
            (Some(Takes::Objects), _) => Err("a list of objects"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Some(part) => write!(f, "{}.{}", self.unit, part.name),
            None => self.unit.fmt(f),
        }
    }
}

fn fault(reason: &str, remedy: &str) -> PlaceFault {
    PlaceFault { reason: reason.to_owned(), remedy: remedy.to_owned() }
}

/// An attribute of an extension that the relay has no schema of goes out as it is.
fn unknown(text: &str, path: &PatchPath) -> Result<Place, PlaceFault> {
    let own = [schema::USER, schema::ENTERPRISE_USER];
    let foreign =
        path.attribute.urn.as_deref().filter(|urn| !own.iter().any(|own| own.eq_ignore_ascii_case(urn)));
    match foreign {
        Some(_) if path.filter.is_some() || path.attribute.sub.is_some() => {
            Err(fault("reaches into an extension's attribute", "map the whole attribute, as an object"))
        }
        Some(_) => Ok(Place { unit: Unit::new(text), part: None, takes: None }),
        None => Err(fault(
            "is not an attribute of a SCIM user",
            "write a core attribute, or an extension's with its URN, urn:…:User:department",
        )),
    }
}

fn single(found: &Resolved) -> Result<Place, PlaceFault> {
    let place = |unit, attribute: &Attribute| Place { unit, part: None, takes: Some(takes(attribute)) };
    let attribute = found.attribute;
    match (found.extension, found.sub) {
        // The manager goes by reference; the relay makes the vendor's id of the directory's.
        (Some(_), sub) if attribute.name == "manager" && sub.is_none_or(|sub| sub.name == "value") => {
            Ok(Place { unit: Unit::enterprise("manager"), part: None, takes: Some(Takes::Text) })
        }
        (Some(_), Some(_)) => Err(fault("is written by the vendor", "map the manager itself")),
        (Some(_), None) => Ok(place(Unit::enterprise(attribute.name), attribute)),
        (None, Some(sub)) => Ok(place(Unit::new(format!("{}.{}", attribute.name, sub.name)), sub)),
        (None, None) if attribute.kind == Type::Complex => {
            let example = attribute.sub_attributes.first().map_or("value", |part| part.name);
            let separator = if attribute.is_extension() { ':' } else { '.' };
            Err(fault(
                "has parts",
                &format!("map each by itself, such as {}{separator}{example}", attribute.name),
            ))
        }
        (None, None) => Ok(place(Unit::new(attribute.name), attribute)),
    }
}

fn whole_list(found: &Resolved) -> Result<Place, PlaceFault> {
    let name = found.attribute.name;
    match found.sub {
        Some(sub) => Err(fault(
            "does not say which element is meant",
            &format!("write {name}[type eq \"work\"].{}", sub.name),
        )),
        None => Ok(Place { unit: Unit::new(name), part: None, takes: Some(Takes::Objects) }),
    }
}

fn element(found: &Resolved, filter: &Filter) -> Result<Place, PlaceFault> {
    let name = found.attribute.name;
    let example = format!("write {name}[type eq \"work\"].value");
    let Filter::Compare(by, Comparison::Equal, literal) = filter else {
        return Err(fault("picks an element by more than one eq", &example));
    };
    let by = found.attribute.part(&by.name).filter(|_| by.sub.is_none() && by.urn.is_none());
    let Some(by) = by else { return Err(fault("picks an element by what it does not have", &example)) };
    let fits = match takes(by) {
        Takes::Text => literal.is_string(),
        Takes::Flag => literal.is_boolean(),
        Takes::Objects => false,
    };
    if !fits {
        return Err(fault("picks an element by a value of the wrong type", &example));
    }
    let Some(sub) = found.sub else {
        return Err(fault("does not say which part of the element is meant", &example));
    };
    if sub.name == by.name {
        return Err(fault("sets what the element is picked by", &example));
    }
    Ok(Place {
        unit: Unit::new(format!("{name}[{} eq {literal}]", by.name)),
        part: Some(Part { name: sub.name, selector: (by.name, literal.clone()) }),
        takes: Some(takes(sub)),
    })
}

fn takes(attribute: &Attribute) -> Takes {
    match attribute.kind {
        Type::Boolean => Takes::Flag,
        Type::String | Type::Binary | Type::Reference => Takes::Text,
        Type::Complex => Takes::Objects,
    }
}

#[cfg(test)]
mod tests;
