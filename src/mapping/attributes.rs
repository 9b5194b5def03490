//! Which attributes go out, and what each is.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::directory::AttributePath as Unit;
use crate::mapping::{EvaluationError, Expression, Place, Subject};

/// What a target is told of each user: these attributes, each the result of its expression, and
/// nothing else but what identity needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttributeMap(Vec<(Place, Expression)>);

impl Eq for AttributeMap {}

/// Why the attributes of one user cannot be told; no value of the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the expression of attribute {place} fails for this user: {reason}")]
pub struct AttributeFault {
    place: String,
    reason: String,
}

impl AttributeMap {
    /// These attributes. Answers the place that is named twice, if one is: by the same path, or as a
    /// part of a list that is also mapped as a whole.
    pub fn new(mapped: Vec<(Place, Expression)>) -> Result<Self, String> {
        for (n, (place, _)) in mapped.iter().enumerate() {
            let collides = |other: &Place| {
                other.to_string() == place.to_string() || place.unit.as_str() == list_of(&other.unit)
            };
            if mapped.iter().enumerate().any(|(m, (other, _))| m != n && collides(other)) {
                return Err(place.to_string());
            }
        }
        Ok(Self(mapped))
    }

    /// Whether the unit is one of these.
    pub fn owns(&self, unit: &Unit) -> bool {
        self.0.iter().any(|(place, _)| place.unit == *unit)
    }

    /// What each attribute is for one user; null where it is absent. An element of a list is one unit,
    /// complete with what it is picked by, and null when none of its parts is there.
    pub fn units(&self, subject: &Subject) -> Result<BTreeMap<Unit, Value>, AttributeFault> {
        let mut units = BTreeMap::new();
        for (place, expression) in &self.0 {
            let value = result(place, expression, subject)
                .map_err(|reason| AttributeFault { place: place.to_string(), reason })?;
            match &place.part {
                None => {
                    units.insert(place.unit.clone(), value);
                }
                Some(part) => {
                    let element = units.entry(place.unit.clone()).or_insert(Value::Null);
                    set_part(element, (part.selector.0, &part.selector.1), part.name, value);
                }
            }
        }
        Ok(units)
    }

    /// The paths and the expressions' texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().map(|(place, expression)| (place.to_string(), expression.source()))
    }
}

fn result(place: &Place, expression: &Expression, subject: &Subject) -> Result<Value, String> {
    let value = expression.evaluate(subject).map_err(|error: EvaluationError| error.to_string())?;
    let given = kind_of(&value);
    let value =
        place.fit(value).map_err(|wanted| format!("the result is {given}, where {wanted} is needed"))?;
    if place.unit.as_str() == "userName" && value.as_str().is_none_or(|name| name.trim().is_empty()) {
        return Err("the result is empty, and an account cannot be without a userName".to_owned());
    }
    Ok(value)
}

fn set_part(element: &mut Value, selector: (&str, &Value), name: &str, value: Value) {
    if value.is_null() {
        return;
    }
    let (by, picked) = selector;
    if element.is_null() {
        *element = json!({ by: picked });
    }
    if let Value::Object(parts) = element {
        let parts: &mut Map<String, Value> = parts;
        parts.insert(name.to_owned(), value);
    }
}

/// The list that a unit is an element of: `emails` for `emails[type eq "work"]`. Empty for other units.
fn list_of(unit: &Unit) -> &str {
    unit.as_str().split_once('[').map_or("", |(list, _)| list)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::fixture::subject;

    fn map(mapped: &[(&str, &str)]) -> Result<AttributeMap, String> {
        let compiled = mapped.iter().map(|(path, expression)| {
            (Place::parse(path).unwrap(), Expression::compile(expression).unwrap())
        });
        AttributeMap::new(compiled.collect())
    }

    fn units(mapped: &[(&str, &str)], user: &Value) -> Result<Value, String> {
        let units = map(mapped).unwrap().units(&subject(user)).map_err(|fault| fault.to_string())?;
        Ok(units.into_iter().map(|(unit, value)| (unit.to_string(), value)).collect())
    }

    const WORK: &str = r#"emails[type eq "work"]"#;

    #[test]
    fn each_attribute_is_the_result_of_its_expression() {
        let mapped = [
            ("displayName", "user.name.givenName + ' ' + user.name.familyName"),
            ("urn:example:ext:1.0:User:badge", "user.employeeNumber"),
            ("title", "user.title"),
            (r#"emails[type eq "work"].value"#, "user.userName"),
            (r#"emails[type eq "work"].primary"#, "true"),
            (r#"emails[type eq "home"].value"#, "user.emails.filter(e, e.type == 'home')[0].value"),
        ];
        let user =
            json!({"userName": "j@x", "name": {"givenName": "J", "familyName": "D"}, "employeeNumber": "7"});
        let expected = json!({
            "displayName": "J D", "title": null,
            "urn:example:ext:1.0:User:badge": "7",
            WORK: {"type": "work", "value": "j@x", "primary": true},
            r#"emails[type eq "home"]"#: null,
        });
        assert_eq!(units(&mapped, &user), Ok(expected));
    }

    #[test]
    fn what_does_not_fit_names_the_attribute_and_no_value() {
        let user = json!({"userName": "jane", "title": "Lead"});
        for (path, expression, expected) in [
            (
                "title",
                "[user.title]",
                "attribute title fails for this user: the result is a list, where a text",
            ),
            ("title", "user.title + 1", "attribute title fails for this user: `add` cannot be applied"),
            ("userName", "user.nickName", "cannot be without a userName"),
            ("userName", "' '", "cannot be without a userName"),
        ] {
            let error = units(&[(path, expression)], &user).unwrap_err();
            assert!(error.contains(expected) && !error.contains("Lead"), "{error}");
        }
    }

    #[test]
    fn no_two_expressions_set_the_same() {
        let (work, home) = (r#"emails[type eq "work"].value"#, r#"emails[type eq "home"].value"#);
        assert_eq!(map(&[("title", "'a'"), ("TITLE", "'b'")]), Err("title".to_owned()));
        assert_eq!(map(&[("emails", "user.emails"), (work, "'b'")]), Err("emails".to_owned()));
        assert!(map(&[(home, "'a'"), (work, "'b'")]).is_ok());
    }
}
