//! Where a vendor's own word and its profile disagree, and who is believed.

use std::fmt::Display;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{Discovered, Features, ResourceType, Schema};
use crate::scim::schema;
use crate::target::profile::{EtagTrust, Profile};
use crate::target::requests::Kind;

/// Largest page that is asked for, whatever the vendor offers: a page is held in memory whole.
const PAGE_MAX: NonZeroU32 = NonZeroU32::new(1_000).expect("1000 is over zero");

/// One point on which the profile and the vendor disagree. Texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The point, as the profile's key where it has one.
    pub about: String,
    /// What the profile says.
    pub profile: String,
    /// What the vendor says.
    pub vendor: String,
    /// What the relay does.
    pub relay: String,
}

/// Limits after the vendor's own word. It counts where the profile does not state the value, or
/// states it without evidence: then RFC 7643 section 5 makes it the only word that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// Resources on a page.
    pub page_size: NonZeroU32,
    /// Operations in a bulk request, where the vendor says.
    pub bulk_max_operations: Option<u32>,
    /// Bytes of a bulk request, where the vendor says.
    pub bulk_max_payload_size: Option<u32>,
}

impl InForce {
    /// Of a profile and what the vendor said.
    pub fn of(profile: &Profile, discovered: &Discovered) -> Self {
        let features = discovered.features.as_ref();
        let page = features.and_then(page_limit).and_then(NonZeroU32::new);
        let page_size = match page {
            Some(page) if !profile.knows("list.max_count") => {
                let wanted =
                    if profile.knows("list.default_count") { profile.list.default_count } else { page };
                wanted.min(page).min(PAGE_MAX)
            }
            Some(_) | None => profile.list.default_count,
        };
        let bulk = features.map(|features| features.bulk).filter(|bulk| bulk.supported != Some(false));
        let unless = |key, number: Option<u32>| number.filter(|_| !profile.knows(key));
        Self {
            page_size,
            bulk_max_operations: unless("bulk.max_operations", bulk.and_then(|bulk| bulk.max_operations)),
            bulk_max_payload_size: unless(
                "bulk.max_payload_size",
                bulk.and_then(|bulk| bulk.max_payload_size),
            ),
        }
    }
}

/// The points on which they disagree. On what the vendor does not mention, it does not disagree.
pub fn differences(profile: &Profile, discovered: &Discovered) -> Vec<Difference> {
    let mut found = Differences(Vec::new());
    if let Some(features) = &discovered.features {
        found.patch(profile, features);
        found.versions(profile, features);
        found.filters(profile, features);
        found.pages(profile, discovered, features);
    }
    for kind in [Kind::User, Kind::Group] {
        let kinds = discovered.resource_types.as_deref();
        if let Some(kinds) = kinds {
            found.endpoint(profile, kind, kinds);
        }
        if let Some(schemas) = &discovered.schemas {
            found.attributes(profile, kind, kinds, schemas);
        }
    }
    found.0
}

struct Differences(Vec<Difference>);

impl Differences {
    fn patch(&mut self, profile: &Profile, features: &Features) {
        let relay = if profile.patch.supported { "changes by PATCH" } else { "replaces by PUT" };
        self.compare("patch.supported", profile.patch.supported, features.patch, relay);
    }

    fn versions(&mut self, profile: &Profile, features: &Features) {
        let (trusted, relay) = match profile.etag.trust {
            EtagTrust::Enforced => (true, "sends If-Match"),
            EtagTrust::Ignored => {
                (false, "sends no If-Match: a version that is announced may not be checked")
            }
        };
        self.compare("etag.trust", trusted, features.etag, relay);
    }

    fn filters(&mut self, profile: &Profile, features: &Features) {
        if features.filter.supported == Some(false) {
            let attributes = &profile.filter.attributes;
            let known =
                if attributes.is_empty() { "any attribute".to_owned() } else { attributes.join(", ") };
            self.add("filter.attributes", known, "no filters", "looks up by filters all the same");
        }
    }

