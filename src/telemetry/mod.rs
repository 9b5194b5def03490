//! What operators see: metrics, logs, traces, redaction.

pub mod logs;
pub mod metrics;
pub mod redaction;
pub mod traces;

/// An error and all that caused it, on one line, for people.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let next = cause.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("open the store")]
        Plain(#[source] std::io::Error),
        #[error("open the store: {0}")]
        Repeating(#[source] std::io::Error),
    }

    #[test]
    fn the_chain_names_each_cause_once() {
        for failure in [Failure::Plain, Failure::Repeating] {
            assert_eq!(chain(&failure(std::io::Error::other("no room"))), "open the store: no room");
        }
    }
}
