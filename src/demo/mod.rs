//! The demonstration: a small company's changes, two sandbox vendors, a relay, and a proof at the end.
//!
//! Nothing is configured and nothing leaves the machine. The events are signed and posted over HTTP
//! as an identity provider would, with duplicates and out of order; the vendors lose calls and
//! answers, throttle, and are edited behind the relay's back. The proof reads both vendors page by
//! page and compares them with the directory that the events describe.

pub mod company;
pub mod proof;
mod story;

pub use story::{DemoError, Options, run};
