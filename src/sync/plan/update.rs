//! PATCH of what is left to say, or PUT of the merged whole where PATCH is not supported.

use serde_json::{Map, Value};

use crate::directory::{AttributePath, Kind};
use crate::scim::patch::PatchOp;
use crate::store::Link;
use crate::sync::plan::{Current, End, Next, Pass, Purpose, Request, Units, diff, members_at, pick};
use crate::sync::policy::Policy;

impl Pass {
    /// PATCH of what is left to say, or PUT of the merged whole; `None` when nothing is left.
    pub(super) fn update(
        &mut self,
        policy: &Policy,
        units: &Units,
        purpose: impl Fn(&[PatchOp]) -> Purpose,
    ) -> Option<Next> {
        let row = self.row()?;
        let current = match &self.remote {
            Some(resource) => Current::Read(resource),
            None if row.applied.is_empty()
                || pick::must_be_read(units, &row.applied, policy.path_filters) =>
            {
                return Some(self.fetch());
            }
            None => Current::Assumed(&row.applied),
        };
        let ops = diff(units, &row.applied, current, policy.path_filters);
        if ops.is_empty() {
            self.say_applied(units);
            return None;
        }
        let (id, if_match, purpose) = (row.vendor_id.clone(), row.etag.clone(), purpose(&ops));
        if policy.patch {
            return Some(Next::Send(Request::Update { id, ops, if_match, purpose }));
        }
        let Some(remote) = &self.remote else { return Some(self.fetch()) };
        if !self.tells_members(policy, remote) {
            let reason =
                "the vendor takes a group as a whole only, and does not show all of its members, who would \
                          be lost; change it by hand"
                    .to_owned();
            return Some(self.finish(End::Park { reason }));
        }
        let resource = merged_whole(remote, units, policy);
        Some(Next::Send(Request::Put { id, resource, if_match, purpose }))
    }

    /// Whether what was read names everybody who is in it: a PUT takes out whom it leaves out (RFC 7644
    /// section 3.5.1).
    fn tells_members(&self, policy: &Policy, remote: &Map<String, Value>) -> bool {
        let shown = || members_at(remote).map_or(0, |members| members.len());
        self.key.kind == Kind::User
            || (policy.members_readable && !self.is_slim() && shown() < policy.members_read_cap)
    }

    /// The vendor was seen to be as desired, or was made so.
    pub(super) fn say_applied(&mut self, units: &Units) {
        if let Some(Link::Known(row)) = &mut self.link
            && units.iter().any(|(path, value)| row.applied.get(path) != Some(value))
        {
            row.applied.extend(units.iter().map(|(path, value)| (path.clone(), value.clone())));
            self.link_touched = true;
        }
    }

    pub(super) fn fetch(&self) -> Next {
        match self.row() {
            Some(row) => Next::Send(Request::Fetch { id: row.vendor_id.clone() }),
            None => Next::Settled,
        }
    }
}

/// The vendor's resource with ours merged in, for `PUT`.
fn merged_whole(remote: &Map<String, Value>, units: &Units, policy: &Policy) -> Value {
    let mut whole = remote.clone();
    for protected in ["id", "meta", "groups"] {
        whole.remove(protected);
    }
    whole.retain(|name, _| !policy.strips(name));
    for (path, value) in units.iter().filter(|(path, _)| !pick::is_pick(path)) {
        put(&mut whole, path, value);
    }
    pick::put_all(&mut whole, units);
    complete_schemas(&mut whole, units);
    Value::Object(whole)
}

/// Names each extension that ours has a value of (RFC 7643 section 3.1).
fn complete_schemas(whole: &mut Map<String, Value>, units: &Units) {
    let Some(Value::Array(schemas)) = whole.get_mut("schemas") else { return };
    for urn in extensions(units) {
        let named = |held: &Value| held.as_str().is_some_and(|held| held.eq_ignore_ascii_case(urn));
        if !schemas.iter().any(named) {
            schemas.push(Value::from(urn));
        }
    }
}

/// The extensions of which there is a value.
pub(super) fn extensions(units: &Units) -> impl Iterator<Item = &str> {
    let valued = units.iter().filter(|(_, value)| !value.is_null());
    valued.filter_map(|(path, _)| path.extension().map(|(urn, _)| urn))
}

fn put(whole: &mut Map<String, Value>, path: &AttributePath, value: &Value) {
    let (container, name) = path.place();
    let object = match container {
        None => Some(whole),
        Some(container) => {
            whole.entry(container).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
        }
    };
    let Some(object) = object else { return };
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value.clone());
    }
}
