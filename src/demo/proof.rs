//! What a SCIM vendor holds, read as anyone would: page by page over HTTP.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::directory::{AttributePath, ExternalId, Snapshot};

/// Everything at the vendor.
#[derive(Debug)]
pub struct Holdings {
    /// Users, as the vendor lists them.
    pub users: Vec<Map<String, Value>>,
    /// Groups, as the vendor lists them.
    pub groups: Vec<Map<String, Value>>,
}

/// Why a vendor could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No answer.
    #[error("failed to reach the vendor")]
    Http(#[from] reqwest::Error),
    /// An answer that is no list, or a list that ended early.
    #[error("failed to read all {endpoint}: {reason}")]
    NotWhole {
        /// `Users` or `Groups`.
        endpoint: &'static str,
        /// What was answered instead.
        reason: String,
    },
}

impl Holdings {
    /// Reads every page.
    pub async fn read(client: &reqwest::Client, base_url: &str, token: &str) -> Result<Self, ReadError> {
        Ok(Self {
            users: all(client, base_url, token, "Users").await?,
            groups: all(client, base_url, token, "Groups").await?,
        })
    }

    /// Every difference from the directory in what the relay owns; empty when there is none.
    pub fn differences(&self, directory: &Snapshot) -> Vec<String> {
        let mut found = Vec::new();
        let users = by_external_id(&self.users, &mut found);
        let groups = by_external_id(&self.groups, &mut found);
        for (id, user) in directory.users() {
            let held = users.get(id.as_str());
            let active = held.is_some_and(|held| held.get("active") != Some(&Value::Bool(false)));
            if active != (user.has_access() && user.is_described()) {
                found.push(format!("user {id}: active is {active} at the vendor"));
            }
            let Some(held) = held.filter(|_| user.is_described()) else { continue };
            for (path, wanted) in user.attributes.iter() {
                let there = read(held, path).cloned().unwrap_or(Value::Null);
                if !says(wanted, &there) {
                    found.push(format!("user {id}: {path} is {there}, not {wanted}"));
                }
            }
        }
        // Members of whom the directory knows nothing are somebody else's.
        let ours: BTreeSet<&str> = users
            .iter()
            .filter(|(id, _)| ExternalId::parse(**id).is_ok_and(|id| directory.user(&id).is_some()))
            .filter_map(|(_, held)| held.get("id")?.as_str())
            .collect();
        for (id, group) in directory.groups().filter(|(_, group)| group.is_described()) {
            let Some(held) = groups.get(id.as_str()) else {
                found.push(format!("group {id} is missing"));
                continue;
            };
            let name = group.attributes.shown(&AttributePath::new("displayName"));
            if held.get("displayName") != name {
                found.push(format!("group {id}: displayName is {:?}, not {name:?}", held.get("displayName")));
            }
            let members = members(held);
            let wanted: BTreeSet<String> = directory
                .members(id)
                .filter_map(|user| Some(users.get(user.as_str())?.get("id")?.as_str()?.to_owned()))
                .collect();
            for missing in wanted.difference(&members) {
                found.push(format!("group {id}: member {missing} is missing"));
            }
            for extra in members.difference(&wanted).filter(|member| ours.contains(member.as_str())) {
                found.push(format!("group {id}: member {extra} is there"));
            }
        }
        found
    }

    /// The resource that bears an external id.
    pub fn user(&self, external_id: &str) -> Option<&Map<String, Value>> {
        self.users.iter().find(|user| user.get("externalId").and_then(Value::as_str) == Some(external_id))
    }
}

/// Vendor ids of a group's members.
pub fn members(group: &Map<String, Value>) -> BTreeSet<String> {
    let members = group.get("members").and_then(Value::as_array).into_iter().flatten();
    members.filter_map(|member| member["value"].as_str().map(str::to_owned)).collect()
}

async fn all(
    client: &reqwest::Client,
    base_url: &str,
    token: &str,
    endpoint: &'static str,
) -> Result<Vec<Map<String, Value>>, ReadError> {
    let mut resources = Vec::new();
    loop {
        let url = format!("{base_url}/{endpoint}?startIndex={}&count=100", resources.len() + 1);
        let text = client.get(url).bearer_auth(token).send().await?.text().await?;
        let not_whole = |reason: &str| ReadError::NotWhole { endpoint, reason: reason.to_owned() };
        let page: Value = serde_json::from_str(&text).map_err(|error| not_whole(&error.to_string()))?;
        let total = page["totalResults"].as_u64().ok_or_else(|| not_whole("no totalResults"))?;
        let items = page["Resources"].as_array().map_or(&[][..], Vec::as_slice);
        resources.extend(items.iter().filter_map(Value::as_object).cloned());
        if resources.len() as u64 >= total {
            return Ok(resources);
        }
        if items.is_empty() {
            return Err(not_whole(&format!("{} of {total} were listed", resources.len())));
        }
    }
}

/// Indexes by external id; twice the same is a finding.
fn by_external_id<'a>(
    resources: &'a [Map<String, Value>],
    found: &mut Vec<String>,
) -> BTreeMap<&'a str, &'a Map<String, Value>> {
    let mut index = BTreeMap::new();
    for resource in resources {
        let Some(id) = resource.get("externalId").and_then(Value::as_str) else { continue };
        if index.insert(id, resource).is_some() {
            found.push(format!("{id} exists twice"));
        }
    }
    let mut names = BTreeSet::new();
    for name in resources.iter().filter_map(|resource| resource.get("userName").and_then(Value::as_str)) {
        if !names.insert(name.to_lowercase()) {
            found.push(format!("{name} exists twice"));
        }
    }
    index
}

fn read<'a>(resource: &'a Map<String, Value>, path: &AttributePath) -> Option<&'a Value> {
    let (container, name) = path.place();
    match container {
        Some(container) => resource.get(container)?.get(name),
        None => resource.get(name),
    }
}

/// Whether what is there says all that is wanted.
fn says(wanted: &Value, there: &Value) -> bool {
    match (wanted, there) {
        (Value::Object(wanted), Value::Object(there)) => {
            wanted.iter().all(|(name, value)| there.get(name).is_some_and(|there| says(value, there)))
        }
        (Value::Array(wanted), Value::Array(there)) => {
            wanted.iter().all(|wanted| there.iter().any(|there| says(wanted, there)))
        }
        (wanted, there) => wanted == there,
    }
}
