//! `[targets.NAME]`: one vendor's directory, how to reach it, and how far the relay may go there.

mod auth;
mod later;
mod limits;

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use auth::{Auth, ClientAuth};
pub use limits::{Limits, Window};

use super::problem::Problem;
use super::reader::Section;
use super::source::DEFAULT_DIRECTORY;

/// Tries of one item before it is parked, where none are configured.
const MAX_ATTEMPTS: u32 = 10;
/// A vendor that has not answered by then will not.
const TIMEOUT_MAX: Duration = Duration::from_mins(10);
const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// Names of the profiles that come with the relay.
const BUILT_IN_PROFILES: [&str; 2] = ["genesys-cloud", "rfc7644"];

/// One vendor's directory.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// How the vendor's SCIM differs from the next.
    pub profile: ProfileRef,
    /// The directory that it follows.
    pub directory: String,
    /// What resource paths are appended to.
    pub base_url: Url,
    /// What every call bears.
    pub auth: Auth,
    /// What becomes of a user that is deleted or leaves.
    pub on_delete: OnDelete,
    /// Who else may put members into groups.
    pub members: MemberPolicy,
    /// Whether a user that is inactive and unknown to the vendor is created there.
    pub create_inactive: bool,
    /// What is stricter, or wider, than the profile says.
    pub limits: Limits,
    /// Longest wait for one answer; absent: the profile's.
    pub timeout: Option<Duration>,
    /// Tries of one item before it is parked.
    pub max_attempts: u32,
}

/// Where a vendor's profile is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileRef {
    /// One that comes with the relay.
    BuiltIn(String),
    /// A file of the operator's own.
    File(PathBuf),
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
pub fn read(mut section: Section<'_>) -> Option<TargetConfig> {
    let profile = profile(&mut section);
    let directory = section.name("directory").unwrap_or_else(|| DEFAULT_DIRECTORY.to_owned());
    let base_url = base_url(&mut section);
    let auth = auth::read(&mut section);
    let on_delete =
        section.choice("on_delete", &[("deactivate", OnDelete::Deactivate), ("delete", OnDelete::Delete)]);
    let members = members(&mut section);
    let create_inactive = section.boolean("create_inactive");
    let limits = section.section("limits").map(limits::read);
    let timeout = section.duration("timeout", TIMEOUT_MIN..=TIMEOUT_MAX);
    let max_attempts = section.integer("max_attempts", 1..=1000);
    later::refuse(&mut section);
    section.finish();
    Some(TargetConfig {
        profile: profile?,
        directory,
        base_url: base_url?,
        auth: auth?,
        on_delete: on_delete.unwrap_or(OnDelete::Deactivate),
        members: members.unwrap_or(MemberPolicy::Additive),
        create_inactive: create_inactive.unwrap_or(true),
        limits: limits.unwrap_or_default(),
        timeout,
        max_attempts: max_attempts.unwrap_or(MAX_ATTEMPTS),
    })
}

fn members(section: &mut Section<'_>) -> Option<MemberPolicy> {
    let choices = [("additive", MemberPolicy::Additive), ("authoritative", MemberPolicy::Authoritative)];
    section.choice("members", &choices)
}

fn profile(section: &mut Section<'_>) -> Option<ProfileRef> {
    let remedy = format!(
        "write the name of a built-in profile ({}), or the path of a TOML file",
        BUILT_IN_PROFILES.join(", ")
    );
    let text = section.text("profile");
    let text = section.require("profile", text, &remedy)?;
    if BUILT_IN_PROFILES.contains(&text.as_str()) {
        return Some(ProfileRef::BuiltIn(text));
    }
    let path = section.context().locate(&text);
    if path.is_file() {
        return Some(ProfileRef::File(path));
    }
    section.reject("profile", &text, "is neither a built-in profile nor a file", remedy);
    None
}

fn base_url(section: &mut Section<'_>) -> Option<Url> {
    let url = section.url("base_url");
    let url =
        section.require("base_url", url, "write the vendor's SCIM address, as its documents give it")?;
    warn_of_plain_http(section, "base_url", &url);
    Some(url)
}

/// Tokens and personal data in the clear; on the machine itself that harms nobody.
fn warn_of_plain_http(section: &Section<'_>, key: &str, url: &Url) {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "http" && !loopback {
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
