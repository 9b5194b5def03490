//! The demonstration: a small company's changes, sandbox vendors, a relay, and a proof at the end.

pub mod company;
pub mod proof;
