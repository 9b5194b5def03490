//! The composition root: the only place that sees every concrete type.

mod control;
mod engine;
mod server;
mod settings;

pub use engine::{Engine, StartError};
pub use server::{Running, start};
