//! The body of an error answer, RFC 7644 section 3.12.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::scim::resource::get_in;
use crate::scim::schema;

/// What a vendor said about a refusal. It refines a decision that the HTTP status alone must be able
/// to make: many services send less, or something else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorBody {
    /// The HTTP status, repeated in the body.
    pub status: Option<u16>,
    /// The error's kind.
    pub scim_type: Option<ScimType>,
    /// Text for people. Never compared, never parsed.
    pub detail: Option<String>,
}

/// Kinds of error: RFC 7644 table 9, and RFC 9865 section 2.1 for the last three named ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScimType {
    /// The filter is malformed, or compares what cannot be compared.
    InvalidFilter,
    /// More results or operations than the service will handle.
    TooMany,
    /// A unique value is already in use.
    Uniqueness,
    /// The attribute may not be changed so.
    Mutability,
    /// The body does not have the shape that the RFC asks for.
    InvalidSyntax,
    /// The path of a PATCH operation is malformed or unknown.
    InvalidPath,
    /// The path of a PATCH operation matches nothing.
    NoTarget,
    /// A value is missing or does not fit its attribute.
    InvalidValue,
    /// The protocol version is not supported. Some vendors say it of a stale `If-Match`.
    InvalidVers,
    /// The request carries what must not be in a URL.
    Sensitive,
    /// The cursor is not one of the service's.
    InvalidCursor,
    /// The cursor was valid once.
    ExpiredCursor,
    /// The page size is out of range.
    InvalidCount,
    /// A word that no RFC defines, as it came.
    Other(String),
}

const NAMED: [(&str, ScimType); 13] = [
    ("invalidFilter", ScimType::InvalidFilter),
    ("tooMany", ScimType::TooMany),
    ("uniqueness", ScimType::Uniqueness),
    ("mutability", ScimType::Mutability),
    ("invalidSyntax", ScimType::InvalidSyntax),
    ("invalidPath", ScimType::InvalidPath),
    ("noTarget", ScimType::NoTarget),
    ("invalidValue", ScimType::InvalidValue),
    ("invalidVers", ScimType::InvalidVers),
    ("sensitive", ScimType::Sensitive),
    ("invalidCursor", ScimType::InvalidCursor),
    ("expiredCursor", ScimType::ExpiredCursor),
    ("invalidCount", ScimType::InvalidCount),
];

const OTHER_CHARACTERS_MAX: usize = 64;

impl ScimType {
    /// Reads the word in any case; an unknown one is kept, cut at 64 characters.
    pub fn parse(word: &str) -> Self {
        NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map_or_else(
            || Self::Other(word.chars().take(OTHER_CHARACTERS_MAX).collect()),
            |(_, known)| known.clone(),
        )
    }

    /// The word as the RFC spells it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(word) => word,
            Self::InvalidFilter
            | Self::TooMany
            | Self::Uniqueness
            | Self::Mutability
            | Self::InvalidSyntax
            | Self::InvalidPath
            | Self::NoTarget
            | Self::InvalidValue
            | Self::InvalidVers
            | Self::Sensitive
            | Self::InvalidCursor
            | Self::ExpiredCursor
            | Self::InvalidCount => {
                NAMED.iter().find(|(_, known)| known == self).map_or("", |(name, _)| name)
            }
        }
    }
}

impl ErrorBody {
    /// Bodies over this are not looked at: a SCIM error is small, an HTML page is not.
    pub const BYTES_MAX: usize = 64 * 1024;
    /// Where `detail` is cut.
    pub const DETAIL_CHARACTERS_MAX: usize = 1_000;

    /// Reads a SCIM error. `None` when the body is not one: not JSON, another vendor's format, empty.
    ///
    /// A body counts as a SCIM error when its `schemas` says so, or when it has a `scimType` or a
    /// textual `detail`. `status` may be a string or a number.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::BYTES_MAX {
            return None;
        }
        let body: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let scim_type = get_in(&body, "scimType")
            .and_then(Value::as_str)
            .filter(|word| !word.is_empty())
            .map(ScimType::parse);
        let detail = get_in(&body, "detail")
            .and_then(Value::as_str)
            .map(|text| text.chars().take(Self::DETAIL_CHARACTERS_MAX).collect::<String>());
        let is_scim = scim_type.is_some() || detail.is_some() || says_error(&body);
        is_scim.then(|| Self { status: get_in(&body, "status").and_then(status), scim_type, detail })
    }
}

