//! The words of SCIM 2.0 (RFC 7643, RFC 7644): pure, no I/O, nothing of ours.
pub mod etag;
pub mod schema;