    fn pages(&mut self, profile: &Profile, discovered: &Discovered, features: &Features) {
        let (said, vendor) = (profile.list.max_count, page_limit(features));
        if let Some(vendor) = vendor.filter(|vendor| *vendor != said.get()) {
            let size = InForce::of(profile, discovered).page_size;
            self.add("list.max_count", said, vendor, format!("asks for pages of {size}"));
        }
        let pages = features.pagination.as_ref();
        if pages.is_some_and(|pages| pages.index == Some(false) && pages.cursor == Some(true)) {
            self.add("list", "pages by index", "pages by cursor only", "pages by index");
        }
    }

    fn endpoint(&mut self, profile: &Profile, kind: Kind, kinds: &[ResourceType]) {
        let (key, path) = match kind {
            Kind::User => ("http.users_path", &profile.http.users_path),
            Kind::Group => ("http.groups_path", &profile.http.groups_path),
        };
        let mut of_kind = kinds.iter().filter(|known| known.is(kind)).peekable();
        if of_kind.peek().is_none() {
            return self.add(key, path, "no such resources", format!("calls {path} all the same"));
        }
        if !of_kind.clone().any(|known| known.is_at(path)) {
            let told: Vec<_> = of_kind.filter_map(|known| known.endpoint.clone()).collect();
            self.add(key, path, told.join(", "), format!("calls {path}"));
        }
    }

    fn attributes(
        &mut self,
        profile: &Profile,
        kind: Kind,
        kinds: Option<&[ResourceType]>,
        schemas: &[Schema],
    ) {
        let (urn, match_key, matched) = match kind {
            Kind::User => (schema::USER, "users.match_attribute", &profile.users.match_attribute),
            Kind::Group => (schema::GROUP, "groups.match_attribute", &profile.groups.match_attribute),
        };
        let told = kinds.into_iter().flatten().find(|known| known.is(kind));
        let urn = told.and_then(|known| known.schema.as_deref()).unwrap_or(urn);
        let Some(core) = schemas.iter().find(|known| known.id.eq_ignore_ascii_case(urn)) else { return };
        // The common attributes are in no schema, RFC 7643 section 3.1.
        let common = ["id", "externalId"].iter().any(|common| common.eq_ignore_ascii_case(matched));
        if !common && !matched.contains(':') && !core.has(matched) {
            self.add(match_key, matched, "no such attribute", format!("looks up by {matched}"));
        }
        if kind == Kind::User {
            self.stripped(profile, core);
        } else if core.read_only.iter().any(|name| name.eq_ignore_ascii_case("members")) {
            self.add("members", "writable", "read-only", "adds and removes members all the same");
        }
    }

    /// What the vendor wants in each user and the relay never sends.
    fn stripped(&mut self, profile: &Profile, core: &Schema) {
        for name in profile.users.strip.iter().filter(|name| core.required.contains(*name)) {
            let vendor = format!("requires {name}");
            self.add("users.strip", format!("never sends {name}"), vendor, format!("never sends {name}"));
        }
    }

    fn compare(&mut self, key: &str, profile: bool, vendor: Option<bool>, relay: &str) {
        let word = |supported| if supported { "supported" } else { "not supported" };
        if let Some(vendor) = vendor.filter(|vendor| *vendor != profile) {
            self.add(key, word(profile), word(vendor), relay);
        }
    }

    fn add(&mut self, about: &str, profile: impl Display, vendor: impl Display, relay: impl Display) {
        self.0.push(Difference {
            about: about.to_owned(),
            profile: profile.to_string(),
            vendor: vendor.to_string(),
            relay: relay.to_string(),
        });
    }
}

/// The most resources that the vendor puts on a page.
fn page_limit(features: &Features) -> Option<u32> {
    let pages = features.pagination.as_ref().and_then(|pages| pages.max_page_size);
    [pages, features.filter.max_results].into_iter().flatten().min()
}
