//! A group's members where the vendor shows them in pages below the group.
//!
//! Absence needs proof: what was read counts only if it is as much as the vendor said that there is, and
//! nobody twice. Members who come or go between two pages shift the others.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::directory::AttributePath;
use crate::sync::plan::diff;

/// Most members of a group that are read.
const MEMBERS_MAX: usize = 100_000;

/// The members that were read so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberPages {
    members: BTreeMap<String, Value>,
    received: u64,
}

/// What a page has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageRead {
    /// There are more.
    More,
    /// All were read.
    Whole,
    /// What was read does not tell who is in the group.
    Useless,
}

impl MemberPages {
    /// The 1-based index of the page that comes next.
    pub const fn next_start(&self) -> u64 {
        self.received + 1
    }

    /// Takes in a page: a list response, or an object with `members` and, perhaps, `memberSize`.
    pub fn absorb(&mut self, page: &Map<String, Value>) -> PageRead {
        let at = |name: &str| diff::read(page, &AttributePath::new(name));
        let Some(members) = at("Resources")
            .or_else(|| at("members"))
            .map_or(Some(&[][..]), |members| members.as_array().map(Vec::as_slice))
        else {
            return PageRead::Useless;
        };
        let total = at("totalResults").or_else(|| at("memberSize")).and_then(Value::as_u64);
        for member in members {
            let Some((id, member)) = member_of(member) else { return PageRead::Useless };
            self.members.insert(id, member);
        }
        self.received += members.len() as u64;
        let is_plausible = self.members.len() as u64 == self.received && self.members.len() <= MEMBERS_MAX;
        match total {
            _ if !is_plausible => PageRead::Useless,
            Some(total) if self.received == total => PageRead::Whole,
            Some(total) if self.received < total && !members.is_empty() => PageRead::More,
            Some(_) | None => PageRead::Useless,
        }
    }

    /// The group with these as its members, whatever it showed by itself.
    pub fn complete(self, group: &mut Map<String, Value>) {
        group.retain(|name, _| !name.eq_ignore_ascii_case("members"));
        group.insert("members".to_owned(), self.members.into_values().collect());
    }
}

/// A member's id, and what is said of it elsewhere in SCIM.
fn member_of(member: &Value) -> Option<(String, Value)> {
    let member = member.as_object()?;
    let at = |name: &str| diff::read(member, &AttributePath::new(name)).and_then(Value::as_str);
    let id = at("value").or_else(|| at("id"))?;
    let shown = match at("type") {
        Some(kind) => json!({ "value": id, "type": kind }),
        None => json!({ "value": id }),
    };
    Some((id.to_owned(), shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pages: &[Value]) -> (PageRead, Value) {
        let mut all = MemberPages::default();
        let mut last = PageRead::More;
        for page in pages {
            assert_eq!(last, PageRead::More);
            last = all.absorb(page.as_object().unwrap());
        }
        let mut group = Map::new();
        all.complete(&mut group);
        (last, group["members"].take())
    }

    #[test]
    fn all_pages_together_are_the_members() {
        let (one, two) = (json!([{"value": "a", "type": "User"}]), json!([{"id": "b"}]));
        for pages in [
            [json!({"totalResults": 2, "Resources": one}), json!({"totalResults": 2, "Resources": two})],
            [json!({"memberSize": 2, "members": one}), json!({"memberSize": 2, "members": two})],
        ] {
            assert_eq!(
                read(&pages),
                (PageRead::Whole, json!([{"value": "a", "type": "User"}, {"value": "b"}]))
            );
        }
        assert_eq!(read(&[json!({"totalResults": 0})]), (PageRead::Whole, json!([])));
    }

    #[test]
    fn what_does_not_add_up_tells_nothing() {
        let a = json!([{"value": "a"}]);
        for (what, pages) in [
            ("not a list", vec![json!({})]),
            ("no members in it", vec![json!({"totalResults": 1, "Resources": "a"})]),
            ("fewer than there are", vec![json!({"totalResults": 3, "Resources": []})]),
            ("more than there are", vec![json!({"totalResults": 0, "Resources": a})]),
            (
                "one twice",
                vec![json!({"totalResults": 2, "Resources": a}), json!({"totalResults": 2, "Resources": a})],
            ),
            ("nobody knows how many", vec![json!({"Resources": a})]),
            ("one without an id", vec![json!({"totalResults": 1, "Resources": [{"display": "a"}]})]),
        ] {
            assert_eq!(read(&pages).0, PageRead::Useless, "{what}");
        }
    }
}
