//! What a feed says, in the relay's own format: written when it is taken in, read when it is merged.

pub use super::formats::mapped::records::{Records, is_there};
pub use super::formats::native::parse as read;
pub use super::formats::native::write::{body, change};
