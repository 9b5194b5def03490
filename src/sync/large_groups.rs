//! Which groups are large: their members are left out of what is read and answered, so that one
//! change to a group of 100,000 costs what it changes.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use http::header::CONTENT_LENGTH;

use crate::target::Answer;

/// An answer of this size is that of a large group, in bytes.
const LARGE: usize = 128 * 1024;
/// Most groups that are remembered; a large one that is forgotten is read whole once more.
const GROUPS_MAX: usize = 10_000;

/// Vendor ids of groups that have shown themselves to be large.
#[derive(Debug, Default)]
pub(super) struct LargeGroups(Mutex<HashSet<String>>);

impl LargeGroups {
    /// Whether a group is known to be large.
    pub(super) fn holds(&self, vendor_id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(vendor_id)
    }

    /// Takes note of an answer that was about one group. Answers whether it shows it to be large.
    pub(super) fn note(&self, vendor_id: &str, answer: &Answer) -> bool {
        // The body of a write's answer is left out when it is over the limit.
        let announced =
            answer.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let large = answer.body.len().max(announced.unwrap_or(0)) >= LARGE;
        if large {
            let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if groups.len() >= GROUPS_MAX {
                groups.clear();
            }
            groups.insert(vendor_id.to_owned());
        }
        large
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;

    fn answer(body: usize, announced: Option<usize>) -> Answer {
        let mut answer = Answer { body: vec![b' '; body].into(), ..Answer::new(StatusCode::OK) };
        if let Some(length) = announced {
            answer.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        answer
    }

    #[test]
    fn an_answer_that_is_large_or_says_so_makes_a_group_large() {
        let groups = LargeGroups::default();
        assert!(!groups.note("small", &answer(LARGE - 1, Some(LARGE - 1))));
        assert!(groups.note("read", &answer(LARGE, None)));
        assert!(groups.note("left out", &answer(0, Some(LARGE))));
        assert_eq!(["small", "read", "left out"].map(|id| groups.holds(id)), [false, true, true]);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let groups = LargeGroups::default();
        for number in 0..=GROUPS_MAX {
            groups.note(&number.to_string(), &answer(0, Some(LARGE)));
        }
        assert!(groups.0.lock().unwrap().len() <= GROUPS_MAX && groups.holds(&GROUPS_MAX.to_string()));
    }
}
