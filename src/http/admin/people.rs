//! `/people`: who is meant by an id, a vendor's id, a user name or a mail address.

use std::collections::BTreeMap;
use std::ops::Bound;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{CommonProblems, Listing, Params};
use crate::directory::{AttributePath, DirectoryName, ExternalId, Kind, ResourceKey, User};
use crate::http::{Problem, Relay};
use crate::store::{Desired, StoreError};

/// Longest word that is looked for.
const WORD_BYTES_MAX: usize = 512;
/// Users read at a time.
const PAGE: usize = 500;
/// Users read for one answer at most: no index holds names and addresses.
const READ_MAX: usize = 10_000;
/// People in one answer at most.
const FOUND_MAX: usize = 50;

/// Somebody whom the word may mean.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PersonView {
    /// The directory.
    #[schema(example = "default")]
    pub directory: String,
    /// The source's id, for the timeline.
    #[schema(example = "u-101")]
    pub id: String,
    /// By what: `id`, `vendor_id`, `user_name` or `email`.
    #[schema(example = "email")]
    pub found_by: &'static str,
    /// Found by a vendor's id: at which target.
    #[schema(example = "genesys")]
    pub target: Option<String>,
    /// The name to sign in with, where it is known.
    pub user_name: Option<String>,
    /// The name to show, where it is known.
    pub display_name: Option<String>,
}

/// Who is looked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PeopleQuery {
    /// The source's id or a vendor's, exactly; or a user name or mail address in any case.
    #[param(example = "jane@example.com")]
    pub q: String,
    /// `next_cursor` of the answer before; absent: from the beginning.
    pub cursor: Option<String>,
}

/// Finds people by an id, a vendor's id, a user name or a mail address.
///
/// Ids are found at once, in the first answer. Names and addresses have no index: each answer has read some
/// thousand users, in the order of their ids, so that `items` may be empty while there is a `next_cursor`.
#[utoipa::path(
    get, path = "/people", tag = "admin", operation_id = "find_people", params(PeopleQuery),
    responses(
        (status = 200, description = "Whom the word means, as far as was read", body = Listing<PersonView>),
        CommonProblems,
    ),
)]
pub async fn find(
    State(relay): State<Relay>,
    Params(query): Params<PeopleQuery>,
) -> Result<Json<Listing<PersonView>>, Problem> {
    let word = query.q.trim();
    if word.is_empty() || word.len() > WORD_BYTES_MAX {
        return Err(Problem::bad_request(format!("q: a word of 1 to {WORD_BYTES_MAX} bytes is expected")));
    }
    let followers = followers(&relay).await?;
    let (items, next_cursor) = match query.cursor {
        None => {
            (by_ids(&relay, &followers, word).await?, followers.keys().next().map(|name| mark(name, None)))
        }
        Some(cursor) => by_names(&relay, &followers, word, &cursor).await?,
    };
    Ok(Json(Listing { items, next_cursor }))
}

/// Each directory that a target follows, with those that do.
async fn followers(relay: &Relay) -> Result<BTreeMap<DirectoryName, Vec<String>>, StoreError> {
    let mut followers: BTreeMap<DirectoryName, Vec<String>> = BTreeMap::new();
    for name in relay.targets.keys() {
        if let Some(record) = relay.store.target(name).await? {
            followers.entry(record.directory).or_default().push(name.clone());
        }
    }
    Ok(followers)
}

async fn by_ids(
    relay: &Relay,
    followers: &BTreeMap<DirectoryName, Vec<String>>,
    word: &str,
) -> Result<Vec<PersonView>, StoreError> {
    let mut found = Vec::new();
    for (directory, targets) in followers {
        if let Ok(id) = ExternalId::parse(word) {
            let key = ResourceKey { kind: Kind::User, id: id.clone() };
            if relay.store.present(directory, &key).await?.is_some() {
                let user = named(relay, targets, &id).await?;
                found.push(person(directory, &id, "id", None, user.as_ref()));
            }
        }
        for target in targets {
            if let Some(id) = relay.store.holder_of(target, Kind::User, word).await? {
                let user = named(relay, targets, &id).await?;
                found.push(person(directory, &id, "vendor_id", Some(target.clone()), user.as_ref()));
            }
        }
    }
    Ok(found)
}

async fn named(relay: &Relay, targets: &[String], id: &ExternalId) -> Result<Option<User>, StoreError> {
    let Some(target) = targets.first() else { return Ok(None) };
    Ok(relay.store.users(target, &[id.clone()].into()).await?.remove(id))
}

async fn by_names(
    relay: &Relay,
    followers: &BTreeMap<DirectoryName, Vec<String>>,
    word: &str,
    cursor: &str,
) -> Result<(Vec<PersonView>, Option<String>), Problem> {
    let (directory, mut after) = place(cursor)?;
    let Some(target) = followers.get(&directory).and_then(|targets| targets.first()) else {
        return Ok((Vec::new(), None));
    };
    let (word, mut found, mut read) = (word.to_lowercase(), Vec::new(), 0);
    while read < READ_MAX && found.len() < FOUND_MAX {
        let page = relay.store.resyncs().expected(target, Kind::User, after.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        read += page.len();
        for expected in page {
            let id = expected.dossier.item.key.id;
            if let Desired::User { user, .. } = &expected.dossier.desired
                && let Some(found_by) = known_by(user, &word)
            {
                found.push(person(&directory, &id, found_by, None, Some(user)));
            }
            after = Some(id);
        }
        if is_last {
            let mut further =
                followers.range::<DirectoryName, _>((Bound::Excluded(&directory), Bound::Unbounded));
            return Ok((found, further.next().map(|(name, _)| mark(name, None))));
        }
    }
    Ok((found, Some(mark(&directory, after.as_ref()))))
}

/// Where the search by names goes on: a directory, and the user after whom.
fn mark(directory: &DirectoryName, after: Option<&ExternalId>) -> String {
    json!([directory, after]).to_string()
}

fn place(cursor: &str) -> Result<(DirectoryName, Option<ExternalId>), Problem> {
    serde_json::from_str(cursor)
        .map_err(|_| Problem::bad_request("cursor: what an answer has said as next_cursor is expected"))
}

/// By which of a user's attributes a lower-case word means the user.
fn known_by(user: &User, word: &str) -> Option<&'static str> {
    if text(user, "userName").is_some_and(|name| name.to_lowercase() == word) {
        return Some("user_name");
    }
    let emails = user.attributes.shown(&AttributePath::new("emails"))?.as_array()?;
    let mut addresses = emails.iter().filter_map(|email| email["value"].as_str());
    addresses.any(|address| address.to_lowercase() == word).then_some("email")
}

fn person(
    directory: &DirectoryName,
    id: &ExternalId,
    found_by: &'static str,
    target: Option<String>,
    user: Option<&User>,
) -> PersonView {
    let named = |path| user.and_then(|user| text(user, path)).map(str::to_owned);
    PersonView {
        directory: directory.clone(),
        id: id.to_string(),
        found_by,
        target,
        user_name: named("userName"),
        display_name: named("displayName"),
    }
}

fn text<'a>(user: &'a User, path: &str) -> Option<&'a str> {
    user.attributes.shown(&AttributePath::new(path)).and_then(Value::as_str)
}
