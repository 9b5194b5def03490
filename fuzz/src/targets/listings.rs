//! A vendor's lists, page after page, as a resync reads them.

use scim_relay::scim::list::ListResponse;
use scim_relay::sync::resync::paging::{After, Paging};

use super::texts;
use crate::input::Input;

/// Most pages of one input.
const PAGES_MAX: usize = 64;

/// A page a line.
pub fn read(input: &[u8]) {
    let mut input = Input::of(input);
    let mut paging = Paging::default();
    let mut came = 0;
    for _ in 0..PAGES_MAX {
        let Ok(page) = ListResponse::parse(input.line()) else { break };
        let after = paging.absorb(&page);
        let kept = serde_json::to_string(&paging).expect("where a list is read is remembered");
        assert_eq!(serde_json::from_str::<Paging>(&kept).ok().as_ref(), Some(&paging), "{kept}");
        came += page.resources.len() as u64;
        match after {
            Ok(After::More) => assert_eq!(paging.start_index(), came + 1, "the next begins after what came"),
            Ok(After::End) => {
                let is_whole = paging.total.is_none_or(|total| total == came);
                assert!(is_whole, "a list of {:?} ends with {came}", paging.total);
                break;
            }
            Err(_) => break,
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"totalResults":3,"startIndex":1,"itemsPerPage":2,"Resources":[{"id":"1"},{"id":"2"}]}
{"totalResults":3,"startIndex":3,"Resources":[{"id":"3"}]}"#,
        r#"{"totalResults":"2","nextCursor":"a","Resources":[{"id":"1"}]}
{"totalResults":2,"nextCursor":"b","Resources":[]}
{"totalResults":2,"Resources":[{"id":"2"}]}"#,
        r#"{"nextCursor":"a","Resources":[{"id":"1"}]}
{"Resources":[]}"#,
        r#"{"totalResults":0}"#,
    ])
}