impl Serialize for ErrorBody {
    /// The RFC's shape: `status` is a string, absent fields are left out.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = Map::new();
        body.insert("schemas".to_owned(), json!([schema::ERROR]));
        if let Some(status) = self.status {
            body.insert("status".to_owned(), Value::String(status.to_string()));
        }
        if let Some(scim_type) = &self.scim_type {
            body.insert("scimType".to_owned(), scim_type.as_str().into());
        }
        if let Some(detail) = &self.detail {
            body.insert("detail".to_owned(), detail.as_str().into());
        }
        body.serialize(serializer)
    }
}

fn says_error(body: &Map<String, Value>) -> bool {
    get_in(body, "schemas").and_then(Value::as_array).is_some_and(|urns| {
        urns.iter().filter_map(Value::as_str).any(|urn| urn.eq_ignore_ascii_case(schema::ERROR))
    })
}

fn status(value: &Value) -> Option<u16> {
    let status = match value {
        Value::Number(number) => u16::try_from(number.as_u64()?).ok()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (100..=599).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn status_may_be_a_string_or_a_number() {
        for body in [
            r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"409","scimType":"uniqueness"}"#,
            r#"{"Status":409,"SCIMTYPE":"Uniqueness"}"#,
            r#"{"status":" 409 ","scimType":"uniqueness"}"#,
        ] {
            let error = ErrorBody::parse(body.as_bytes()).unwrap();
            assert_eq!((error.status, error.scim_type), (Some(409), Some(ScimType::Uniqueness)), "{body}");
        }
    }

    #[test]
    fn an_impossible_status_is_dropped_and_the_rest_is_kept() {
        for status in ["\"many\"", "70000", "-1", "{}", "\"99\""] {
            let body = format!(r#"{{"status":{status},"detail":"why"}}"#);
            let error = ErrorBody::parse(body.as_bytes()).unwrap();
            assert_eq!((error.status, error.detail.as_deref()), (None, Some("why")), "{status}");
        }
    }

    #[test]
    fn an_unknown_kind_passes_as_it_came() {
        let error = ErrorBody::parse(br#"{"scimType":"quotaExceeded"}"#).unwrap();
        assert_eq!(error.scim_type, Some(ScimType::Other("quotaExceeded".to_owned())));
    }

    #[test]
    fn a_body_that_is_not_a_scim_error_is_none() {
        for body in [
            "",
            "<html>502</html>",
            "[]",
            "\"detail\"",
            r#"{"code":300,"message":"Validation Failed."}"#,
            r#"{"timestamp":1,"status":404,"error":"Not Found","path":"/Users"}"#,
            r#"{"detail":{"nested":true}}"#,
        ] {
            assert_eq!(ErrorBody::parse(body.as_bytes()), None, "{body}");
        }
        let huge = format!(r#"{{"detail":"{}"}}"#, "x".repeat(ErrorBody::BYTES_MAX));
        assert_eq!(ErrorBody::parse(huge.as_bytes()), None);
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let body = format!(r#"{{"detail":"{}"}}"#, "é".repeat(2_000));
        assert_eq!(ErrorBody::parse(body.as_bytes()).unwrap().detail.unwrap().chars().count(), 1_000);
    }

    #[test]
    fn every_named_kind_survives_the_way_out_and_back() {
        for (name, kind) in NAMED {
            assert_eq!(kind.as_str(), name);
            let error = ErrorBody { status: Some(400), scim_type: Some(kind), detail: Some("d".to_owned()) };
            let bytes = serde_json::to_vec(&error).unwrap();
            assert_eq!(ErrorBody::parse(&bytes), Some(error));
        }
        let json = serde_json::to_value(ErrorBody { status: Some(404), ..ErrorBody::default() }).unwrap();
        assert_eq!(json, json!({"schemas": [schema::ERROR], "status": "404"}));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ErrorBody::parse(&bytes);
        }
    }
}
