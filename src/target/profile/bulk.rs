//! Several operations in one request.

use std::num::NonZeroU32;

use http::Method;
use serde::Deserialize;

/// Several operations in one request, RFC 7644 section 3.7.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bulk {
    /// Whether the vendor takes them.
    pub supported: BulkSupport,
    /// Path of the endpoint below the base URL.
    pub path: String,
    /// Most operations in one request; absent: as the service says of itself, else 100.
    pub max_operations: Option<NonZeroU32>,
    /// Most bytes of one request; absent: as the service says of itself, else 1 MiB.
    pub max_payload_size: Option<NonZeroU32>,
    /// The methods that an operation may have.
    pub methods: Vec<String>,
    /// Whether an operation's `version` is honoured as `If-Match` is. Otherwise what depends on a
    /// version goes in a request of its own.
    pub version: bool,
    /// Whether the answer repeats each operation's `bulkId`. Otherwise creations go in requests of
    /// their own, since nothing else tells their answers apart.
    pub bulk_id_echo: bool,
    /// Whether an operation may name what another one of the same request creates, as `bulkId:` and its
    /// `bulkId` (RFC 7644 section 3.7.2). A group's members then go along with the users who are created.
    pub references: bool,
    /// What a request costs of the vendor's quota, where a request of one operation costs 1.
    pub cost_per_request: u32,
    /// What each operation in it costs besides.
    pub cost_per_operation: u32,
}

/// Whether a vendor takes bulk requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BulkSupport {
    /// As the service says of itself in its `ServiceProviderConfig`.
    #[default]
    Auto,
    /// It does.
    Yes,
    /// It does not.
    No,
}

impl Default for Bulk {
    fn default() -> Self {
        Self {
            supported: BulkSupport::Auto,
            path: "Bulk".to_owned(),
            max_operations: None,
            max_payload_size: None,
            methods: ["POST", "PUT", "PATCH", "DELETE"].map(str::to_owned).into(),
            version: true,
            bulk_id_echo: true,
            references: false,
            cost_per_request: 1,
            cost_per_operation: 0,
        }
    }
}

impl Bulk {
    /// Whether an operation with this method, and a version to hold or none, may be part of a request.
    pub fn takes(&self, method: &Method, versioned: bool) -> bool {
        self.methods.iter().any(|known| known.eq_ignore_ascii_case(method.as_str()))
            && (self.version || !versioned)
            && (self.bulk_id_echo || *method != Method::POST)
    }

    /// Whether one request of so many operations costs less than so many requests.
    pub fn saves(&self, operations: usize) -> bool {
        let operations = u64::try_from(operations).unwrap_or(u64::MAX);
        let together = u64::from(self.cost_per_operation).saturating_mul(operations);
        together.saturating_add(self.cost_per_request.into()) < operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_goes_along_only_where_its_answer_and_its_version_count() {
        let (all, no_version, no_echo) = (
            Bulk::default(),
            Bulk { version: false, ..Bulk::default() },
            Bulk { bulk_id_echo: false, ..Bulk::default() },
        );
        for (method, versioned, expected) in [
            (Method::POST, false, [true, true, false]),
            (Method::PATCH, false, [true, true, true]),
            (Method::PATCH, true, [true, false, true]),
            (Method::DELETE, true, [true, false, true]),
            (Method::GET, false, [false, false, false]),
        ] {
            let found = [&all, &no_version, &no_echo].map(|bulk| bulk.takes(&method, versioned));
            assert_eq!(found, expected, "{method} {versioned}");
        }
        let few = Bulk { methods: vec!["post".to_owned()], ..Bulk::default() };
        assert!(few.takes(&Method::POST, false) && !few.takes(&Method::PUT, false));
    }

    #[test]
    fn packing_pays_only_where_the_vendor_counts_requests() {
        let by_request = Bulk::default();
        assert!(!by_request.saves(0) && !by_request.saves(1) && by_request.saves(2));
        let by_operation = Bulk { cost_per_request: 0, cost_per_operation: 1, ..Bulk::default() };
        assert!(!by_operation.saves(1_000));
        let dear = Bulk { cost_per_request: 10, ..Bulk::default() };
        assert!(!dear.saves(10) && dear.saves(11));
    }
}
