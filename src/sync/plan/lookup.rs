//! Whom does the vendor know? Identity without a link.
//!
//! First whom a refused creation has named, then whom the map of ids names, then by `externalId`, then by
//! the profile's match attribute. Two hits are never guessed between, and whom the vendor has named is
//! taken only if it matches, too. The map is an administrator's word, and needs no match.

use serde_json::{Map, Value};

use crate::directory::{AttributePath, ExternalId, Kind};
use crate::mapping::Mapped;
use crate::scim::etag::ETag;
use crate::store::{Link, Row};
use crate::sync::plan::absorb::version_of;
use crate::sync::plan::{End, LaterCause, Next, Pass, Reaction, Request, Teller, diff};
use crate::sync::policy::Policy;

/// Most times that a refused creation may begin the search anew, whomever it names.
const REFUTATIONS_MAX: u32 = 3;

/// How far the search has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookup {
    tried: usize,
    candidate: Option<(String, Option<ETag>, Map<String, Value>)>,
    refutations: u32,
    /// The vendor's id that a refusal has named, until it was looked at.
    named: Option<String>,
    /// The one that was named last.
    named_last: Option<String>,
    /// Whom the map names was looked at.
    map_asked: bool,
}

impl Lookup {
    /// The search found nothing, and the vendor says that there is something, perhaps under which id.
    /// Whether that is worth a search anew.
    pub(super) fn refute(&mut self, named: Option<String>) -> bool {
        let is_news = named.is_some() && named != self.named_last && self.refutations < REFUTATIONS_MAX;
        if self.refutations > 0 && !is_news {
            return false;
        }
        let named_last = named.clone().or_else(|| self.named_last.take());
        let (refutations, map_asked) = (self.refutations + 1, self.map_asked);
        *self = Self { refutations, named, named_last, map_asked, ..Self::default() };
        true
    }

    pub(super) const fn was_named(&self) -> bool {
        self.named_last.is_some()
    }

    /// Who was named was looked at, and is none of ours, or is the candidate.
    pub(super) fn dismiss(&mut self, told_by: Teller) {
        match told_by {
            Teller::Vendor => self.named = None,
            Teller::IdMap => self.map_asked = true,
        }
    }

    pub(super) fn candidate(&self) -> Option<&str> {
        self.candidate.as_ref().map(|(id, _, _)| id.as_str())
    }
}

impl Pass {
    /// The next question, or `None` when all were asked and nothing was found.
    pub(super) fn next_lookup(&self, policy: &Policy) -> Option<Next> {
        let inspect = |id: &str, told_by| Some(Next::Send(Request::Inspect { id: id.to_owned(), told_by }));
        if let Some(id) = &self.lookup.named {
            return inspect(id, Teller::Vendor);
        }
        let mapped = policy.id_map.vendor_id(self.key.kind, &self.key.id);
        if let Some(id) = mapped.filter(|_| !self.lookup.map_asked && !self.key.is_derived()) {
            return inspect(id, Teller::IdMap);
        }
        let mut matchers = Vec::new();
        let by_external_id = match self.key.kind {
            Kind::User => policy.lookup_external_id,
            Kind::Group => policy.group_lookup_external_id && !self.key.is_derived(),
        };
        if by_external_id {
            matchers.push(("externalId".to_owned(), self.key.id.to_string()));
        }
        if let Some(value) = self.match_value(policy) {
            matchers.push((self.match_attribute(policy).to_owned(), value));
        }
        if policy.lookup_or && self.lookup.tried > 0 {
            return None;
        }
        let rest: Vec<_> = matchers.into_iter().skip(self.lookup.tried).collect();
        if rest.is_empty() {
            return None;
        }
        let matchers = if policy.lookup_or { rest } else { rest.into_iter().take(1).collect() };
        Some(Next::Send(Request::Lookup { matchers }))
    }

    /// Says which of our resources is linked to the candidate that [`Next::AskHolder`] named.
    pub fn holder_is(&mut self, holder: Option<&ExternalId>) -> Reaction {
        let Some((vendor_id, etag, resource)) = self.lookup.candidate.take() else {
            return Reaction::Continue;
        };
        match holder {
            Some(holder) if *holder != self.key.id => Reaction::Later {
                reason: format!(
                    "the vendor's {} that matches is linked to the directory's {} {holder}",
                    self.key.kind, self.key.kind
                ),
                cause: LaterCause::Conflict,
            },
            Some(_) | None => {
                self.adopt(vendor_id, etag, resource);
                Reaction::Continue
            }
        }
    }

