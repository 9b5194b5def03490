//! PATCH of what is left to say, or PUT of the merged whole where PATCH is not supported.

use serde_json::{Map, Value};

use crate::directory::AttributePath;
use crate::scim::patch::PatchOp;
use crate::store::Link;
use crate::sync::plan::{Current, Next, Pass, Purpose, Request, Units, diff};
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
            None if row.applied.is_empty() => return Some(self.fetch()),
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
        let resource = merged_whole(remote, units, policy);
        Some(Next::Send(Request::Put { id, resource, if_match, purpose }))
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
    for protected in ["meta", "groups"] {
        whole.remove(protected);
    }
    whole.retain(|name, _| !policy.strips(name));
    for (path, value) in units {
        put(&mut whole, path, value);
    }
    Value::Object(whole)
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
