//! The server over real ports, on the real store.

mod admin;
mod alarms;
mod client;
mod connections;
mod console;
mod entries;
mod faulty;
mod fixture;
mod health;
mod kinds;
mod ledger;
mod people;
mod senders;
mod timeline;
mod webhooks;
