//! scim-relay: sources feed directories, targets follow directories.
//!
//! Identity providers post signed change events; the relay keeps what they say as durable desired
//! state and makes each vendor's SCIM 2.0 directory equal to it. `docs/ARCHITECTURE.md` is the map.

pub mod app;
pub mod audit;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod directory;
pub mod errands;
pub mod feed;
pub mod http;
pub mod mapping;
pub mod sandbox;
pub mod scim;
pub mod source;
pub mod store;
pub mod sync;
pub mod target;
pub mod telemetry;
