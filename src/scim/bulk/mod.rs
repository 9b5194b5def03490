//! Several operations in one request, RFC 7644 section 3.7.
//!
//! [`request`] writes them within the service's limits, [`answer`] reads what became of each. A
//! service may reorder its answers, leave some out and leave the `bulkId` away, so that what belongs
//! to what is a question of its own: [`correlate`](answer::correlate). [`support`] reads what a service
//! says of itself.

pub mod answer;
pub mod request;
pub mod support;