    pub(super) fn absorb_hits(
        &mut self,
        policy: &Policy,
        matchers: &[(String, String)],
        list: Option<&Value>,
    ) {
        self.lookup.tried += matchers.len();
        let mut hits = hits(list);
        if (!policy.members_listed || !policy.patch) && self.key.kind == Kind::Group {
            // No members in a list does not say that there are none; what is put as a whole must be certain.
            hits.iter_mut().for_each(forget_members);
            self.must_read = policy.members_readable && !hits.is_empty();
        }
        let by_id: Vec<_> =
            hits.iter().filter(|hit| bears(hit, "externalId", self.key.id.as_str())).collect();
        let by_value: Vec<_> = match self.match_value(policy) {
            Some(value) => {
                hits.iter().filter(|hit| bears(hit, self.match_attribute(policy), &value)).collect()
            }
            None => Vec::new(),
        };
        let certain = !by_id.is_empty();
        match if certain { by_id } else { by_value }.as_slice() {
            [] if hits.is_empty() => {}
            [] => {
                let reason =
                    "the vendor answered a lookup with resources that do not match; does it support filters?";
                self.end = Some(End::Park { reason: reason.to_owned() });
            }
            [hit] => self.absorb_hit(hit, certain),
            [_, _, ..] => {
                let reason = format!(
                    "several {}s at the vendor match; which one is meant is for a person to say",
                    self.key.kind
                );
                self.end = Some(End::Park { reason });
            }
        }
    }

    /// Takes in the resource that was named. Where the vendor has named it, it must be that one, and match
    /// as any other must.
    pub(super) fn absorb_inspected(
        &mut self,
        policy: &Policy,
        (id, told_by): (&str, Teller),
        resource: Option<Value>,
        etag: Option<ETag>,
    ) {
        self.lookup.dismiss(told_by);
        let Some(Value::Object(mut found)) = resource else { return };
        let held = text(&found, "id").filter(|held| !held.is_empty());
        let is_meant = match told_by {
            Teller::Vendor => held.as_deref().is_none_or(|held| held == id) && self.matches(policy, &found),
            Teller::IdMap => true,
        };
        if !is_meant {
            return;
        }
        if self.key.kind == Kind::Group && (policy.members_paged || !policy.members_readable) {
            forget_members(&mut found);
            self.must_read = policy.members_readable;
        }
        let (id, etag) = (held.unwrap_or_else(|| id.to_owned()), etag.or_else(|| version_of(&found)));
        self.lookup.candidate = Some((id, etag, found));
    }

    /// Whether a resource is the one that is looked for, by our id or by the value that is matched by.
    fn matches(&self, policy: &Policy, found: &Map<String, Value>) -> bool {
        let value = self.match_value(policy);
        bears(found, "externalId", self.key.id.as_str())
            || value.is_some_and(|value| bears(found, self.match_attribute(policy), &value))
    }

    fn absorb_hit(&mut self, hit: &Map<String, Value>, certain: bool) {
        let Some(id) = text(hit, "id").filter(|id| !id.is_empty()) else {
            self.end = Some(End::Park {
                reason: "the vendor answered a lookup with a resource without id".to_owned(),
            });
            return;
        };
        let etag = version_of(hit);
        if certain {
            self.adopt(id, etag, hit.clone());
        } else {
            self.lookup.candidate = Some((id, etag, hit.clone()));
        }
    }

    fn adopt(&mut self, vendor_id: String, etag: Option<ETag>, resource: Map<String, Value>) {
        self.set_link(Some(Link::Known(Row { vendor_id, etag, ..Row::default() })));
        self.remote = Some(resource);
    }

    fn match_attribute<'a>(&self, policy: &'a Policy) -> &'a str {
        match self.key.kind {
            Kind::User => &policy.user_match,
            Kind::Group if self.key.is_derived() => "displayName",
            Kind::Group => &policy.group_match,
        }
    }

    pub(super) fn match_value(&self, policy: &Policy) -> Option<String> {
        let path = AttributePath::new(self.match_attribute(policy));
        let mapped = match &self.mapped {
            Mapped::To(units) => units.get(&path),
            Mapped::AsItCame | Mapped::OutOfScope | Mapped::Fault(_) => None,
        };
        Some(mapped.or_else(|| self.registers().shown(&path))?.as_str()?.to_owned())
    }
}

pub(super) fn hits(list: Option<&Value>) -> Vec<Map<String, Value>> {
    let resources =
        list.and_then(Value::as_object).and_then(|list| diff::read(list, &AttributePath::new("Resources")));
    resources.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).cloned().collect()
}

pub(super) fn text(resource: &Map<String, Value>, attribute: &str) -> Option<String> {
    match diff::read(resource, &AttributePath::new(attribute))? {
        Value::String(text) => Some(text.clone()),
        // Some vendors number their resources.
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn forget_members(group: &mut Map<String, Value>) {
    group.retain(|name, _| !name.eq_ignore_ascii_case("members"));
}

/// External ids are case-exact (RFC 7643 section 3.1), user names and display names are not.
fn bears(resource: &Map<String, Value>, attribute: &str, value: &str) -> bool {
    text(resource, attribute).is_some_and(|held| match attribute {
        "externalId" => held == value,
        _ => held.to_lowercase() == value.to_lowercase(),
    })
}
