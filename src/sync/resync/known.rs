//! The two sides of a comparison, made ready for it.

use serde_json::Value;

use crate::directory::{AttributePath, ExternalId, Kind};
use crate::store::{Desired, Expected, Link, Probe, ResyncRow};
use crate::sync::drift::{Candidate, Finding};
use crate::sync::plan::{ShouldBe, should_be};
use crate::sync::policy::Policy;

/// A resource of the directory, ready to be compared.
pub(super) struct Known {
    pub(super) id: ExternalId,
    pub(super) linked: Option<String>,
    /// The vendor's id that the map of ids names, where there is no link.
    pub(super) mapped: Option<String>,
    pub(super) should_be: ShouldBe,
    pub(super) match_value: Option<String>,
    pub(super) pending: bool,
    pub(super) email: Option<String>,
    pub(super) department: Option<String>,
}

impl Known {
    pub(super) fn of(Expected { dossier, pending }: Expected, policy: &Policy) -> Self {
        let id = dossier.item.key.id.clone();
        let linked = match &dossier.link {
            Some(Link::Known(row)) => Some(row.vendor_id.clone()),
            Some(Link::Absent { .. }) | None => None,
        };
        let kind = dossier.item.key.kind;
        let mapped =
            policy.id_map.vendor_id(kind, &id).filter(|_| linked.is_none() && id.derived_name().is_none());
        let mapped = mapped.map(str::to_owned);
        let (email, department) = match &dossier.desired {
            Desired::User { user, .. } => {
                let shown = |path| user.attributes.shown(&path);
                let department = shown(AttributePath::enterprise("department")).and_then(Value::as_str);
                (shown(AttributePath::new("emails")).and_then(email), department.map(str::to_owned))
            }
            Desired::Group { .. } => (None, None),
        };
        let (should_be, match_value) = should_be(dossier, policy);
        Self { id, linked, mapped, should_be, match_value, pending, email, department }
    }

    /// The vendor's id by what is known here, or by an administrator's word.
    pub(super) fn named(&self) -> Option<&str> {
        self.linked.as_deref().or(self.mapped.as_deref())
    }

    /// What may be it among what was read.
    pub(super) fn probe(&self) -> Probe {
        Probe {
            name: self.named().map(str::to_owned),
            external_id: Some(self.id.to_string()),
            match_value: self.match_value.as_ref().map(|value| value.to_lowercase()),
        }
    }

    /// What it may be looked up by at the vendor: as planning asks, where it knows no link.
    pub(super) fn matchers(&self, kind: Kind, policy: &Policy) -> Vec<(String, String)> {
        let is_derived = self.id.derived_name().is_some();
        let (by_id, attribute) = match kind {
            Kind::User => (policy.lookup_external_id, policy.user_match.as_str()),
            Kind::Group if is_derived => (false, "displayName"),
            Kind::Group => (policy.group_lookup_external_id, policy.group_match.as_str()),
        };
        let by_id = by_id.then(|| ("externalId".to_owned(), self.id.to_string()));
        let by_value = self.match_value.as_ref().map(|value| (attribute.to_owned(), value.clone()));
        by_id.into_iter().chain(by_value).collect()
    }

    /// A finding about it, with what people want to read beside it.
    pub(super) fn told(&self, finding: Finding) -> Finding {
        Finding {
            pending: self.pending,
            email: self.email.clone(),
            department: self.department.clone(),
            ..finding
        }
    }
}

/// The primary address, or the first.
fn email(emails: &Value) -> Option<String> {
    let emails = emails.as_array()?;
    let primary = emails.iter().find(|email| email.get("primary") == Some(&Value::Bool(true)));
    primary.or(emails.first())?.get("value")?.as_str().map(str::to_owned)
}

/// A vendor's resource, to be compared; `None` where it is no object.
pub(super) fn candidate(row: ResyncRow) -> Option<Candidate> {
    let ResyncRow { name: vendor_id, external_id, holder, body, .. } = row;
    match body {
        Value::Object(resource) => Some(Candidate { vendor_id, external_id, holder, resource }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}
