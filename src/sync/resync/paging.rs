//! Reading a list to its end, and knowing whether that was all. Pure.
//!
//! A page may hold fewer resources than were asked for, so the next one begins after those that came
//! (RFC 7644 section 3.4.2.4), or where its cursor says (RFC 9865 section 2). A list is whole only when
//! nothing speaks against it: what does is a [`Gap`], and from then on nobody's absence is proven.

use serde::{Deserialize, Serialize};

use crate::scim::list::ListResponse;

/// Most pages of one list: a service that never comes to an end must not be read for ever.
pub const PAGES_MAX: u64 = 200_000;

/// Where a list is being read; kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Paging {
    /// Where the next page begins, where the service gave a cursor.
    pub cursor: Option<String>,
    /// Resources received so far.
    pub received: u64,
    /// How many there are in all, as the first page that told has told.
    pub total: Option<u64>,
    /// Pages read so far.
    pub pages: u64,
}

/// Why a list may lack somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// The count changed while pages were read, so that they do not fit together.
    #[error("the number of resources changed while pages were read")]
    TotalChanged,
    /// A page came empty before the end.
    #[error("a page came empty before the last resource")]
    EndedEarly,
    /// Pages by index without `totalResults`: nothing says where the end is.
    #[error("the vendor does not say how many resources there are")]
    NoTotal,
    /// More came than there are.
    #[error("more resources came than the vendor says there are")]
    Overfull,
    /// A page begins elsewhere than was asked.
    #[error("a page began elsewhere than was asked")]
    Misplaced,
    /// Resources came that had come before.
    #[error("resources came twice, so that others may have been left out")]
    Repeated,
    /// A resource without an id.
    #[error("a resource came without an id")]
    Nameless,
    /// Nothing came where the vendor had resources.
    #[error("the list is empty, though the vendor had resources")]
    EmptyThoughKnown,
    /// Less than half of what the vendor is known to have.
    #[error("less than half of what the vendor had was listed")]
    Shrunk,
    /// Too many pages.
    #[error("the list has no end")]
    Endless,
    /// A page was refused, did not come, or was no list.
    #[error("a page could not be read")]
    Unread,
    /// A lookup was answered with others than were asked for.
    #[error("a lookup was answered with resources that do not match; does the vendor support filters?")]
    Unfiltered,
    /// A group came without its members.
    #[error("groups came without their members")]
    MembersLeftOut,
}

/// What follows a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Another page.
    More,
    /// Nothing: all was read.
    End,
}

impl Paging {
    /// The 1-based index at which the next page begins.
    pub const fn start_index(&self) -> u64 {
        self.received + 1
    }

    /// Takes a page in.
    pub fn absorb(&mut self, page: &ListResponse) -> Result<After, Gap> {
        let by_cursor = self.cursor.is_some() || page.next_cursor.is_some();
        let came = page.resources.len() as u64;
        if !by_cursor && page.start_index.is_some_and(|start| came > 0 && start != self.start_index()) {
            return Err(Gap::Misplaced);
        }
        match (self.total, page.total_results) {
            (Some(before), Some(now)) if before != now => return Err(Gap::TotalChanged),
            (None, Some(now)) => self.total = Some(now),
            (Some(_) | None, _) => {}
        }
        let repeated = self.cursor.is_some() && self.cursor == page.next_cursor;
        self.received += came;
        self.pages += 1;
        self.cursor.clone_from(&page.next_cursor);
        if self.total.is_some_and(|total| self.received > total) {
            return Err(Gap::Overfull);
        }
        let complete = self.total.is_some_and(|total| self.received == total);
        let endless = self.pages >= PAGES_MAX;
        match (&self.cursor, self.total) {
            (Some(_), _) if repeated => Err(Gap::Repeated),
            (None, Some(_)) if complete => Ok(After::End),
            (None, None) if by_cursor => Ok(After::End),
            (None, None) => Err(Gap::NoTotal),
            (None, Some(_)) if by_cursor || came == 0 => Err(Gap::EndedEarly),
            (Some(_) | None, _) if endless => Err(Gap::Endless),
            (Some(_) | None, _) => Ok(After::More),
        }
    }
}

