//! `[sources.NAME]`: who sends changes, and how they prove who they are.

use secrecy::SecretString;

use super::problem::Problem;
use super::reader::Section;

/// Name of the directory that sources feed and targets follow where none is named.
pub const DEFAULT_DIRECTORY: &str = "default";

/// Senders that are known by name but cannot be taken yet.
const LATER_KINDS: [&str; 14] = [
    "okta",
    "entra",
    "google",
    "auth0",
    "workos",
    "polis",
    "keycloak",
    "clerk",
    "zitadel",
    "logto",
    "bamboohr",
    "scim-events",
    "mapped",
    "poll",
];

/// One sender of changes.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// The format and signature of what it sends.
    pub kind: SourceKind,
    /// The directory that it feeds.
    pub directory: String,
    /// Any of them verifies; several while one is replaced by the next. Never empty.
    pub secrets: Vec<SecretString>,
    /// How much is taken of it; absent: all.
    pub intake_limit: Option<IntakeLimit>,
}

/// The formats that can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// The relay's own format, signed by Standard Webhooks.
    Native,
}

/// How many webhooks of one source are taken before it is told to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeLimit {
    /// Webhooks a second, on average; at least 1.
    pub rate_per_second: u32,
    /// Webhooks at once; at least 1.
    pub burst: u32,
}

/// Reads one source.
pub fn read(mut section: Section<'_>) -> Option<SourceConfig> {
    let kind = kind(&mut section);
    let directory = section.name("directory").unwrap_or_else(|| DEFAULT_DIRECTORY.to_owned());
    let secrets = secrets(&mut section);
    let intake_limit = section.section("intake_limit").and_then(intake_limit);
    section.finish();
    Some(SourceConfig { kind: kind?, directory, secrets: secrets?, intake_limit })
}

fn kind(section: &mut Section<'_>) -> Option<SourceKind> {
    let remedy = "write kind = \"native\"";
    let text = section.text("kind");
    let text = section.require("kind", text, remedy)?;
    if text == "native" {
        return Some(SourceKind::Native);
    }
    let reason = if LATER_KINDS.contains(&text.as_str()) {
        "is a kind that this version does not support"
    } else {
        "is not a kind of source"
    };
    section.reject("kind", &text, reason, remedy);
    None
}

fn secrets(section: &mut Section<'_>) -> Option<Vec<SecretString>> {
    let remedy = "write secrets = [\"env:NAME\"]";
    let secrets = section.secrets("secrets");
    let secrets = section.require("secrets", secrets, remedy)?;
    if secrets.is_empty() {
        section.add(Problem::error(
            section.path_of("secrets"),
            "holds no secret, so that nothing could be verified",
            remedy,
        ));
        return None;
    }
    Some(secrets)
}

fn intake_limit(mut section: Section<'_>) -> Option<IntakeLimit> {
    let rate = section.integer("rate_per_second", 1..=1_000_000);
    let rate = section.require("rate_per_second", rate, "write rate_per_second = 100");
    let burst = section.integer("burst", 1..=1_000_000);
    section.finish();
    let rate_per_second = rate?;
    Some(IntakeLimit { rate_per_second, burst: burst.unwrap_or(rate_per_second) })
}
