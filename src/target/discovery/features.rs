//! `/ServiceProviderConfig`, RFC 7643 section 5; its pagination, RFC 9865 section 4.

use std::collections::BTreeSet;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{count, flag, text};
use super::pages::{self, Told, Unreadable};
use crate::scim::resource::get;
use crate::scim::schema;

/// Limits of what is believed; no service means more.
const OPERATIONS_MAX: u32 = 100_000;
const RESULTS_MAX: u32 = 1_000_000;
const SECONDS_MAX: u32 = 30 * 24 * 60 * 60;
const SCHEMES_MAX: usize = 16;

/// What a server says that it supports. `None`: it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// PATCH.
    pub patch: Option<bool>,
    /// Several operations in one request.
    pub bulk: Bulk,
    /// Filters.
    pub filter: Filter,
    /// Versions. That it says so proves nothing of `If-Match`.
    pub etag: Option<bool>,
    /// Sorted lists.
    pub sort: Option<bool>,
    /// Changes of passwords.
    pub change_password: Option<bool>,
    /// How it lets callers in, by type.
    pub authentication_schemes: BTreeSet<String>,
    /// How it pages, RFC 9865.
    pub pagination: Option<Pagination>,
}

/// Several operations in one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bulk {
    /// Whether there is such a thing.
    pub supported: Option<bool>,
    /// Most operations in one request.
    pub max_operations: Option<u32>,
    /// Most bytes of one request.
    pub max_payload_size: Option<u32>,
}

/// Filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Whether there is such a thing.
    pub supported: Option<bool>,
    /// Most resources in one answer.
    pub max_results: Option<u32>,
}

/// How a server pages, RFC 9865 section 4.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pagination {
    /// By cursor.
    pub cursor: Option<bool>,
    /// By index.
    pub index: Option<bool>,
    /// Which of them where a request names neither: `cursor` or `index`.
    pub default_method: Option<String>,
    /// The page where a request names no size.
    pub default_page_size: Option<u32>,
    /// The largest page.
    pub max_page_size: Option<u32>,
    /// How long a cursor holds, in seconds.
    pub cursor_timeout_seconds: Option<u32>,
}

const WHAT: &str = "a service provider configuration";

impl Features {
    /// Reads an answer of `/ServiceProviderConfig`.
    pub fn read(status: StatusCode, body: &[u8]) -> Result<Told<Self>, Unreadable> {
        match pages::body(status, body, WHAT)? {
            Told::Is(body) => Self::of(&pages::single(body)).map(Told::Is),
            Told::NotOffered => Ok(Told::NotOffered),
        }
    }

    fn of(config: &Value) -> Result<Self, Unreadable> {
        // A page of a login, or an error in its own words under 200, supports nothing and denies nothing.
        if !is_config(config) {
            return Err(Unreadable::NotThat(WHAT));
        }
        let supported = |part| get(config, part).and_then(supported);
        let number = |part, name, most| get(get(config, part)?, name).and_then(|value| count(value, most));
        Ok(Self {
            patch: supported("patch"),
            bulk: Bulk {
                supported: supported("bulk"),
                max_operations: number("bulk", "maxOperations", OPERATIONS_MAX),
                max_payload_size: number("bulk", "maxPayloadSize", u32::MAX),
            },
            filter: Filter {
                supported: supported("filter"),
                max_results: number("filter", "maxResults", RESULTS_MAX),
            },
            etag: supported("etag"),
            sort: supported("sort"),
            change_password: supported("changePassword"),
            authentication_schemes: schemes(config),
            pagination: get(config, "pagination").filter(|value| value.is_object()).map(pagination),
        })
    }
}

fn is_config(config: &Value) -> bool {
    let parts = ["patch", "bulk", "filter", "etag", "sort", "changePassword", "authenticationSchemes"];
    let says = get(config, "schemas").and_then(Value::as_array).is_some_and(|urns| {
        let urns = urns.iter().filter_map(Value::as_str);
        urns.into_iter().any(|urn| urn.eq_ignore_ascii_case(schema::SERVICE_PROVIDER_CONFIG))
    });
    says || parts.iter().any(|part| get(config, part).is_some())
}

/// `{"supported": true}`, or as some servers have it, `true`.
fn supported(part: &Value) -> Option<bool> {
    get(part, "supported").map_or_else(|| flag(part), flag)
}

fn schemes(config: &Value) -> BTreeSet<String> {
    let schemes = match get(config, "authenticationSchemes") {
        Some(Value::Array(schemes)) => schemes.as_slice(),
        Some(scheme @ (Value::Object(_) | Value::String(_))) => std::slice::from_ref(scheme),
        Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => &[],
    };
    let named = |scheme: &Value| {
        let name = get(scheme, "type").or_else(|| get(scheme, "name")).unwrap_or(scheme);
        text(name).map(|name| name.to_ascii_lowercase())
    };
    schemes.iter().take(SCHEMES_MAX).filter_map(named).collect()
}

fn pagination(part: &Value) -> Pagination {
    let number = |name, most| get(part, name).and_then(|value| count(value, most));
    Pagination {
        cursor: get(part, "cursor").and_then(flag),
        index: get(part, "index").and_then(flag),
        default_method: get(part, "defaultPaginationMethod").and_then(text),
        default_page_size: number("defaultPageSize", RESULTS_MAX),
        max_page_size: number("maxPageSize", RESULTS_MAX),
        cursor_timeout_seconds: number("cursorTimeout", SECONDS_MAX),
    }
}
