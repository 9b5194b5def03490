//! The events of a file: JSON documents one after the other, one a line or not.

use std::io::Read;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Why a file holds no further event.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The bytes are no JSON, or cannot be read.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A JSON value that can be neither an event nor a change.
    #[error("it is neither an event nor a change: write an object")]
    NotAnObject,
}

/// The bodies to send. A document with `changes` is a body as it stands, byte for byte; any other
/// object is one change and is wrapped. Ends after the first fault.
pub fn bodies(input: impl Read) -> impl Iterator<Item = Result<String, DocumentError>> {
    let mut documents = serde_json::Deserializer::from_reader(input).into_iter::<Box<RawValue>>();
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let body = documents.next()?.map_err(DocumentError::from).and_then(|document| body(&document));
        failed = body.is_err();
        Some(body)
    })
}

#[derive(Deserialize)]
struct Shape {
    changes: Option<IgnoredAny>,
}

fn body(document: &RawValue) -> Result<String, DocumentError> {
    let text = document.get();
    if !text.starts_with('{') {
        return Err(DocumentError::NotAnObject);
    }
    let shape: Shape = serde_json::from_str(text)?;
    Ok(match shape.changes {
        Some(IgnoredAny) => text.to_owned(),
        None => format!("{{\"changes\":[{text}]}}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> Vec<Result<String, String>> {
        bodies(input.as_bytes()).map(|body| body.map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn events_go_as_they_are_and_changes_are_wrapped() {
        let cases: [(&str, &[&str]); 6] = [
            ("", &[]),
            ("\n\n", &[]),
            ("{ \"changes\" : [ 1.0 ] }", &["{ \"changes\" : [ 1.0 ] }"]),
            ("{\"op\":\"x\"}", &["{\"changes\":[{\"op\":\"x\"}]}"]),
            ("{\"a\":1}\n\n{\"changes\":[]}\n", &["{\"changes\":[{\"a\":1}]}", "{\"changes\":[]}"]),
            ("{\n \"a\": 1\n} {\"b\":2}", &["{\"changes\":[{\n \"a\": 1\n}]}", "{\"changes\":[{\"b\":2}]}"]),
        ];
        for (input, expected) in cases {
            let bodies: Vec<String> = read(input).into_iter().map(Result::unwrap).collect();
            assert_eq!(bodies, expected, "{input}");
        }
    }

    #[test]
    fn reading_ends_with_the_first_fault() {
        for (input, fault) in [
            ("{} [] {}", "neither an event nor a change"),
            ("{} {", "EOF"),
            ("{} nonsense {}", "line 1"),
            ("{} {\"changes\":1,\"changes\":2} {}", "duplicate"),
        ] {
            let read = read(input);
            assert_eq!(read.len(), 2, "{input}: {read:?}");
            assert!(read[1].as_ref().unwrap_err().contains(fault), "{input}: {read:?}");
        }
    }
}
