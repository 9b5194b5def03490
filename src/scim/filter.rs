//! The filter language of RFC 7644 section 3.4.2.2: read, match against a resource, and build.

mod build;
mod matches;
mod parse;

pub use build::{any_of, eq};
pub use matches::matches;
pub use parse::{parse, parse_value_filter};

use serde_json::Value;

use crate::scim::path::AttributePath;

/// A filter, as a tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of them hold.
    And(Vec<Filter>),
    /// One of them holds.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// The attribute has a value (`pr`).
    Present(AttributePath),
    /// The attribute compares so with a literal.
    Compare(AttributePath, Comparison, Value),
    /// One value of a multi-valued attribute meets the whole inner filter: `emails[type eq "work"]`.
    Values(AttributePath, Box<Filter>),
}

/// The comparison operators, RFC 7644 table 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `eq`
    Equal,
    /// `ne`
    NotEqual,
    /// `co`
    Contains,
    /// `sw`
    StartsWith,
    /// `ew`
    EndsWith,
    /// `gt`
    Greater,
    /// `ge`
    GreaterOrEqual,
    /// `lt`
    Less,
    /// `le`
    LessOrEqual,
}

/// Why a text is no filter: the remedy is the sender's in every case (400 `invalidFilter`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Longer than [`BYTES_MAX`].
    #[error("the filter is longer than {BYTES_MAX} bytes")]
    TooLong,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("the filter is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Not in the grammar; `at` is the byte where reading stopped.
    #[error("the filter does not follow the grammar at byte {at}: {expected} was expected")]
    Syntax {
        /// Offset in bytes.
        at: usize,
        /// What would have been right.
        expected: &'static str,
    },
}

/// The longest filter that is read, in bytes.
pub const BYTES_MAX: usize = 64 * 1024;

/// The deepest nesting of groups, `not` and value paths that is read.
pub const DEPTH_MAX: usize = 32;
