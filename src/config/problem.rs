//! What `check` says about a configuration: every fault at once, each with its way out.

use std::cell::RefCell;
use std::fmt;

/// Longest value that a problem repeats, in characters.
const VALUE_LENGTH_MAX: usize = 80;

/// Whether the relay starts in spite of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does not start.
    Error,
    /// It starts; somebody should look.
    Warning,
}

/// One thing that is wrong, or odd, about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the relay starts in spite of it.
    pub severity: Severity,
    /// Dotted path of the key, such as `targets.genesys.base_url`; the file itself when no key is at fault.
    pub key: String,
    /// The value as given; absent where it is, or may be, a secret.
    pub value: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

impl Problem {
    /// A fault that keeps the relay from starting.
    pub fn error(key: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            key: key.into(),
            value: None,
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// Something to look at.
    pub fn warning(key: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(key, reason, remedy) }
    }

    /// Repeats the value, cut to a length that fits a line. Never call this with a secret.
    #[must_use]
    pub fn with_value(mut self, value: impl fmt::Display) -> Self {
        let text: String = value.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let cut = text.char_indices().nth(VALUE_LENGTH_MAX).map(|(at, _)| at);
        self.value = Some(cut.map_or_else(|| text.clone(), |at| format!("{}…", &text[..at])));
        self
    }
}

impl fmt::Display for Problem {
    /// Four aligned lines at most; no line end after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.key)?;
        if let Some(value) = &self.value {
            write!(f, "\n  value   {value}")?;
        }
        write!(f, "\n  reason  {}\n  remedy  {}", self.reason, self.remedy)
    }
}

/// Where readers put what they find, so that one fault does not hide the next.
#[derive(Debug, Default)]
pub struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    /// Takes one more.
    pub fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// All of them, errors first, otherwise as they were found.
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut all = self.0.into_inner();
        all.sort_by_key(|problem| problem.severity);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_key_value_reason_remedy() {
        let problem =
            Problem::error("server.listen", "is not an address", "write IP:port").with_value("here\nthere");
        assert_eq!(
            problem.to_string(),
            "error: server.listen\n  value   here there\n  reason  is not an address\n  remedy  write IP:port"
        );
    }

    #[test]
    fn a_long_value_is_cut_on_a_character() {
        let problem = Problem::warning("k", "r", "m").with_value("é".repeat(500));
        assert_eq!(problem.value.unwrap().chars().count(), VALUE_LENGTH_MAX + 1);
    }

    #[test]
    fn errors_come_before_warnings_and_otherwise_keep_their_order() {
        let problems = Problems::default();
        problems.add(Problem::warning("a", "", ""));
        problems.add(Problem::error("b", "", ""));
        problems.add(Problem::error("c", "", ""));
        let keys: Vec<String> = problems.into_sorted().into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["b", "c", "a"]);
    }
}