/// Whether a list that reads as whole can be, held against how many resources the relay knows there.
pub fn plausible(listed: u64, known: u64) -> Result<(), Gap> {
    match listed {
        0 if known > 0 => Err(Gap::EmptyThoughKnown),
        listed if listed.saturating_mul(2) < known => Err(Gap::Shrunk),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn page(start: Option<u64>, total: Option<u64>, count: usize, cursor: Option<&str>) -> ListResponse {
        ListResponse {
            total_results: total,
            start_index: start,
            next_cursor: cursor.map(str::to_owned),
            resources: vec![json!({}); count],
            ..ListResponse::default()
        }
    }

    fn read(pages: &[ListResponse]) -> Result<After, Gap> {
        let mut paging = Paging::default();
        let mut after = Ok(After::More);
        for page in pages {
            assert_eq!(after, Ok(After::More), "a page too many");
            after = paging.absorb(page);
        }
        after
    }

    #[test]
    fn only_a_list_that_nothing_speaks_against_is_whole() {
        let index = |start, total, count| page(Some(start), Some(total), count, None);
        for (pages, expected) in [
            (vec![index(1, 3, 2), index(3, 3, 1)], Ok(After::End)),
            (vec![index(1, 0, 0)], Ok(After::End)),
            (vec![index(1, 3, 2)], Ok(After::More)),
            (vec![index(1, 3, 2), index(3, 2, 0)], Err(Gap::TotalChanged)),
            (vec![index(1, 3, 2), index(3, 4, 2)], Err(Gap::TotalChanged)),
            (vec![index(1, 3, 2), index(3, 3, 0)], Err(Gap::EndedEarly)),
            (vec![index(1, 3, 2), index(1, 3, 1)], Err(Gap::Misplaced)),
            (vec![index(1, 1, 2)], Err(Gap::Overfull)),
            (vec![page(Some(1), None, 2, None)], Err(Gap::NoTotal)),
            (vec![page(None, Some(3), 2, Some("b")), page(None, Some(3), 1, None)], Ok(After::End)),
            (vec![page(None, None, 2, Some("b")), page(None, None, 0, None)], Ok(After::End)),
            (vec![page(None, Some(3), 2, Some("b")), page(None, Some(3), 0, None)], Err(Gap::EndedEarly)),
            (vec![page(None, None, 2, Some("b")), page(None, None, 2, Some("b"))], Err(Gap::Repeated)),
        ] {
            assert_eq!(read(&pages), expected, "{pages:?}");
        }
    }

    #[test]
    fn a_list_that_lost_most_of_what_was_there_is_not_believed() {
        for (listed, known, expected) in [
            (0, 0, Ok(())),
            (0, 1, Err(Gap::EmptyThoughKnown)),
            (4, 10, Err(Gap::Shrunk)),
            (5, 10, Ok(())),
            (20, 10, Ok(())),
        ] {
            assert_eq!(plausible(listed, known), expected, "{listed} of {known}");
        }
    }

    proptest! {
        /// Whatever the sizes to which a service clamps its pages, all is read once, and no more.
        #[test]
        fn clamped_pages_are_read_to_the_end(total in 0_u64..300, sizes in prop::collection::vec(1_usize..40, 1..20)) {
            let mut paging = Paging::default();
            for turn in 0.. {
                let left = usize::try_from(total - paging.received).unwrap();
                let count = sizes[turn % sizes.len()].min(left);
                let after = paging.absorb(&page(Some(paging.start_index()), Some(total), count, None));
                prop_assert!(after.is_ok());
                if after == Ok(After::End) {
                    break;
                }
            }
            prop_assert_eq!(paging.received, total);
        }

        /// A service that leaves resources out anywhere is never taken for whole.
        #[test]
        fn a_list_that_lacks_somebody_is_never_whole(counts in prop::collection::vec(0_usize..30, 1..20), lacking in 1_u64..50) {
            let total = counts.iter().sum::<usize>() as u64 + lacking;
            let mut paging = Paging::default();
            for count in counts {
                match paging.absorb(&page(None, Some(total), count, None)) {
                    Ok(After::More) => {}
                    Ok(After::End) => prop_assert!(false, "taken for whole"),
                    Err(_) => break,
                }
            }
        }
    }
}
