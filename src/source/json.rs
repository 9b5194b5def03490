//! JSON from outside: read strictly, and refused with the place of what is wrong.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a body is not of its source's shape, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// JSON pointer (RFC 6901) from the body's root; empty where the body as a whole is meant.
    pub pointer: String,
    /// What is wrong and what is expected; never a value of the body.
    pub reason: String,
}

impl Malformed {
    /// At `pointer`.
    pub fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), reason: reason.into() }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.pointer, self.reason)
        }
    }
}

impl std::error::Error for Malformed {}

/// Reads a body as JSON (RFC 8259). What parsers disagree about is refused: a byte order mark, and an
/// object that names a member twice. Nesting is limited to 128 levels.
pub fn parse(body: &[u8]) -> Result<Value, Malformed> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let (line, column) = place_of(&body[..error.valid_up_to()]);
        Malformed::new("", format!("the body is not UTF-8 at line {line} column {column}"))
    })?;
    if text.starts_with('\u{feff}') {
        return Err(Malformed::new(
            "",
            "the body starts with a byte order mark, at line 1 column 1; leave it out",
        ));
    }
    let Strict(value) = serde_json::from_str(text)
        .map_err(|error| Malformed::new("", format!("the body is not JSON: {error}")))?;
    Ok(value)
}

/// Line and column of the byte that follows `before`, from 1.
fn place_of(before: &[u8]) -> (usize, usize) {
    let is_break = |byte: &u8| *byte == b'\n';
    let line_start = before.iter().rposition(is_break).map_or(0, |at| at + 1);
    (before.iter().filter(|byte| is_break(byte)).count() + 1, before.len() - line_start + 1)
}

/// The members of one object, taken one by one; what is left at the end is an error.
pub struct Fields {
    pointer: String,
    members: Map<String, Value>,
    asked: Vec<&'static str>,
}

impl Fields {
    /// Of the object at `pointer`.
    pub fn of(value: Value, pointer: impl Into<String>) -> Result<Self, Malformed> {
        let pointer = pointer.into();
        match value {
            Value::Object(members) => Ok(Self { pointer, members, asked: Vec::new() }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(Malformed::new(pointer, "an object is expected"))
            }
        }
    }

    /// Where the member of that name is, or would be.
    pub fn pointer_to(&self, name: &str) -> String {
        format!("{}/{name}", self.pointer)
    }

    /// Whether the member is there.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The member, if it is there.
    pub fn optional(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.members.remove(name)
    }

    /// The member, which must be there.
    pub fn required(&mut self, name: &'static str) -> Result<Value, Malformed> {
        self.optional(name).ok_or_else(|| Malformed::new(self.pointer_to(name), "is missing"))
    }

    /// The text, which must be there.
    pub fn text(&mut self, name: &'static str) -> Result<String, Malformed> {
        let value = self.required(name)?;
        text(value, &self.pointer_to(name))
    }

    /// Ends the reading of `what`.
    pub fn finish(self, what: &str) -> Result<(), Malformed> {
        let Some(name) = self.members.keys().next() else { return Ok(()) };
        // A name is cut, so that an error stays short.
        let shown: String = name.chars().take(120).collect();
        let pointer = format!("{}/{}", self.pointer, shown.replace('~', "~0").replace('/', "~1"));
        Err(Malformed::new(pointer, format!("is not known in {what}; known: {}", self.asked.join(", "))))
    }
}

/// The value as text.
pub fn text(value: Value, pointer: &str) -> Result<String, Malformed> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(Malformed::new(pointer, "a text is expected"))
        }
    }
}

/// The value as a list of at most `length_max` items.
pub fn list(value: Value, pointer: &str, length_max: usize) -> Result<Vec<Value>, Malformed> {
    match value {
        Value::Array(items) if items.len() <= length_max => Ok(items),
        Value::Array(items) => {
            Err(Malformed::new(pointer, format!("holds {} items, over {length_max}", items.len())))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err(Malformed::new(pointer, "a list is expected"))
        }
    }
}

/// A value whose objects name each member once; `serde_json` alone would silently keep the last.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(de::Error::custom("an object names a member twice"));
            }
            let Strict(value) = members.next_value()?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn refused(body: &[u8]) -> String {
        parse(body).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_json_is_refused_with_line_and_column() {
        for (body, expected) in [
            (&b""[..], "line 1 column 0"),
            (b"{", "line 1 column 1"),
            (b"{\n  \"a\": truth\n}", "line 2 column 11"),
            (b"{}{}", "line 1 column 3"),
            (b"{\"a\":1,\n\"b\":2,\n\"a\":3}", "twice at line 3 column 3"),
            (b"{\"a\":{\"x\":1,\"x\":1}}", "twice at line 1"),
            (b"{\"a\":1,\"\\u0061\":1}", "twice at line 1"),
            (b"[1e999]", "out of range at line 1"),
            (b"[NaN]", "line 1 column 2"),
            (b"[\"\\ud800\"]", "line 1"),
            (b"\xef\xbb\xbf{}", "byte order mark, at line 1 column 1"),
            (b"{\n\"a\": \"\xff\"}", "not UTF-8 at line 2 column 7"),
            (b"\xff", "not UTF-8 at line 1 column 1"),
        ] {
            let reason = refused(body);
            assert!(reason.contains(expected), "{}: {reason}", body.escape_ascii());
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_it_fills_the_stack() {
        let deep = "[".repeat(100_000);
        assert!(refused(deep.as_bytes()).contains("recursion limit exceeded at line 1"));
        let shallow = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(parse(shallow.as_bytes()).is_ok());
    }

    #[test]
    fn a_member_that_nobody_asked_for_is_an_error_at_its_place() {
        let mut fields = Fields::of(json!({"id": "x", "a/b~c": 1}), "/changes/2").unwrap();
        assert_eq!(fields.text("id"), Ok("x".to_owned()));
        let error = fields.finish("a change").unwrap_err().to_string();
        assert_eq!(error, "/changes/2/a~1b~0c: is not known in a change; known: id");
    }

    proptest! {
        #[test]
        fn strict_reading_agrees_with_plain_reading_where_it_accepts(body in "[\\[\\]{}\",:0-9a-e\\\\ .+-]{0,60}") {
            if let Ok(value) = parse(body.as_bytes()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), value);
            }
        }
    }
}
