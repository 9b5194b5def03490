//! What a service says of its bulk requests in its `ServiceProviderConfig`, RFC 7643 section 5.

use serde_json::Value;

use crate::scim::resource::get;

/// What a service that takes bulk requests says of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkSupport {
    /// `maxOperations`.
    pub operations: Option<usize>,
    /// `maxPayloadSize`, in bytes.
    pub bytes: Option<usize>,
}

/// Reads it; `None` unless the service says that it takes bulk requests.
pub fn read(configuration: &Value) -> Option<BulkSupport> {
    let bulk = get(configuration, "bulk")?;
    let supported = match get(bulk, "supported")? {
        Value::Bool(supported) => *supported,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    };
    let limit = |name| get(bulk, name).and_then(number).filter(|limit| *limit > 0);
    supported.then(|| BulkSupport { operations: limit("maxOperations"), bytes: limit("maxPayloadSize") })
}

fn number(value: &Value) -> Option<usize> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    usize::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_service_that_says_so_takes_bulk_requests() {
        let says = |operations, bytes| Some(BulkSupport { operations, bytes });
        for (bulk, expected) in [
            (
                json!({"supported": true, "maxOperations": 1000, "maxPayloadSize": 1_048_576}),
                says(Some(1000), Some(1_048_576)),
            ),
            (json!({"Supported": "True", "maxoperations": "50"}), says(Some(50), None)),
            (json!({"supported": true, "maxOperations": 0, "maxPayloadSize": -1}), says(None, None)),
            (json!({"supported": false, "maxOperations": 1000}), None),
            (json!({"maxOperations": 1000}), None),
            (json!({"supported": 1}), None),
            (json!(null), None),
        ] {
            assert_eq!(read(&json!({ "bulk": bulk })), expected, "{bulk}");
        }
        assert_eq!(read(&json!([])), None);
    }
}
