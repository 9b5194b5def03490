//! The relay as a whole: the built program, real vendors, real faults.

#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "tests say what went wrong by panicking, and print what they measured"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests read settings of their own, and call vendors with clients of their own"
)]

mod admin;
mod big_groups;
mod bulk;
mod capped_bodies;
mod commands;
mod conflicts;
mod console;
mod convergence;
mod crash;
mod database_outages;
mod derived_groups;
mod faults;
mod feeds;
mod full_disk;
mod holds;
mod lifecycle;
mod line;
mod listings;
mod long_day;
mod mapping;
mod memberships;
mod newcomer;
mod pains;
mod priority;
mod probe;
mod profiles;
mod providers;
mod replicas;
mod resync;
mod support;
mod thin_events;
mod timeline;
mod traces;
mod tutorials;
mod webhooks;
