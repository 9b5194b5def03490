//! A page of resources, RFC 7644 section 3.4.2 and, for cursors, RFC 9865.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::scim::resource::get_in;
use crate::scim::schema;

/// One page. Whoever pages advances by the number of resources received, never by the number asked
/// for: a service may return fewer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListResponse {
    /// How many resources match in all. A service that pages by cursor may leave it out.
    pub total_results: Option<u64>,
    /// How many the service says are on this page.
    pub items_per_page: Option<u64>,
    /// 1-based index of the first resource on this page.
    pub start_index: Option<u64>,
    /// Where the next page begins; `None` on the last page. An empty string counts as none.
    pub next_cursor: Option<String>,
    /// The resources, as they came.
    pub resources: Vec<Value>,
}

/// Why a body is no page. Either way nothing may be concluded from it, least of all an empty directory.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Not a JSON object.
    #[error("the body is not a JSON object")]
    NotJson(#[source] serde_json::Error),
    /// An object, but neither its `schemas`, `totalResults` nor `Resources` says that it is a list.
    #[error("the body is not a list response")]
    NotAList,
}

impl ListResponse {
    /// Reads a page: keys in any case, numbers also as strings, an absent or null `Resources` as empty.
    pub fn parse(bytes: &[u8]) -> Result<Self, ListError> {
        let mut body: Map<String, Value> = serde_json::from_slice(bytes).map_err(ListError::NotJson)?;
        let total_results = get_in(&body, "totalResults").and_then(number);
        let items_per_page = get_in(&body, "itemsPerPage").and_then(number);
        let start_index = get_in(&body, "startIndex").and_then(number);
        let next_cursor = get_in(&body, "nextCursor")
            .and_then(Value::as_str)
            .filter(|cursor| !cursor.is_empty())
            .map(str::to_owned);
        let says_list = says_list(&body);
        let key = body.keys().find(|key| key.eq_ignore_ascii_case("Resources")).cloned();
        let resources = match key.and_then(|key| body.remove(&key)) {
            Some(Value::Array(resources)) => resources,
            Some(Value::Null) | None if says_list || total_results.is_some() => Vec::new(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_))
            | None => return Err(ListError::NotAList),
        };
        Ok(Self { total_results, items_per_page, start_index, next_cursor, resources })
    }
}

impl Serialize for ListResponse {
    /// The RFC's shape; what is `None` is left out.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schemas", &json!([schema::LIST_RESPONSE]))?;
        let numbers = [
            ("totalResults", self.total_results),
            ("itemsPerPage", self.items_per_page),
            ("startIndex", self.start_index),
        ];
        for (key, number) in numbers {
            if let Some(number) = number {
                map.serialize_entry(key, &number)?;
            }
        }
        if let Some(cursor) = &self.next_cursor {
            map.serialize_entry("nextCursor", cursor)?;
        }
        map.serialize_entry("Resources", &self.resources)?;
        map.end()
    }
}

fn says_list(body: &Map<String, Value>) -> bool {
    get_in(body, "schemas").and_then(Value::as_array).is_some_and(|urns| {
        urns.iter().filter_map(Value::as_str).any(|urn| urn.eq_ignore_ascii_case(schema::LIST_RESPONSE))
    })
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_read_in_any_case_and_numbers_as_strings() {
        let list = ListResponse::parse(br#"{"TOTALRESULTS":"2","startindex":1,"resources":[{"id":"a"}]}"#);
        let list = list.unwrap();
        assert_eq!((list.total_results, list.start_index, list.resources.len()), (Some(2), Some(1), 1));
    }

    #[test]
    fn absent_resources_are_empty_only_where_the_body_is_surely_a_list() {
        for body in [
            r#"{"totalResults":0}"#,
            r#"{"totalResults":0,"Resources":null}"#,
            r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"]}"#,
        ] {
            assert_eq!(
                ListResponse::parse(body.as_bytes()).unwrap().resources,
                Vec::<Value>::new(),
                "{body}"
            );
        }
        for body in ["{}", r#"{"Resources":{}}"#, r#"{"Resources":"none","totalResults":0}"#, r#"{"id":"u"}"#]
        {
            assert!(matches!(ListResponse::parse(body.as_bytes()), Err(ListError::NotAList)), "{body}");
        }
        for body in ["", "[]", "<html>", r#"{"Resources":[{"#] {
            assert!(matches!(ListResponse::parse(body.as_bytes()), Err(ListError::NotJson(_))), "{body}");
        }
    }

    #[test]
    fn an_empty_cursor_means_the_last_page() {
        let list = ListResponse::parse(br#"{"Resources":[],"nextCursor":""}"#).unwrap();
        assert_eq!(list.next_cursor, None);
    }

    proptest! {
        #[test]
        fn a_page_survives_the_way_out_and_back(
            total in prop::option::of(any::<u64>()),
            start in prop::option::of(any::<u64>()),
            cursor in prop::option::of("[a-zA-Z0-9+/=]{1,20}"),
            // A number that changes a little each time it is read and written would differ for ever.
            parts in prop::collection::vec((".{0,8}", prop::num::f64::NORMAL), 0..5),
        ) {
            let list = ListResponse {
                total_results: total,
                items_per_page: Some(parts.len() as u64),
                start_index: start,
                next_cursor: cursor,
                resources: parts.into_iter().map(|(id, share)| json!({"id": id, "share": share})).collect(),
            };
            let bytes = serde_json::to_vec(&list).unwrap();
            prop_assert_eq!(ListResponse::parse(&bytes).unwrap(), list);
        }
    }
}
