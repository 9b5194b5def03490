//! A bulk request, written operation by operation so that its size is known to the byte.

use http::Method;
use serde_json::{Value, json};

use crate::scim::etag::ETag;
use crate::scim::schema;

/// One operation of a bulk request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// POST, PUT, PATCH or DELETE.
    pub method: Method,
    /// Below the base URL, without a leading slash: `Users/42`.
    pub path: String,
    /// Names the operation within the request.
    pub bulk_id: String,
    /// The version that must be the present one, in place of `If-Match`.
    pub version: Option<ETag>,
    /// The body, already JSON; `None` for a DELETE.
    pub data: Option<Vec<u8>>,
}

/// How much a service takes in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkLimits {
    /// Operations, `maxOperations`.
    pub operations: usize,
    /// Bytes of the body, `maxPayloadSize`.
    pub bytes: usize,
}

/// A request that grows while there is room.
#[derive(Clone, Debug)]
pub struct BulkRequest {
    limits: BulkLimits,
    body: Vec<u8>,
    operations: usize,
}

/// What closes the list and the request.
const END: &[u8] = b"]}";

impl BulkRequest {
    /// A request without operations.
    pub fn new(limits: BulkLimits) -> Self {
        let body = format!("{{\"schemas\":[\"{}\"],\"Operations\":[", schema::BULK_REQUEST).into_bytes();
        Self { limits, body, operations: 0 }
    }

    /// Takes an operation in, or leaves the request as it is and answers `false`: there is no room.
    ///
    /// `failOnErrors` is never sent, so that one failure stops no other operation.
    #[must_use]
    pub fn push(&mut self, operation: &Operation) -> bool {
        let text = text(operation);
        let comma = usize::from(self.operations > 0);
        let size = self.body.len() + comma + text.len() + END.len();
        if self.operations >= self.limits.operations || size > self.limits.bytes {
            return false;
        }
        if comma > 0 {
            self.body.push(b',');
        }
        self.body.extend_from_slice(&text);
        self.operations += 1;
        true
    }

    /// How many operations it holds.
    pub const fn operations(&self) -> usize {
        self.operations
    }

    /// The body to send.
    pub fn into_body(mut self) -> Vec<u8> {
        self.body.extend_from_slice(END);
        self.body
    }
}

fn text(operation: &Operation) -> Vec<u8> {
    let mut head = json!({
        "method": operation.method.as_str(),
        "path": format!("/{}", operation.path),
        "bulkId": operation.bulk_id,
    });
    if let Some(version) = &operation.version {
        head["version"] = Value::from(version.as_str());
    }
    let mut text = head.to_string().into_bytes();
    if let Some(data) = &operation.data {
        // The body is JSON already: it goes in as it is.
        text.pop();
        text.extend_from_slice(b",\"data\":");
        text.extend_from_slice(data);
        text.push(b'}');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NO_LIMITS: BulkLimits = BulkLimits { operations: usize::MAX, bytes: usize::MAX };

    fn operation(number: usize, letters: usize) -> Operation {
        Operation {
            method: Method::PATCH,
            path: format!("Users/{number}"),
            bulk_id: format!("op{number}"),
            version: ETag::parse("W/\"7\""),
            data: Some(json!({ "title": "é".repeat(letters) }).to_string().into_bytes()),
        }
    }

    fn read(body: &[u8]) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn an_operation_carries_its_method_path_name_version_and_data() {
        let mut request = BulkRequest::new(NO_LIMITS);
        assert!(request.push(&operation(1, 1)));
        let delete = Operation { method: Method::DELETE, version: None, data: None, ..operation(2, 0) };
        assert!(request.push(&delete));
        assert_eq!(
            read(&request.into_body()),
            json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
                "Operations": [
                    {"method": "PATCH", "path": "/Users/1", "bulkId": "op1", "version": "W/\"7\"", "data": {"title": "é"}},
                    {"method": "DELETE", "path": "/Users/2", "bulkId": "op2"},
                ]
            })
        );
    }

    #[test]
    fn the_limits_are_kept_to_the_operation_and_to_the_byte() {
        let mut measured = BulkRequest::new(NO_LIMITS);
        assert!(measured.push(&operation(1, 3)) && measured.push(&operation(2, 3)));
        let exact = measured.into_body().len();
        for (bytes, fits) in [(exact, true), (exact - 1, false)] {
            let mut request = BulkRequest::new(BulkLimits { bytes, ..NO_LIMITS });
            assert!(request.push(&operation(1, 3)));
            assert_eq!(request.push(&operation(2, 3)), fits, "{bytes}");
        }
        let mut one = BulkRequest::new(BulkLimits { operations: 1, ..NO_LIMITS });
        assert!(one.push(&operation(1, 3)) && !one.push(&operation(2, 3)));
        assert_eq!(
            (one.operations(), read(&one.into_body())["Operations"].as_array().unwrap().len()),
            (1, 1)
        );
    }

    proptest! {
        #[test]
        fn whatever_is_refused_the_body_holds_what_was_taken_and_keeps_the_limits(
            letters in prop::collection::vec(0..40usize, 0..20),
            operations in 0..12usize,
            bytes in 80..2_000usize,
        ) {
            let mut request = BulkRequest::new(BulkLimits { operations, bytes });
            let taken: Vec<String> = letters
                .iter()
                .enumerate()
                .filter(|(number, letters)| request.push(&operation(*number, **letters)))
                .map(|(number, _)| format!("op{number}"))
                .collect();
            prop_assert!(taken.len() <= operations);
            let body = request.into_body();
            prop_assert!(taken.is_empty() || body.len() <= bytes, "{} bytes", body.len());
            let body = read(&body);
            let names = body["Operations"].as_array().unwrap().iter().map(|sent| sent["bulkId"].as_str().unwrap());
            prop_assert_eq!(names.collect::<Vec<_>>(), taken);
        }
    }
}
