//! What became of each operation of a bulk request.
//!
//! Services differ in the key of the list (`Operations`, `responses`), in the form of a status
//! (`"201"`, `201`, `{"code": "201"}`) and in whether they repeat the `bulkId`. What cannot be told
//! apart counts as not answered: its outcome is unknown, and has to be looked at.

use std::collections::BTreeMap;

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::scim::bulk::request::Operation;
use crate::scim::etag::ETag;
use crate::scim::resource::get_in;

/// What a service says of one operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The operation's method, in upper case.
    pub method: Option<String>,
    /// The operation's name.
    pub bulk_id: Option<String>,
    /// The HTTP status that the operation would have had by itself; `None` when it cannot be read.
    pub status: Option<u16>,
    /// Where the resource is.
    pub location: Option<String>,
    /// The resource's version after the operation.
    pub version: Option<ETag>,
    /// The body that the operation would have been answered with; often left out on success.
    pub response: Option<Value>,
}

/// The body is no answer to a bulk request, and says nothing about any operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("find a list of operations in the answer to a bulk request")]
pub struct NoBulkAnswer;

/// Reads the entries in the order in which they came.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, NoBulkAnswer> {
    let body: Map<String, Value> = serde_json::from_slice(bytes).map_err(|_| NoBulkAnswer)?;
    let list = ["Operations", "responses"].iter().find_map(|key| get_in(&body, key)?.as_array());
    Ok(list.ok_or(NoBulkAnswer)?.iter().map(entry).collect())
}

/// The entry of each operation, in the order in which they were sent; `None` for one that is not
/// answered, or of which it is not certain which entry is its own.
///
/// By `bulkId`; else, where a resource has its URL already, by method and location; else by position,
/// if nothing speaks against it: as many entries as operations, and none of them out of place. A POST
/// is never told by its position, because a mistake would make a resource twice.
pub fn correlate(sent: &[Operation], entries: Vec<Entry>) -> Vec<Option<Entry>> {
    let in_order = are_in_order(sent, &entries);
    let by_name = unique(sent.iter().map(|operation| Some(operation.bulk_id.clone())));
    let by_place = unique(sent.iter().map(place));
    let mut found: Vec<Claim> = vec![Claim::Open; sent.len()];
    for (position, entry) in entries.into_iter().enumerate() {
        let owner = match &entry.bulk_id {
            Some(name) => by_name.get(name).copied(),
            None => match entry_place(&entry) {
                Some(said) => by_place.iter().find(|(place, _)| ends_with(&said, place)).map(|(_, at)| *at),
                None => Some(position).filter(|at| in_order && sent[*at].method != Method::POST),
            },
        };
        if let Some(claim) = owner.and_then(|owner| found.get_mut(owner)) {
            claim.made(entry);
        }
    }
    found.into_iter().map(Claim::into_entry).collect()
}

/// The entries that claim to be one operation's.
#[derive(Clone, Debug)]
enum Claim {
    Open,
    One(Box<Entry>),
    /// Several that say different things: none is to be believed.
    Disputed,
}

impl Claim {
    fn made(&mut self, entry: Entry) {
        *self = match self {
            Self::Open => Self::One(Box::new(entry)),
            Self::One(first) if first.status == entry.status => return,
            Self::One(_) | Self::Disputed => Self::Disputed,
        };
    }

    fn into_entry(self) -> Option<Entry> {
        match self {
            Self::One(entry) if entry.status.is_some() => Some(*entry),
            Self::One(_) | Self::Open | Self::Disputed => None,
        }
    }
}

/// Method and place below the base URL of a resource that is there already.
type Place = (String, String);

fn place(operation: &Operation) -> Option<Place> {
    (operation.method != Method::POST).then(|| (operation.method.to_string(), decoded(&operation.path)))
}

fn entry_place(entry: &Entry) -> Option<(Option<&str>, String)> {
    let location = entry.location.as_deref()?.split(['?', '#']).next()?;
    Some((entry.method.as_deref(), decoded(location)))
}

fn ends_with((said, location): &(Option<&str>, String), (method, path): &Place) -> bool {
    let rest = location.strip_suffix(path.as_str());
    said.is_none_or(|said| said == method) && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

/// Whether entries may be told by their position.
fn are_in_order(sent: &[Operation], entries: &[Entry]) -> bool {
    let agrees = |(operation, entry): (&Operation, &Entry)| {
        entry.method.as_ref().is_none_or(|method| method == operation.method.as_str())
            && entry.bulk_id.as_ref().is_none_or(|name| *name == operation.bulk_id)
            && match (entry_place(entry), place(operation)) {
                (Some(said), Some(place)) => ends_with(&said, &place),
                (Some(_), None) | (None, _) => true,
            }
    };
    sent.len() == entries.len() && sent.iter().zip(entries).all(agrees)
}

/// Positions by key, without the keys that are not unique.
fn unique<K: Ord>(keys: impl Iterator<Item = Option<K>>) -> BTreeMap<K, usize> {
    let mut positions: BTreeMap<K, Vec<usize>> = BTreeMap::new();
    for (position, key) in keys.enumerate() {
        if let Some(key) = key {
            positions.entry(key).or_default().push(position);
        }
    }
    let single = |(key, positions): (K, Vec<usize>)| match positions.as_slice() {
        [one] => Some((key, *one)),
        _ => None,
    };
    positions.into_iter().filter_map(single).collect()
}

fn entry(value: &Value) -> Entry {
    let nothing = Map::new();
    let entry = value.as_object().unwrap_or(&nothing);
    let text = |name: &str| get_in(entry, name).and_then(Value::as_str).filter(|text| !text.is_empty());
    Entry {
        method: text("method").map(str::to_ascii_uppercase),
        bulk_id: text("bulkId").map(str::to_owned),
        status: get_in(entry, "status").and_then(status),
        location: text("location").map(str::to_owned),
        version: text("version").and_then(ETag::parse),
        response: get_in(entry, "response").filter(|response| !response.is_null()).cloned(),
    }
}

/// `"201"`, `201`, `"201 Created"` or an object that holds one of them as `code`.
fn status(value: &Value) -> Option<u16> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.split_whitespace().next()?.parse().ok()?,
        Value::Object(object) => return status(get_in(object, "code").filter(|code| !code.is_object())?),
        Value::Null | Value::Bool(_) | Value::Array(_) => return None,
    };
    u16::try_from(number).ok().filter(|number| (200..600).contains(number))
}

fn decoded(path: &str) -> String {
    percent_decode_str(path.trim_end_matches('/')).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
