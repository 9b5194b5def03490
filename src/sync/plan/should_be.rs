//! What a whole resource should be at the vendor, for those who only compare.

use serde_json::{Map, Value};

use crate::directory::AttributePath;
use crate::mapping::Mapped;
use crate::store::{Desired, Dossier, Link};
use crate::sync::plan::{Current, Pass, Units, diff};
use crate::sync::policy::{OnDelete, Policy};

/// How a resource should stand at the vendor.
#[derive(Clone, Debug, PartialEq)]
pub enum ShouldBe {
    /// There, and so.
    There(Units),
    /// It need not be there; if it is, then so.
    IfThere(Units),
    /// Not there.
    Gone,
    /// Nothing can be said of it.
    Unsaid,
}

/// What a resource should be, by the directory and the target's policy; the value by which the vendor's
/// resource is known without a link stands beside it.
pub fn should_be(dossier: Dossier, policy: &Policy) -> (ShouldBe, Option<String>) {
    let known = matches!(dossier.link, Some(Link::Known(_)));
    let mut pass = Pass::begin(dossier, policy, std::time::Duration::MAX);
    let match_value = pass.match_value(policy);
    let should_be = match &pass.desired {
        Desired::User { user, .. } => {
            let leaves = user.is_deleted() || pass.is_out_of_scope();
            let (access, described) = (user.has_access(), user.is_described());
            let fault = matches!(pass.mapped, Mapped::Fault(_));
            if (pass.is_out_of_scope() && !known) || (fault && access) {
                return (ShouldBe::Unsaid, match_value);
            }
            if leaves && policy.on_delete == OnDelete::Delete {
                return (ShouldBe::Gone, match_value);
            }
            let units = pass.units(policy, false);
            let named = units.get("userName").is_some_and(Value::is_string);
            let wanted = described && !leaves && named && (access || policy.create_inactive);
            if wanted { ShouldBe::There(units) } else { ShouldBe::IfThere(units) }
        }
        Desired::Group { group, .. } if group.is_deleted() => {
            if policy.groups_delete {
                ShouldBe::Gone
            } else {
                ShouldBe::IfThere(Units::new())
            }
        }
        Desired::Group { group, .. } if group.is_described() => {
            let units = pass.units(policy, false);
            let named = units.get("displayName").is_some_and(Value::is_string);
            if named { ShouldBe::There(units) } else { ShouldBe::IfThere(units) }
        }
        Desired::Group { .. } => ShouldBe::IfThere(Units::new()),
    };
    (should_be, match_value)
}

/// The attributes in which a vendor's resource is not as it should be, as the paths that a PATCH names.
pub fn differing(units: &Units, resource: &Map<String, Value>, policy: &Policy) -> Vec<String> {
    let ops = diff(units, &Units::new(), Current::Read(resource), policy.path_filters);
    let mut paths: Vec<String> = ops.into_iter().filter_map(|op| op.path).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// What a vendor's resource holds at a path, names without case, as text.
pub fn text_at(resource: &Map<String, Value>, path: &str) -> Option<String> {
    match diff::read(resource, &AttributePath::new(path))? {
        Value::String(text) => Some(text.clone()),
        // Some vendors number their resources.
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The vendor's ids of a group's members; `None` where the resource does not tell them.
pub fn members_at(resource: &Map<String, Value>) -> Option<Vec<String>> {
    let members = diff::read(resource, &AttributePath::new("members"))?.as_array()?;
    members.iter().map(|member| Some(member.get("value")?.as_str()?.to_owned())).collect()
}
