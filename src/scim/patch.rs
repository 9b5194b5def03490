//! PATCH, RFC 7644 section 3.5.2: the request, and applying it to a resource.

mod apply;
mod value;

pub use apply::{Changed, apply};
pub use value::normalise;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::scim::error::ScimType;
use crate::scim::resource::get_in;
use crate::scim::schema;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Adds to an attribute; what is there already stays.
    Add,
    /// Removes an attribute or some of its values.
    Remove,
    /// Puts values in the place of what is there.
    Replace,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PatchOp {
    /// What to do.
    pub op: Op,
    /// To what; absent means the resource itself, and `value` is then an object of attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// With what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// A whole request: all of its operations take effect, or none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PatchRequest {
    /// The operations, in order.
    pub operations: Vec<PatchOp>,
}

/// Why a PATCH is refused. Every case is a 400, with the kind that the RFC's table 9 gives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The request does not have the RFC's shape.
    #[error("{0}")]
    InvalidSyntax(String),
    /// A path that is malformed, or names what the schema does not have.
    #[error("path {0:?} is not one of the resource's")]
    InvalidPath(String),
    /// A path that picks values of which there are none, or a remove without a path.
    #[error("path {0:?} matches nothing")]
    NoTarget(String),
    /// A value that is missing, unexpected, or of the wrong type.
    #[error("{0}")]
    InvalidValue(String),
    /// A change that the attribute does not allow.
    #[error("attribute {0:?} may not be changed so")]
    Mutability(String),
}

impl PatchError {
    /// The word for it.
    pub fn scim_type(&self) -> ScimType {
        match self {
            Self::InvalidSyntax(_) => ScimType::InvalidSyntax,
            Self::InvalidPath(_) => ScimType::InvalidPath,
            Self::NoTarget(_) => ScimType::NoTarget,
            Self::InvalidValue(_) => ScimType::InvalidValue,
            Self::Mutability(_) => ScimType::Mutability,
        }
    }
}

impl PatchOp {
    /// Adds `value` at `path`.
    pub fn add(path: impl Into<String>, value: Value) -> Self {
        Self { op: Op::Add, path: Some(path.into()), value: Some(value) }
    }

    /// Replaces what is at `path` by `value`.
    pub fn replace(path: impl Into<String>, value: Value) -> Self {
        Self { op: Op::Replace, path: Some(path.into()), value: Some(value) }
    }

    /// Removes what is at `path`. Without a filter that is every value of the attribute.
    pub fn remove(path: impl Into<String>) -> Self {
        Self { op: Op::Remove, path: Some(path.into()), value: None }
    }

    fn read(operation: &Value) -> Result<Self, PatchError> {
        let object = operation.as_object().ok_or_else(|| syntax("an operation is not an object"))?;
        let op = match get_in(object, "op").and_then(Value::as_str) {
            Some(op) if op.eq_ignore_ascii_case("add") => Op::Add,
            Some(op) if op.eq_ignore_ascii_case("remove") => Op::Remove,
            Some(op) if op.eq_ignore_ascii_case("replace") => Op::Replace,
            Some(_) | None => return Err(syntax("an `op` is not add, remove or replace")),
        };
        let path = match get_in(object, "path") {
            None | Some(Value::Null) => None,
            Some(Value::String(path)) => Some(path.clone()),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(syntax("a `path` is not a string"));
            }
        };
        Ok(Self { op, path, value: get_in(object, "value").cloned() })
    }
}

impl PatchRequest {
    /// Reads a request. Names and operators may be in any case, as some clients capitalise them;
    /// `schemas` must name the message, and there must be an operation.
    pub fn parse(body: &Value) -> Result<Self, PatchError> {
        let object = body.as_object().ok_or_else(|| syntax("the body is not an object"))?;
        if !says_patch(object) {
            return Err(syntax("`schemas` does not name the PatchOp message"));
        }
        let Some(Value::Array(operations)) = get_in(object, "Operations") else {
            return Err(syntax("`Operations` is not an array"));
        };
        if operations.is_empty() {
            return Err(syntax("`Operations` is empty"));
        }
        let operations = operations.iter().map(PatchOp::read).collect::<Result<_, _>>()?;
        Ok(Self { operations })
    }
}

impl Serialize for PatchRequest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut request = serializer.serialize_struct("PatchRequest", 2)?;
        request.serialize_field("schemas", &json!([schema::PATCH_OP]))?;
        request.serialize_field("Operations", &self.operations)?;
        request.end()
    }
}

fn says_patch(object: &Map<String, Value>) -> bool {
    get_in(object, "schemas").and_then(Value::as_array).is_some_and(|urns| {
        urns.iter().filter_map(Value::as_str).any(|urn| urn.eq_ignore_ascii_case(schema::PATCH_OP))
    })
}

fn syntax(detail: &str) -> PatchError {
    PatchError::InvalidSyntax(detail.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_written_with_its_schema_and_lower_case_operators() {
        let request = PatchRequest {
            operations: vec![PatchOp::replace("active", json!(false)), PatchOp::remove("title")],
        };
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                "Operations": [
                    {"op": "replace", "path": "active", "value": false},
                    {"op": "remove", "path": "title"}
                ]
            })
        );
    }

    #[test]
    fn capitals_are_read_and_other_shapes_are_not() {
        let body =
            json!({"SCHEMAS": [schema::PATCH_OP], "operations": [{"Op": "Add", "Path": null, "value": {}}]});
        let request = PatchRequest::parse(&body).unwrap();
        assert_eq!(request.operations, [PatchOp { op: Op::Add, path: None, value: Some(json!({})) }]);
        for body in [
            json!([]),
            json!({"Operations": [{"op": "remove", "path": "title"}]}),
            json!({"schemas": [schema::USER], "Operations": [{"op": "remove", "path": "title"}]}),
            json!({"schemas": [schema::PATCH_OP]}),
            json!({"schemas": [schema::PATCH_OP], "Operations": []}),
            json!({"schemas": [schema::PATCH_OP], "Operations": {"op": "remove"}}),
            json!({"schemas": [schema::PATCH_OP], "Operations": ["remove"]}),
            json!({"schemas": [schema::PATCH_OP], "Operations": [{"op": "move", "path": "title"}]}),
            json!({"schemas": [schema::PATCH_OP], "Operations": [{"op": "remove", "path": ["title"]}]}),
        ] {
            assert!(matches!(PatchRequest::parse(&body), Err(PatchError::InvalidSyntax(_))), "{body}");
        }
    }

    proptest! {
        #[test]
        fn a_request_survives_the_way_out_and_back(
            parts in prop::collection::vec((0..3usize, prop::option::of(".{0,12}"), prop::option::of(".{0,12}")), 1..6)
        ) {
            let operations = parts.into_iter().map(|(op, path, value)| PatchOp {
                op: [Op::Add, Op::Remove, Op::Replace][op],
                path,
                value: value.map(Value::from),
            });
            let request = PatchRequest { operations: operations.collect() };
            prop_assert_eq!(PatchRequest::parse(&serde_json::to_value(&request).unwrap()).unwrap(), request);
        }
    }
}
