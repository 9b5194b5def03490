//! `[targets.NAME]`: one vendor's directory, how to reach it, and how far the relay may go there.

pub(super) mod auth;
mod consent;
mod guard;
mod id_map;
pub(super) mod limits;
mod mapping;
mod profile;
mod protected;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::problem::Problem;
use super::reader::Section;
use super::source::DEFAULT_DIRECTORY;
use crate::mapping::{DerivedGroup, IdMap, Mapping, Protected};
use crate::store::guard::Guard;
use crate::target::transport::is_loopback;
use crate::target::{self, Profile};

/// Tries of one item before it is parked, where none are configured.
const MAX_ATTEMPTS: NonZeroU32 = NonZeroU32::new(10).expect("10 is over zero");
/// Most tries of one item that may be set.
const MAX_ATTEMPTS_MAX: NonZeroU32 = NonZeroU32::new(1_000).expect("1000 is over zero");
/// A vendor that has not answered by then will not.
const TIMEOUT_MAX: Duration = Duration::from_mins(10);
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Reading all of a vendor more often than that would be a load of its own.
const RESYNC_EVERY_MIN: Duration = Duration::from_mins(5);
const RESYNC_EVERY_MAX: Duration = Duration::from_hours(24 * 90);

/// One vendor's directory, and what is decided about it.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// How it is reached: profile, address, credentials, limits.
    pub connection: target::Settings,
    /// The directory that it follows.
    pub directory: String,
    /// What becomes of a user that is deleted or leaves.
    pub on_delete: OnDelete,
    /// Who else may put members into groups.
    pub members: MemberPolicy,
    /// Whether a user that is inactive and unknown to the vendor is created there.
    pub create_inactive: bool,
    /// Tries of one item before it is parked.
    pub max_attempts: NonZeroU32,
    /// Whether several operations may go in one request.
    pub bulk: BulkMode,
    /// Who is in scope, and what goes out of each user.
    pub mapping: Arc<Mapping>,
    /// When the vendor is asked what it says of itself.
    pub discovery: DiscoveryMode,
    /// How much may be taken away without a person; `None`: anything.
    pub guard: Option<Guard>,
    /// Whom the target never loses.
    pub protected: Arc<Protected>,
    /// Which of the vendor's ids belong to which of ours, where an administrator says so.
    pub id_map: Arc<IdMap>,
    /// How often all of it is read and compared without being asked for.
    pub resync: Option<ResyncConfig>,
}

/// A resync every so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResyncConfig {
    /// From the beginning of one to the next.
    pub every: Duration,
    /// Whether what differs is put right, and not only told.
    pub apply: bool,
}

/// Whether several operations may go in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkMode {
    /// Where the vendor takes them.
    Auto,
    /// Never.
    Off,
}

/// When the vendor is asked what it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoveryMode {
    /// When its target is taken up, and once a day.
    Auto,
    /// Only when somebody wants it.
    Off,
}

/// What becomes of a user that is deleted or leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// It stays, inactive.
    Deactivate,
    /// It is deleted.
    Delete,
}

/// Who else may put members into groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberPolicy {
    /// Members that the directory does not know of stay.
    Additive,
    /// A group has exactly the directory's members.
    Authoritative,
}

