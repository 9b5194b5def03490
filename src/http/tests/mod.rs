//! The server over real ports, on the real store.

mod admin;
mod alarms;
mod client;
mod connections;
mod faulty;
mod fixture;
mod health;
mod ledger;
mod senders;
mod timeline;
mod webhooks;
