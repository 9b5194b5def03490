//! A place in a body that others shaped: what is known is taken from it, and the rest is left alone.

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::directory::ExternalId;
use crate::source::json::Malformed;
use crate::source::signature::time::{Format, millis};

/// Most items of one list of a body.
const ITEMS_MAX: usize = 100_000;

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub struct View<'a> {
    value: &'a Value,
    pointer: String,
}

impl<'a> View<'a> {
    /// The whole body.
    pub fn root(body: &'a Value) -> Self {
        Self { value: body, pointer: String::new() }
    }

    /// Another value that is read as if it stood here.
    pub fn in_place<'b>(&self, value: &'b Value) -> View<'b> {
        View { value, pointer: self.pointer.clone() }
    }

    /// The value.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// The value, if it is an object.
    pub fn object(&self) -> Option<&'a Map<String, Value>> {
        self.value.as_object()
    }

    /// The member of that name, unless it is absent or null.
    pub fn get(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(Self { value, pointer: format!("{}/{name}", self.pointer) })
    }

    /// The member of that name, which must be there.
    pub fn need(&self, name: &str) -> Result<Self, Malformed> {
        self.get(name).ok_or_else(|| Malformed::new(format!("{}/{name}", self.pointer), "is missing"))
    }

    /// The text of a member; `None` where it is absent, blank, or something else.
    pub fn word(&self, name: &str) -> Option<&'a str> {
        self.value.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
    }

    /// The text of a member that must be there.
    pub fn text(&self, name: &str) -> Result<&'a str, Malformed> {
        let view = self.need(name)?;
        view.value.as_str().ok_or_else(|| view.wrong("a text is expected"))
    }

    /// Whether a member is true or false; `None` where it is neither.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.value.get(name).and_then(Value::as_bool)
    }

    /// The value as an id: a text, or a whole number as its digits.
    pub fn id(&self) -> Result<ExternalId, Malformed> {
        let text = match self.value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_u64() => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err(self.wrong("an id is expected"));
            }
        };
        ExternalId::parse(text).map_err(|error| self.wrong(error.to_string()))
    }

    /// The items of a list.
    pub fn items(&self) -> Result<impl Iterator<Item = Self> + use<'a>, Malformed> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("a list is expected"))?;
        if items.len() > ITEMS_MAX {
            return Err(self.wrong(format!("holds {} items, over {ITEMS_MAX}", items.len())));
        }
        let pointer = self.pointer.clone();
        let view = move |(index, value)| Self { value, pointer: format!("{pointer}/{index}") };
        Ok(items.iter().enumerate().map(view))
    }

    /// The items of a member's list as ids; none where it is absent.
    pub fn ids(&self, name: &str) -> Result<Vec<ExternalId>, Malformed> {
        match self.get(name) {
            Some(list) => list.items()?.map(|item| item.id()).collect(),
            None => Ok(Vec::new()),
        }
    }

    /// The time in a member, as RFC 3339 or as milliseconds since the Unix epoch; `None` where it is
    /// absent.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, Malformed> {
        self.get(name).map(|view| view.moment()).transpose()
    }

    fn moment(&self) -> Result<Timestamp, Malformed> {
        let moment = match self.value {
            Value::String(text) => Format::Rfc3339.read(text),
            Value::Number(number) => number.as_i64().filter(|number| *number >= 0).and_then(millis),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        moment.ok_or_else(|| self.wrong("a date and time, or milliseconds since 1970, is expected"))
    }

    /// Says that the value is not what it should be.
    pub fn wrong(&self, reason: impl Into<String>) -> Malformed {
        Malformed::new(self.pointer.clone(), reason)
    }
}
