//! The calls that a target's profile makes of what is to be done. Pure.

mod dialect;

use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::scim::etag::ETag;
use crate::scim::filter;
use crate::scim::patch::{Op, PatchOp, PatchRequest};
use crate::target::call::{Call, CallClass, Turn};
use crate::target::profile::{AddForm, EtagTrust, Profile, RemoveForm};

/// The kinds of resource that are provisioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A user.
    User,
    /// A group.
    Group,
}

/// A member to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRef {
    /// The vendor's id of the user.
    pub vendor_id: String,
}

/// A vendor's id that no path can hold: empty, `.` or `..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("make a path of a vendor's id that is empty, `.` or `..`")]
pub struct UnusableId;

/// Answers to a lookup beyond two tell nothing more than that there is more than one.
const LOOKUP_COUNT: u32 = 2;

/// Looks for resources with one of these values: one request, so with several values only where
/// the profile allows `or`. `None` when there is nothing to ask, or when a
/// filter may not name an attribute.
pub fn lookup(profile: &Profile, kind: Kind, values: &[(&str, &str)]) -> Option<Call> {
    let allowed = values.iter().all(|(attribute, _)| can_filter_by(profile, kind, attribute));
    if values.is_empty() || !allowed || (values.len() > 1 && !profile.filter.or) {
        return None;
    }
    let filters: Vec<_> = values.iter().map(|(attribute, value)| filter::eq(attribute, value)).collect();
    let filter = filter::any_of(&filters);
    let count = LOOKUP_COUNT.saturating_mul(u32::try_from(values.len()).unwrap_or(u32::MAX));
    let count = count.min(profile.list.max_count.get());
    let path = format!("{}?filter={}&count={count}", collection_path(profile, kind), encode(&filter));
    Some(call(Method::GET, path, kind.collection(), CallClass::Single))
}

/// Where a page of a list begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageStart<'a> {
    /// At this 1-based index (RFC 7644 section 3.4.2.4).
    Index(u64),
    /// Where this cursor says (RFC 9865 section 2).
    Cursor(&'a str),
}

/// Reads a page of all resources of a kind, or of those that are not active.
pub fn list(profile: &Profile, kind: Kind, start: PageStart<'_>, inactive_only: bool) -> Call {
    let start = match start {
        PageStart::Index(index) => format!("startIndex={index}"),
        PageStart::Cursor(cursor) => format!("cursor={}", encode(cursor)),
    };
    let filter = if inactive_only { format!("&filter={}", encode("active eq false")) } else { String::new() };
    let count = profile.list.max_count;
    let path = format!("{}?{start}&count={count}{filter}", collection_path(profile, kind));
    call(Method::GET, path, kind.collection(), CallClass::List)
}

/// Reads one resource.
pub fn fetch(profile: &Profile, kind: Kind, id: &str) -> Result<Call, UnusableId> {
    resource_call(profile, Method::GET, kind, id)
}

/// Reads a page of a group's members below the group, from a 1-based index.
pub fn member_page(profile: &Profile, id: &str, start: u64) -> Result<Call, UnusableId> {
    let call = resource_call(profile, Method::GET, Kind::Group, id)?;
    let path = format!("{}/members?startIndex={start}&count={}", call.path, profile.list.max_count);
    Ok(Call { path, endpoint: "Groups/{id}/members", ..call })
}

/// Asks for a group if this user is its member.
pub fn is_member(profile: &Profile, group: &str, member: &str) -> Call {
    let filter = format!("{} and {}", filter::eq("id", group), filter::eq("members", member));
    let path = format!("{}?filter={}&count=1", collection_path(profile, Kind::Group), encode(&filter));
    call(Method::GET, path, Kind::Group.collection(), CallClass::Single)
}

/// Creates a resource.
pub fn create(profile: &Profile, kind: Kind, resource: &Value) -> Call {
    let path = collection_path(profile, kind).to_owned();
    Call { body: Some(json(resource)), ..call(Method::POST, path, kind.collection(), CallClass::Single) }
}

/// Changes a resource. The version is sent where the profile trusts it.
pub fn patch(
    profile: &Profile,
    kind: Kind,
    id: &str,
    request: &PatchRequest,
    if_match: Option<&ETag>,
) -> Result<Call, UnusableId> {
    let call = resource_call(profile, Method::PATCH, kind, id)?;
    let body = json(&dialect::body(&profile.patch, request));
    Ok(Call { body: Some(body), if_match: trusted(profile, if_match), ..call })
}

/// Replaces a resource.
pub fn replace(
    profile: &Profile,
    kind: Kind,
    id: &str,
    resource: &Value,
    if_match: Option<&ETag>,
) -> Result<Call, UnusableId> {
    let call = resource_call(profile, Method::PUT, kind, id)?;
    Ok(Call { body: Some(json(resource)), if_match: trusted(profile, if_match), ..call })
}

/// Deletes a resource.
pub fn delete(profile: &Profile, kind: Kind, id: &str, if_match: Option<&ETag>) -> Result<Call, UnusableId> {
    let call = resource_call(profile, Method::DELETE, kind, id)?;
    Ok(Call { if_match: trusted(profile, if_match), ..call })
}

