//! Reads one record: a user, or a group with all of its members.

use http::StatusCode;

use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Kind, MembersEdit, Operation, ResourceKey};
use crate::errands::client::{Answered, AskError, Client};
use crate::source::View;
use crate::source::connectors::{Ask, Connector, Page};

/// Most pages of one group's members.
const PAGES_MAX: usize = 2_000;

/// What a provider says of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// It is there, and says this.
    Changes(Vec<Change>),
    /// There is no such record.
    Absent,
    /// The provider has no records of this kind.
    Unasked,
}

/// Reads a record. `as_of` dates what has no time of its own, and no change is dated after `now`.
///
/// A group's members are the whole list or nothing: a page that fails, or that leads elsewhere, makes
/// the whole reading fail.
pub async fn read(
    client: &Client,
    connector: &dyn Connector,
    key: &ResourceKey,
    as_of: Timestamp,
    now: Timestamp,
) -> Result<Found, AskError> {
    let Some(ask) = connector.record(key) else { return Ok(Found::Unasked) };
    let answer = client.get(ask).await?;
    if connector.is_absent(answer.status, &answer.body) {
        return Ok(Found::Absent);
    }
    let record = success(answer)?.body;
    let record = View::root(&record);
    let mut changes = connector.understand(key, &record)?;
    if let Some(ask) = connector.members(&key.id).filter(|_| key.kind == Kind::Group) {
        let occurred_at = connector.members_changed_at(&record)?;
        let users = members(client, connector, ask).await?;
        let operation = Operation::GroupMembers { id: key.id.clone(), edit: MembersEdit::Set(users) };
        changes.push(Change { occurred_at, operation });
    }
    for change in &mut changes {
        // A record from the future would win over all that comes.
        change.occurred_at = Some(change.occurred_at.unwrap_or(as_of).min(now));
    }
    Ok(Found::Changes(changes))
}

async fn members(
    client: &Client,
    connector: &dyn Connector,
    first: Ask,
) -> Result<Vec<ExternalId>, AskError> {
    let Ask { mut path, endpoint } = first;
    // Pages may overlap where somebody joined in between.
    let mut users = Vec::new();
    for _ in 0..PAGES_MAX {
        let answer = success(client.get(Ask { path: path.clone(), endpoint }).await?)?;
        let page = Page { headers: &answer.headers, body: &answer.body, path: &path };
        let read = connector.member_page(&page)?;
        users.extend(read.users);
        let Some(next) = read.next else {
            return Ok(users);
        };
        path = client.follow(next)?;
    }
    Err(AskError::Endless { limit: PAGES_MAX })
}

/// The answer, if the call succeeded with something to read.
pub fn success(answer: Answered) -> Result<Answered, AskError> {
    if answer.status == StatusCode::OK { Ok(answer) } else { Err(AskError::Status(answer.status)) }
}
