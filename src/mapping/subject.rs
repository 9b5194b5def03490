//! What `user` is in an expression.

use cel::Value as Cel;
use serde_json::{Map, Value};

use crate::directory::{ExternalId, User, assemble};
use crate::mapping::expression::EvaluationError;
use crate::mapping::value;
use crate::scim::schema;

/// Most elements of one list that expressions go through: a macro inside a macro multiplies them.
const ELEMENTS_MAX: usize = 500;

/// A user of a directory as expressions see it: a plain object.
///
/// Core attributes go by their SCIM names (`user.userName`, `user.name.givenName`, `user.emails`),
/// those of the enterprise extension by their own (`user.department`), and every extension's also
/// under its URN (`user["urn:…"].badge`). `user.id` is the directory's id of the user, `user.active`
/// always true or false, and `user.manager` the directory's id of the manager. An attribute that the
/// directory does not know, or knows to be empty, is absent.
#[derive(Clone, Debug)]
pub struct Subject {
    object: Map<String, Value>,
}

impl Subject {
    /// The user of this id.
    pub fn new(id: &ExternalId, user: &User) -> Self {
        let mut object = assemble(user.attributes.iter());
        if let Some(Value::Object(enterprise)) = object.get(schema::ENTERPRISE_USER).cloned() {
            for (name, value) in enterprise {
                object.entry(name).or_insert(value);
            }
        }
        object.insert("id".to_owned(), Value::String(id.to_string()));
        object.insert(User::ACTIVE.to_owned(), Value::Bool(user.has_access()));
        Self { object }
    }

    pub(super) fn value(&self) -> Result<Cel, EvaluationError> {
        for (name, value) in &self.object {
            if longest_list(value) > ELEMENTS_MAX {
                // Names of core attributes say nothing about a person; others are not repeated.
                let name = schema::canonical_user_attribute(name).unwrap_or("an extension's attribute");
                let reason = format!("{name} has over {ELEMENTS_MAX} elements");
                return Err(EvaluationError::TooLarge(reason));
            }
        }
        Ok(value::from_json(&Value::Object(self.object.clone())))
    }
}

fn longest_list(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        Value::Array(items) => items.len().max(items.iter().map(longest_list).max().unwrap_or(0)),
        Value::Object(members) => members.values().map(longest_list).max().unwrap_or(0),
    }
}