/// What stands before an operation's `bulkId` where another one names what it creates: RFC 7644
/// section 3.7.2.
pub const REFERENCE: &str = "bulkId:";

/// Sends several operations at once; `body` is the whole request.
pub fn bulk(profile: &Profile, body: Vec<u8>, operations: usize) -> Call {
    let call = call(Method::POST, profile.bulk.path.clone(), "Bulk", CallClass::Bulk);
    let operations = u32::try_from(operations).unwrap_or(u32::MAX);
    Call { body: Some(body.into()), operations, ..call }
}

/// The same call, answered without a group's members (RFC 7644 section 3.9): a service that does not
/// know the parameter passes over it.
#[must_use]
pub fn without_members(call: Call) -> Call {
    let joint = if call.path.contains('?') { '&' } else { '?' };
    Call { path: format!("{}{joint}excludedAttributes=members", call.path), ..call }
}

/// Asks whether the target is there: its service provider configuration, RFC 7644 section 4.
pub fn probe(profile: &Profile) -> Call {
    call(Method::GET, profile.http.probe_path.clone(), "ServiceProviderConfig", CallClass::Probe)
}

/// Reads one of the documents in which the server describes itself, RFC 7644 section 4.
pub fn describe(path: String, endpoint: &'static str) -> Call {
    call(Method::GET, path, endpoint, CallClass::List)
}

/// Adds and removes members, in the form that the profile wants. The caller keeps to
/// `members.max_per_request`.
pub fn member_patch(profile: &Profile, adds: &[MemberRef], removes: &[String]) -> PatchRequest {
    let mut operations = Vec::new();
    // Removals first: access that ends ends even if the vendor stops at an addition.
    removals(profile, removes, &mut operations);
    let members: Vec<_> = adds.iter().map(|member| member_value(profile, &member.vendor_id)).collect();
    match profile.members.add_form {
        _ if members.is_empty() => {}
        AddForm::Array => operations.push(PatchOp::add("members", Value::Array(members))),
        AddForm::OnePerOperation => {
            operations.extend(members.into_iter().map(|member| PatchOp::add("members", json!([member]))));
        }
    }
    PatchRequest { operations }
}

/// A member as it stands in a group's `members`.
pub fn member_value(profile: &Profile, vendor_id: &str) -> Value {
    let mut member = json!({ "value": vendor_id });
    if profile.members.send_type {
        member["type"] = "User".into();
    }
    // Of an account that the same request creates no address is known.
    if profile.members.send_ref && !vendor_id.starts_with(REFERENCE) {
        member["$ref"] = format!("{}/{}", profile.http.users_path, encode(vendor_id)).into();
    }
    member
}

fn removals(profile: &Profile, removes: &[String], operations: &mut Vec<PatchOp>) {
    if removes.is_empty() {
        return;
    }
    let filters = removes.iter().map(|id| filter::eq("value", id));
    match profile.members.remove_form {
        RemoveForm::PathFilter => {
            operations.extend(filters.map(|filter| PatchOp::remove(format!("members[{filter}]"))));
        }
        RemoveForm::PathFilterOr => {
            let filter = filters.collect::<Vec<_>>().join(" or ");
            operations.push(PatchOp::remove(format!("members[{filter}]")));
        }
        RemoveForm::ValueArray => {
            let members = removes.iter().map(|id| json!({ "value": id })).collect();
            operations.push(PatchOp {
                op: Op::Remove,
                path: Some("members".to_owned()),
                value: Some(Value::Array(members)),
            });
        }
    }
}

impl Kind {
    /// The label of the collection.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
        }
    }

    /// The label of one resource.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::User => "Users/{id}",
            Self::Group => "Groups/{id}",
        }
    }
}

fn can_filter_by(profile: &Profile, kind: Kind, attribute: &str) -> bool {
    match kind {
        Kind::User => profile.can_filter_users_by(attribute),
        Kind::Group => profile.can_filter_groups_by(attribute),
    }
}

/// Where the resources of a kind are, relative to the base URL.
pub(super) fn collection_path(profile: &Profile, kind: Kind) -> &str {
    match kind {
        Kind::User => &profile.http.users_path,
        Kind::Group => &profile.http.groups_path,
    }
}

fn resource_call(profile: &Profile, method: Method, kind: Kind, id: &str) -> Result<Call, UnusableId> {
    if matches!(id, "" | "." | "..") {
        return Err(UnusableId);
    }
    let path = format!("{}/{}", collection_path(profile, kind), encode(id));
    Ok(call(method, path, kind.resource(), CallClass::Single))
}

fn call(method: Method, path: String, endpoint: &'static str, class: CallClass) -> Call {
    Call { method, path, endpoint, class, body: None, if_match: None, operations: 1, turn: Turn::Usual }
}

fn trusted(profile: &Profile, etag: Option<&ETag>) -> Option<ETag> {
    match profile.etag.trust {
        EtagTrust::Enforced => etag.cloned(),
        EtagTrust::Ignored => None,
    }
}

/// All but the unreserved characters of RFC 3986 section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).expect("JSON values have string keys").into()
}

#[cfg(test)]
mod tests;
