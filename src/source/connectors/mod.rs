//! How identity providers are asked for what their webhooks leave out: one file a provider.
//!
//! A [`Connector`] describes calls and understands answers, and does neither wait nor call: who asks
//! is elsewhere, behind limits, and the same for all. What was read goes into the inbox as an event of
//! the source ([`told`](super::told)), dated by the record's own time of change wherever it has one,
//! so that a record that was read late loses to what happened after it.

mod auth0;
mod feed;
mod google;
mod graph;
mod keycloak;
mod next;
mod okta;
mod rest;
mod scim;
mod ssf;
mod subscription;
#[cfg(test)]
mod tests;
mod workos;

use http::{HeaderMap, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

pub use feed::{Feed, FeedPage, ask as ask_feed};
pub use next::{Base, Elsewhere, Next};
pub use subscription::{Held, Subscribe, Wish, Write};

pub use rest::{MemberList, Record, Rest, Template};
pub use ssf::Ssf;

use super::formats::view::View;
use super::json::Malformed;
use crate::directory::{Change, ExternalId, Kind, MembersEdit, Operation, ResourceKey};

/// How one provider is asked.
pub trait Connector: Send + Sync {
    /// The call that reads a record; `None` where the provider has no such records.
    fn record(&self, key: &ResourceKey) -> Option<Ask>;

    /// What a record says. A change without a time of its own is as of the call. What the provider
    /// deletes by a mark is deleted here.
    fn understand(&self, key: &ResourceKey, record: &View<'_>) -> Result<Vec<Change>, Malformed>;

    /// Whether an answer says that there is no such record, rather than that the call went wrong: a
    /// path that leads nowhere is answered by 404, too, and must end nobody's access.
    fn is_absent(&self, status: StatusCode, body: &Value) -> bool;

    /// The call that reads the first members of a group; `None` where the record has them.
    fn members(&self, _group: &ExternalId) -> Option<Ask> {
        None
    }

    /// The users on one page of a group's members.
    fn member_page(&self, page: &Page<'_>) -> Result<Members, Malformed> {
        Err(page.view().wrong("no page of members is expected"))
    }

    /// What the ids of users and of groups begin with, where the provider's can be told from others'.
    fn ids(&self) -> Option<Ids> {
        None
    }

    /// What tells what was missed, where the provider has something of the kind.
    fn feed(&self) -> Option<&dyn Feed> {
        None
    }

    /// What keeps webhooks coming, where the provider ends that by itself.
    fn subscribe(&self) -> Option<&dyn Subscribe> {
        None
    }

    /// When the record says that its members have changed last.
    fn members_changed_at(&self, _record: &View<'_>) -> Result<Option<crate::clock::Timestamp>, Malformed> {
        Ok(None)
    }
}

/// What a provider's ids begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Those of users.
    pub users: &'static str,
    /// Those of groups.
    pub groups: &'static str,
}

/// One call that reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Below the base URL, ids percent-encoded, query included.
    pub path: String,
    /// The path's shape without ids, for metrics.
    pub endpoint: &'static str,
}

/// An answer that holds a page.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a Value,
    /// What was asked.
    pub path: &'a str,
}

impl<'a> Page<'a> {
    /// The body, to be read.
    pub fn view(&self) -> View<'a> {
        View::root(self.body)
    }
}

/// Some of a group's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Users on this page.
    pub users: Vec<ExternalId>,
    /// Where the list goes on.
    pub next: Option<Next>,
}

/// The providers that can be asked, and what an operator decides about them.
#[derive(Clone, Debug, PartialEq)]
pub enum Provider {
    /// Auth0's management API.
    Auth0,
    /// Google Workspace's Directory API.
    Google,
    /// Microsoft Graph.
    Graph,
    /// Keycloak's admin API.
    Keycloak,
    /// Okta's management API.
    Okta,
    /// WorkOS Directory Sync.
    WorkOs,
    /// Any SCIM 2.0 service provider.
    Scim,
    /// A transmitter of Security Event Tokens, which keeps a stream to the relay.
    Ssf(Ssf),
    /// Any JSON API, asked and read as the configuration tells.
    Rest(Box<Rest>),
}

impl Provider {
    /// What asks it.
    pub fn open(&self) -> Box<dyn Connector> {
        match self {
            Self::Auth0 => Box::new(auth0::Auth0),
            Self::Google => Box::new(google::Google),
            Self::Graph => Box::new(graph::Graph),
            Self::Keycloak => Box::new(keycloak::Keycloak),
            Self::Okta => Box::new(okta::Okta),
            Self::WorkOs => Box::new(workos::WorkOs),
            Self::Scim => Box::new(scim::Scim),
            Self::Ssf(ssf) => Box::new(ssf.clone()),
            Self::Rest(rest) => Box::new(rest.as_ref().clone()),
        }
    }
}

/// What a group has exactly as members.
fn all_members(group: ExternalId, users: Vec<ExternalId>) -> Operation {
    Operation::GroupMembers { id: group, edit: MembersEdit::Set(users) }
}

/// A call that reads one record.
fn one(kind: Kind, path: String) -> Ask {
    let endpoint = match kind {
        Kind::User => "users/{id}",
        Kind::Group => "groups/{id}",
    };
    Ask { path, endpoint }
}

/// A call that reads a page of a group's members.
fn page(path: String) -> Ask {
    Ask { path, endpoint: "groups/{id}/members" }
}

/// The same call with another value of its last parameter, which the first call of a list lacks.
fn with_parameter(path: &str, name: &str, value: &str) -> String {
    let mark = format!("&{name}=");
    let first = path.split(&mark).next().unwrap_or(path);
    format!("{first}{mark}{}", utf8_percent_encode(value, RESERVED))
}

/// What may stand in a segment of a path, or in a value of a query, as it is (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An id as a segment of a path. One that is all dots would be another path.
fn segment(id: &ExternalId) -> String {
    match id.as_str() {
        dots @ ("." | "..") => dots.replace('.', "%2E"),
        id => utf8_percent_encode(id, RESERVED).to_string(),
    }
}
