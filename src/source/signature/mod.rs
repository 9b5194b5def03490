//! How senders prove who they are: one file a scheme.

pub mod standard_webhooks;

/// Why secrets cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing could be verified.
    #[error("there is no secret")]
    None,
    /// Anybody could sign.
    #[error("a secret is empty")]
    Empty,
}
