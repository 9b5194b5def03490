//! What PostgreSQL's errors mean: which lie with the data, which pass, and what may be shown of them.

use std::error::Error;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// What the server said when it refused. Its `DETAIL` is left out: it may quote a row.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {})", code.code())]
pub(super) struct Refused {
    code: SqlState,
    message: String,
}

/// No answer came within the time that is given to one.
#[derive(Debug, thiserror::Error)]
#[error("the database gave no answer within {} s", limit.as_secs())]
pub(super) struct TimedOut {
    /// How long it was waited for.
    pub(super) limit: Duration,
}

/// A column holds what our own type refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(pub(super) String);

/// Our error for the driver's, with as much of its cause as may be shown.
pub(super) fn plain(error: tokio_postgres::Error) -> Box<dyn Error + Send + Sync> {
    match error.as_db_error() {
        Some(said) => Box::new(Refused { code: said.code().clone(), message: said.message().to_owned() }),
        None => Box::new(error),
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) {
            return Self::Busy;
        }
        if error.source().is_some_and(<dyn Error>::is::<Unreadable>) {
            return Self::Corrupt { table: "the database", place: error.to_string() };
        }
        Self::Unavailable { source: plain(error) }
    }
}

impl From<TimedOut> for StoreError {
    fn from(error: TimedOut) -> Self {
        Self::Unavailable { source: Box::new(error) }
    }
}

/// Whether two transactions were in each other's way: nothing was done, and the next try may succeed.
pub(super) fn is_conflict(error: &StoreError) -> bool {
    refusal(error).is_some_and(|refused| {
        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(&refused.code)
    })
}

/// Whether the server refused a value or a row, so that the same statement will fail again: classes
/// 22 (data exception), 23 (integrity constraint) and 54 (program limit).
pub(super) fn blames_data(error: &StoreError) -> bool {
    refusal(error).is_some_and(|refused| ["22", "23", "54"].iter().any(|class| is_of(refused, class)))
}

/// Whether a connection is as good as before after a transaction that ended with this error. One that
/// was lost, timed out, reached a standby, or holds plans of an older schema is not.
pub(super) fn leaves_sound(error: &StoreError) -> bool {
    match error {
        StoreError::Busy | StoreError::Corrupt { .. } | StoreError::Deposed { .. } => true,
        StoreError::Unavailable { .. } => {
            is_conflict(error)
                || blames_data(error)
                || refusal(error).is_some_and(|refused| refused.code == SqlState::LOCK_NOT_AVAILABLE)
        }
    }
}

/// Why it failed, for people: what the store adds to its cause is left out.
pub(super) fn reason(error: &StoreError) -> String {
    let first: &dyn Error = match error {
        StoreError::Unavailable { source } => source.as_ref(),
        StoreError::Busy | StoreError::Corrupt { .. } | StoreError::Deposed { .. } => error,
    };
    let causes = std::iter::successors(Some(first), |cause| (**cause).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn refusal(error: &StoreError) -> Option<&Refused> {
    match error {
        StoreError::Unavailable { source } => source.downcast_ref(),
        StoreError::Busy | StoreError::Corrupt { .. } | StoreError::Deposed { .. } => None,
    }
}

fn is_of(refused: &Refused, class: &str) -> bool {
    refused.code.code().starts_with(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_sorted_by_its_code() {
        // (SQLSTATE, is a conflict, lies with the data, leaves the connection sound)
        let cases = [
            ("40001", true, false, true),
            ("40P01", true, false, true),
            ("22P05", false, true, true),
            ("23505", false, true, true),
            ("54000", false, true, true),
            ("55P03", false, false, true),
            ("57014", false, false, false),
            ("57P01", false, false, false),
            ("25006", false, false, false),
            ("53100", false, false, false),
            ("0A000", false, false, false),
        ];
        for (code, conflict, data, sound) in cases {
            let refused = Refused { code: SqlState::from_code(code), message: "no".to_owned() };
            let error = StoreError::Unavailable { source: Box::new(refused) };
            let sorted = (is_conflict(&error), blames_data(&error), leaves_sound(&error));
            assert_eq!(sorted, (conflict, data, sound), "{code}");
        }
        assert!(!leaves_sound(&TimedOut { limit: Duration::from_secs(1) }.into()));
        assert!(leaves_sound(&StoreError::Busy));
    }
}