/// Reads one target.
pub fn read(name: &str, mut section: Section<'_>) -> Option<TargetConfig> {
    let connection = connection(name, &mut section);
    let directory = section.name("directory").unwrap_or_else(|| DEFAULT_DIRECTORY.to_owned());
    let on_delete =
        section.choice("on_delete", &[("deactivate", OnDelete::Deactivate), ("delete", OnDelete::Delete)]);
    consent::irreversible(&mut section, connection.as_ref().map(|connection| &connection.profile), on_delete);
    let members = members(&mut section, connection.as_ref().map(|connection| &connection.profile));
    let create_inactive = section.boolean("create_inactive");
    let max_attempts = section.positive("max_attempts", MAX_ATTEMPTS_MAX);
    let bulk = section.choice("bulk", &[("auto", BulkMode::Auto), ("off", BulkMode::Off)]);
    let mapping = Arc::new(mapping::read(&mut section));
    warn_of_groups_that_cannot_be(
        &section,
        connection.as_ref().map(|connection| &connection.profile),
        &mapping.derived_groups,
    );
    let discovery =
        section.choice("discovery", &[("auto", DiscoveryMode::Auto), ("off", DiscoveryMode::Off)]);
    let guard = guard::read(&mut section);
    let protected = Arc::new(protected::read(&mut section));
    let id_map = Arc::new(id_map::read(&mut section));
    let resync = section.section("resync").and_then(resync);
    section.finish();
    Some(TargetConfig {
        connection: connection?,
        directory,
        on_delete: on_delete.unwrap_or(OnDelete::Deactivate),
        members: members.unwrap_or(MemberPolicy::Additive),
        create_inactive: create_inactive.unwrap_or(true),
        max_attempts: max_attempts.unwrap_or(MAX_ATTEMPTS),
        bulk: bulk.unwrap_or(BulkMode::Auto),
        mapping,
        discovery: discovery.unwrap_or(DiscoveryMode::Auto),
        guard,
        protected,
        id_map,
        resync,
    })
}

fn resync(mut section: Section<'_>) -> Option<ResyncConfig> {
    let every = section.duration("every", RESYNC_EVERY_MIN..=RESYNC_EVERY_MAX);
    let every = section.require("every", every, "write how often, such as \"24h\"");
    let apply = section.choice("mode", &[("report", false), ("apply", true)]);
    section.finish();
    Some(ResyncConfig { every: every?, apply: apply.unwrap_or(false) })
}

fn connection(name: &str, section: &mut Section<'_>) -> Option<target::Settings> {
    let profile = profile::read(section);
    consent::simulation(section, profile.as_ref());
    let base_url = base_url(section);
    let auth = auth::read(section, profile.as_ref().map(|profile| &profile.auth));
    let limits = section.section("limits").map(limits::read).unwrap_or_default();
    if let Some(profile) = &profile {
        consent::unknown(section, profile, &limits);
    }
    let timeout = section.duration("timeout", TIMEOUT_MIN..=TIMEOUT_MAX);
    let settings = target::Settings::new(name, base_url?, auth?, profile?);
    let own = settings.limits.clone().with(&limits);
    limits::warn_of_wider(section, &settings.limits, &own);
    Some(target::Settings { limits: own, timeout: timeout.unwrap_or(settings.timeout), ..settings })
}

fn members(section: &mut Section<'_>, profile: Option<&Profile>) -> Option<MemberPolicy> {
    let choices = [("additive", MemberPolicy::Additive), ("authoritative", MemberPolicy::Authoritative)];
    let policy = section.choice("members", &choices)?;
    let shows = |profile: &Profile| profile.groups.supported && profile.members.read.shows_all();
    if policy == MemberPolicy::Authoritative && !profile.is_none_or(shows) {
        section.add(Problem::error(
            section.path_of("members"),
            "\"authoritative\" needs a vendor that shows who is in a group, and by its profile this one does not",
            "write \"additive\"",
        ));
    }
    Some(policy)
}

fn warn_of_groups_that_cannot_be(section: &Section<'_>, profile: Option<&Profile>, derived: &[DerivedGroup]) {
    if !derived.is_empty() && profile.is_some_and(|profile| !profile.groups.supported) {
        section.add(Problem::warning(
            section.path_of("derived_groups"),
            "have no effect at this vendor, which by its profile has no groups",
            "take them out",
        ));
    }
}

fn base_url(section: &mut Section<'_>) -> Option<Url> {
    let url = section.url("base_url");
    let url =
        section.require("base_url", url, "write the vendor's SCIM address, as its documents give it")?;
    warn_of_plain_http(section, "base_url", &url);
    Some(url)
}

/// Tokens and personal data in the clear; on the machine itself that harms nobody.
pub(super) fn warn_of_plain_http(section: &Section<'_>, key: &str, url: &Url) {
    if url.scheme() == "http" && !is_loopback(url) {
        section.add(
            Problem::warning(
                section.path_of(key),
                "is plain HTTP: tokens and personal data travel in the clear",
                "write https://",
            )
            .with_value(url),
        );
    }
}
