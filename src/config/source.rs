//! `[sources.NAME]`: who sends changes, and how they prove who they are.

use std::num::NonZeroU32;

use secrecy::SecretString;

use super::problem::Problem;
use super::reader::Section;
use crate::source::signature::standard_webhooks::StandardWebhooks;
use crate::source::{IntakeLimit, Kind, Settings};

/// Name of the directory that sources feed and targets follow where none is named.
pub const DEFAULT_DIRECTORY: &str = "default";

/// Highest intake limit that may be set.
const WEBHOOKS_MAX: NonZeroU32 = NonZeroU32::new(1_000_000).expect("a million is over zero");

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

/// Reads one source. `body_bytes_max` is the server's limit.
pub fn read(name: &str, mut section: Section<'_>, body_bytes_max: usize) -> Option<Settings> {
    let kind = kind(&mut section);
    let directory = section.name("directory").unwrap_or_else(|| DEFAULT_DIRECTORY.to_owned());
    let secrets = secrets(&mut section);
    let intake_limit = section.section("intake_limit").and_then(intake_limit);
    section.finish();
    let name = name.to_owned();
    Some(Settings { name, kind: kind?, directory, secrets: secrets?, intake_limit, body_bytes_max })
}

fn kind(section: &mut Section<'_>) -> Option<Kind> {
    let remedy = "write kind = \"native\"";
    let text = section.text("kind");
    let text = section.require("kind", text, remedy)?;
    if text == "native" {
        return Some(Kind::Native);
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
    if let Err(error) = StandardWebhooks::new(&secrets) {
        section.add(Problem::error(section.path_of("secrets"), format!("cannot verify: {error}"), remedy));
    }
    Some(secrets)
}

fn intake_limit(mut section: Section<'_>) -> Option<IntakeLimit> {
    let rate = section.positive("rate_per_second", WEBHOOKS_MAX);
    let rate = section.require("rate_per_second", rate, "write rate_per_second = 100");
    let burst = section.positive("burst", WEBHOOKS_MAX);
    section.finish();
    let rate_per_second = rate?;
    Some(IntakeLimit { rate_per_second, burst: burst.unwrap_or(rate_per_second) })
}
