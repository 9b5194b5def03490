//! Any JSON API: paths by template, attributes by the fields of a mapped source.

use http::StatusCode;
use serde_json::Value;

use super::{Ask, Connector, Members, Next, Page, all_members, one, page, segment};
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Kind, Operation, ResourceKey};
use crate::source::formats::mapped::{self, Field, Pointer};
use crate::source::formats::view::View;
use crate::source::json::Malformed;
use crate::source::signature::time::Format;

/// `kind = "rest"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
    /// How users are read.
    pub user: Option<Record>,
    /// How groups are read.
    pub group: Option<Record>,
    /// How the members of a group are read, where its record does not have them.
    pub members: Option<MemberList>,
    /// Where, in a group's record, the ids of its members stand.
    pub inline_members: Option<Pointer>,
    /// Where a record's time of change stands, and how it is written.
    pub changed_at: Option<(Pointer, Format)>,
    /// Where, in the body of a 404 about a record that is not there, something stands that no other 404
    /// has. `None`: a 404 proves nothing.
    pub absent: Option<(Pointer, String)>,
}

/// How one record is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The path below the base URL.
    pub path: Template,
    /// Where, in the answer, the record stands; `None`: it is the answer.
    pub at: Option<Pointer>,
    /// Where its attributes stand.
    pub fields: Vec<Field>,
}

/// How a group's members are listed.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberList {
    /// The path of the first page below the base URL.
    pub path: Template,
    /// Where, in a page, the ids of users stand.
    pub ids: Pointer,
    /// Where, in a page, the link to the next stands; the header `Link` is read besides.
    pub next: Option<Pointer>,
}

/// A path that holds `{id}` once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    before: String,
    after: String,
}

impl Template {
    /// Reads a template; else says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let (before, after) = text.split_once("{id}").ok_or("holds no {id}")?;
        if after.contains("{id}") {
            return Err("holds {id} twice");
        }
        if text.contains("://") || text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '#') {
            return Err("is no path below base_url");
        }
        Ok(Self { before: before.to_owned(), after: after.to_owned() })
    }

    fn fill(&self, id: &ExternalId) -> String {
        format!("{}{}{}", self.before, segment(id), self.after)
    }
}

impl Rest {
    fn of(&self, kind: Kind) -> Option<&Record> {
        match kind {
            Kind::User => self.user.as_ref(),
            Kind::Group => self.group.as_ref(),
        }
    }

    fn time(&self, record: &Value) -> Result<Option<Timestamp>, Malformed> {
        self.changed_at.as_ref().map_or(Ok(None), |(pointer, format)| mapped::time(pointer, *format, record))
    }
}

impl Connector for Rest {
    fn record(&self, key: &ResourceKey) -> Option<Ask> {
        Some(one(key.kind, self.of(key.kind)?.path.fill(&key.id)))
    }

    fn understand(&self, key: &ResourceKey, answer: &View<'_>) -> Result<Vec<Change>, Malformed> {
        let Some(described) = self.of(key.kind) else { return Ok(Vec::new()) };
        let record = match &described.at {
            None => answer.value(),
            Some(at) => at.value(answer.value()).ok_or_else(|| Malformed::new(at.as_str(), "is missing"))?,
        };
        let changed_at = self.time(record)?;
        let mut changes =
            vec![mapped::upsert(key.kind, key.id.clone(), &described.fields, record, changed_at)?];
        if let Some(pointer) = self.inline_members.as_ref().filter(|_| key.kind == Kind::Group) {
            let operation = member_set(key, pointer, record)?;
            changes.push(Change { occurred_at: changed_at, operation });
        }
        Ok(changes)
    }

    fn is_absent(&self, status: StatusCode, body: &Value) -> bool {
        status == StatusCode::GONE
            || status == StatusCode::NOT_FOUND
                && self.absent.as_ref().is_some_and(|(pointer, word)| {
                    pointer.value(body).is_some_and(|value| value.as_str() == Some(word))
                })
    }

    fn members(&self, group: &ExternalId) -> Option<Ask> {
        Some(page(self.members.as_ref()?.path.fill(group)))
    }

    fn member_page(&self, page: &Page<'_>) -> Result<Members, Malformed> {
        let Some(list) = &self.members else { return Err(page.view().wrong("no page is expected")) };
        if list.ids.has_no_list(page.body) {
            return Err(Malformed::new(list.ids.as_str(), "a list is expected"));
        }
        let link = list.next.as_ref().and_then(|next| next.value(page.body)).and_then(Value::as_str);
        let next = link.filter(|link| !link.is_empty()).map(|link| Next::Link(link.to_owned()));
        let users = mapped::ids_of(&list.ids, page.body)?;
        Ok(Members { users, next: next.or_else(|| Next::of_header(page.headers)) })
    }
}

/// A list that is missing is no empty list: an empty one ends every membership.
fn member_set(key: &ResourceKey, pointer: &Pointer, record: &Value) -> Result<Operation, Malformed> {
    if pointer.has_no_list(record) {
        return Err(Malformed::new(pointer.as_str(), "a list is expected"));
    }
    Ok(all_members(key.id.clone(), mapped::ids_of(pointer, record)?))
}
