//! Where a value stands: a JSON pointer (RFC 6901), in which `*` stands for each item of a list.

use serde_json::Value;

/// Longest pointer, in bytes.
const BYTES_MAX: usize = 512;

/// A place in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    steps: Vec<String>,
}

/// Why a text is no pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// Not a place, and the empty text is the whole.
    #[error("is not a JSON pointer: it starts with no /")]
    NoSlash,
    /// `~` stands for nothing but itself and `/`.
    #[error("is not a JSON pointer: ~ is written ~0, and / in a name ~1")]
    Escape,
    /// Longer than anybody needs.
    #[error("is longer than {BYTES_MAX} bytes")]
    TooLong,
}

impl Pointer {
    /// Reads a pointer.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        if text.len() > BYTES_MAX {
            return Err(PointerError::TooLong);
        }
        let steps = match text.strip_prefix('/') {
            Some(rest) => rest.split('/').map(unescape).collect::<Option<_>>().ok_or(PointerError::Escape)?,
            None if text.is_empty() => Vec::new(),
            None => return Err(PointerError::NoSlash),
        };
        Ok(Self { text: text.to_owned(), steps })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first value that stands there.
    pub fn value<'a>(&self, event: &'a Value) -> Option<&'a Value> {
        self.values(event).into_iter().next()
    }

    /// Every value that stands there, in the order of the lists.
    pub fn values<'a>(&self, event: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![event];
        for step in &self.steps {
            found = found.into_iter().flat_map(|value| step_into(value, step)).collect();
        }
        found
    }

    /// Whether there is no list where one is meant: at the first `*`, or at the end.
    pub fn has_no_list(&self, event: &Value) -> bool {
        let until = self.steps.iter().position(|step| step == "*").unwrap_or(self.steps.len());
        let mut place = Some(event);
        for step in &self.steps[..until] {
            place = place.and_then(|value| step_into(value, step).into_iter().next());
        }
        !place.is_some_and(Value::is_array)
    }
}

fn step_into<'a>(value: &'a Value, step: &str) -> Vec<&'a Value> {
    match value {
        Value::Array(items) if step == "*" => items.iter().collect(),
        Value::Array(items) => {
            step.parse().ok().and_then(|index: usize| items.get(index)).into_iter().collect()
        }
        Value::Object(members) => members.get(step).into_iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn unescape(step: &str) -> Option<String> {
    let mut plain = String::with_capacity(step.len());
    let mut letters = step.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '~' => plain.push(match letters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            }),
            other => plain.push(other),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_finds_what_stands_there() {
        let event = json!({"a": {"b/c": 1, "~": 2}, "list": [{"id": "x"}, {}, {"id": "y"}], "*": 3});
        for (pointer, expected) in [
            ("/a/b~1c", vec![json!(1)]),
            ("/a/~0", vec![json!(2)]),
            ("/list/*/id", vec![json!("x"), json!("y")]),
            ("/list/2/id", vec![json!("y")]),
            ("/list/9", vec![]),
            ("/*", vec![json!(3)]),
            ("/none/of/it", vec![]),
            ("", vec![event.clone()]),
        ] {
            let found: Vec<Value> =
                Pointer::parse(pointer).unwrap().values(&event).into_iter().cloned().collect();
            assert_eq!(found, expected, "{pointer}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        assert_eq!(Pointer::parse("a"), Err(PointerError::NoSlash));
        assert_eq!(Pointer::parse("/a~"), Err(PointerError::Escape));
        assert_eq!(Pointer::parse("/a~2"), Err(PointerError::Escape));
        assert_eq!(Pointer::parse(&"/a".repeat(300)), Err(PointerError::TooLong));
    }
}
