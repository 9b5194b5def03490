//! The relay's own format: `{"changes": [{"op": …, "id": …}, …]}`, signed by Standard Webhooks.
//!
//! Read strictly: a member that is not known is an error, so that a mistyped one does not vanish. A
//! body is taken as a whole or not at all.

#[cfg(test)]
mod tests;
pub mod write;

use std::collections::HashSet;

use secrecy::SecretString;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::directory::{Attributes, Change, ExternalId, Kind, MembersEdit, Operation, parse_attributes};
use crate::source::json::{self, Fields, Malformed};
use crate::source::signature::SecretError;
use crate::source::signature::standard_webhooks::{HeaderNames, StandardWebhooks};
use crate::source::{Delivery, Proof, Reading, Refusal, Source};

/// Most changes in one body.
const CHANGES_MAX: usize = 10_000;
/// Most members in one list of one change.
const MEMBERS_MAX: usize = 100_000;

/// A sender of the native format.
pub struct Native {
    signature: StandardWebhooks,
}

impl Native {
    /// A sender that signs with one of these secrets.
    pub fn open(secrets: &[SecretString]) -> Result<Self, SecretError> {
        Ok(Self { signature: StandardWebhooks::new(HeaderNames::STANDARD, secrets)? })
    }
}

impl Source for Native {
    fn verify(&self, delivery: &Delivery<'_>, now: Timestamp) -> Result<Proof, Refusal> {
        self.signature.verify(delivery.headers, delivery.body, now)
    }

    fn read(&self, body: &[u8]) -> Result<Reading, Malformed> {
        Ok(Reading { changes: parse(body)?, ..Reading::default() })
    }
}

/// The changes of a body.
pub fn parse(body: &[u8]) -> Result<Vec<Change>, Malformed> {
    let mut root = Fields::of(json::parse(body)?, "")?;
    let changes = json::list(root.required("changes")?, "/changes", CHANGES_MAX)?;
    root.finish("the body")?;
    changes
        .into_iter()
        .enumerate()
        .map(|(index, value)| change(Fields::of(value, format!("/changes/{index}"))?))
        .collect()
}

fn change(mut fields: Fields) -> Result<Change, Malformed> {
    let op = fields.text("op")?;
    let read = OPERATIONS.iter().find(|(name, _)| *name == op).map(|(_, read)| read).ok_or_else(|| {
        let known: Vec<_> = OPERATIONS.iter().map(|(name, _)| *name).collect();
        Malformed::new(fields.pointer_to("op"), format!("is not an operation; known: {}", known.join(", ")))
    })?;
    let id = external_id(fields.text("id")?, &fields.pointer_to("id"))?;
    let occurred_at = occurred_at(&mut fields)?;
    let operation = read(id, &mut fields)?;
    fields.finish(&op)?;
    Ok(Change { occurred_at, operation })
}

type Read = fn(ExternalId, &mut Fields) -> Result<Operation, Malformed>;

const OPERATIONS: [(&str, Read); 6] = [
    ("user.upsert", |id, fields| {
        Ok(Operation::UserUpsert { id, attributes: attributes(Kind::User, fields)? })
    }),
    ("user.deactivate", |id, _| Ok(Operation::UserDeactivate { id })),
    ("user.delete", |id, _| Ok(Operation::UserDelete { id })),
    ("group.upsert", |id, fields| {
        Ok(Operation::GroupUpsert { id, attributes: attributes(Kind::Group, fields)? })
    }),
    ("group.delete", |id, _| Ok(Operation::GroupDelete { id })),
    ("group.members", |id, fields| Ok(Operation::GroupMembers { id, edit: members(fields)? })),
];

/// Absent and null both mean the time of receipt.
fn occurred_at(fields: &mut Fields) -> Result<Option<Timestamp>, Malformed> {
    let pointer = fields.pointer_to("occurred_at");
    let Some(value) = fields.optional("occurred_at").filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    match Timestamp::parse_rfc3339(&json::text(value, &pointer)?) {
        Some(timestamp) => Ok(Some(timestamp)),
        None => Err(Malformed::new(
            pointer,
            "a date and time with an offset is expected (RFC 3339), such as 2026-11-20T10:00:00Z",
        )),
    }
}

fn attributes(kind: Kind, fields: &mut Fields) -> Result<Attributes, Malformed> {
    let pointer = fields.pointer_to("attributes");
    let Value::Object(object) = fields.required("attributes")? else {
        return Err(Malformed::new(pointer, "an object is expected"));
    };
    parse_attributes(kind, &object)
        .map_err(|error| Malformed::new(format!("{pointer}{}", error.pointer), error.reason))
}

/// Either `set`, or `add` and `remove`, of which one may be absent.
fn members(fields: &mut Fields) -> Result<MembersEdit, Malformed> {
    let (adds, removes) = (fields.has("add"), fields.has("remove"));
    if fields.has("set") && (adds || removes) {
        let reason = "cannot stand beside add or remove: it is the whole, they are a difference";
        return Err(Malformed::new(fields.pointer_to("set"), reason));
    }
    if !fields.has("set") && !adds && !removes {
        return Err(Malformed::new(fields.pointer_to("set"), "is missing, and so are add and remove"));
    }
    let mut seen = HashSet::new();
    let set = member_list("set", &mut seen, fields)?;
    let add = member_list("add", &mut seen, fields)?;
    let remove = member_list("remove", &mut seen, fields)?;
    Ok(match set {
        Some(set) => MembersEdit::Set(set),
        None => MembersEdit::Delta { add: add.unwrap_or_default(), remove: remove.unwrap_or_default() },
    })
}

/// A user who is named twice in one change is an error: the sender's own data disagree.
fn member_list(
    name: &'static str,
    seen: &mut HashSet<ExternalId>,
    fields: &mut Fields,
) -> Result<Option<Vec<ExternalId>>, Malformed> {
    let pointer = fields.pointer_to(name);
    let Some(value) = fields.optional(name) else { return Ok(None) };
    let items = json::list(value, &pointer, MEMBERS_MAX)?;
    let mut members = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        let id = external_id(json::text(item, &pointer)?, &pointer)?;
        if !seen.insert(id.clone()) {
            return Err(Malformed::new(pointer, "names a user for the second time in this change"));
        }
        members.push(id);
    }
    Ok(Some(members))
}

fn external_id(text: String, pointer: &str) -> Result<ExternalId, Malformed> {
    ExternalId::parse(text).map_err(|error| Malformed::new(pointer, error.to_string()))
}
