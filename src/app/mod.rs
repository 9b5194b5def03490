//! The composition root: the only place that sees every concrete type.

mod engine;
mod settings;

pub use engine::{Engine, StartError};
