//! Asks identity providers for what their webhooks leave out, and gives the answers to the inbox.
//!
//! A webhook is accepted, durable and merged before anybody is asked. What it names without saying
//! what has become of it is an [`Errand`](crate::store::Errand) by then: one row for each record,
//! however many webhooks name it. [`run`] takes what is due, asks through a stack of the same layers
//! as a target's ([`Client`]), and appends what it learned as an event of the source, as if that had
//! been posted. What fails is tried again, later and later, and is never forgotten.
//!
//! An errand may be run twice, since a process may end between the append and the note that it is
//! done. That is safe: what is read twice is merged twice, and changes nothing the second time.

mod client;
mod missed;
mod record;
mod runner;
mod subscription;
#[cfg(test)]
mod tests;
mod verification;
pub mod vigil;

pub use client::Client;
pub use runner::{Runner, run};
