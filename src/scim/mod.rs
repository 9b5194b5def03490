//! The words of SCIM 2.0 (RFC 7643, RFC 7644): pure, no I/O, nothing of ours.
//!
//! | module | holds |
//! |---|---|
//! | [`schema`] | URNs and canonical attribute names |
//! | [`definition`] | what each attribute is: type, mutability, case, sub-attributes |
//! | [`resource`] | reading a resource as it came, in any case |
//! | [`etag`] | a version, byte for byte |
//! | [`filter`] | the filter language: parse, match, and build |
//! | [`path`] | the path of a PATCH operation |
//! | [`patch`] | PATCH: the request, and applying it |
//! | [`bulk`] | several operations in one request, and what became of each |
//! | [`list`], [`error`] | the two envelopes |
//!
//! Reading is tolerant, since vendors differ; writing is what the RFC says.

pub mod bulk;
pub mod definition;
pub mod error;
pub mod etag;
pub mod filter;
pub mod list;
pub mod patch;
pub mod path;
pub mod resource;
pub mod schema;
