//! `[sources.NAME]`: who sends changes, and how they prove who they are.

mod connector;
mod mapping;
mod signature;
mod transmitter;

use std::num::NonZeroU32;

use http::HeaderName;
use secrecy::SecretString;

pub use connector::ConnectorConfig;

use super::problem::Problem;
use super::reader::{Section, one_of};
use crate::source::signature::keyed::Algorithm;
use crate::source::{IntakeLimit, Kind, Options, PRESETS, Preset, Settings};

/// Name of the directory that sources feed and targets follow where none is named.
pub const DEFAULT_DIRECTORY: &str = "default";

/// Highest intake limit that may be set.
const WEBHOOKS_MAX: NonZeroU32 = NonZeroU32::new(1_000_000).expect("a million is over zero");

const SECRETS_REMEDY: &str = "write secrets = [\"env:NAME\"]";

/// The hashes of signatures, by the words for them.
const ALGORITHMS: [(&str, Algorithm); 3] =
    [("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512), ("sha1", Algorithm::Sha1)];

/// Senders that are known by name but cannot be taken yet.
const LATER_KINDS: [&str; 1] = ["poll"];

/// Reads one source, and how it is asked for what its webhooks leave out. `body_bytes_max` is the
/// server's limit.
pub fn read(
    name: &str,
    mut section: Section<'_>,
    body_bytes_max: usize,
) -> Option<(Settings, Option<ConnectorConfig>)> {
    let kind = kind(&mut section);
    let directory = section.name("directory").unwrap_or_else(|| DEFAULT_DIRECTORY.to_owned());
    let secrets = match &kind {
        // A token proves by itself who made it.
        Some(Kind::ScimEvents(_)) if !section.has("secrets") => Some(Vec::new()),
        Some(_) | None => secrets(&mut section),
    };
    let intake_limit = section.section("intake_limit").and_then(intake_limit);
    let connector = section.section("connector").map(|section| connector::read(name, section, kind.as_ref()));
    let (provider, connector) = connector.flatten().unzip();
    let settings = kind.zip(secrets).map(|(kind, secrets)| {
        let name = name.to_owned();
        Settings { name, kind, directory, secrets, intake_limit, body_bytes_max, provider }
    });
    if let Some(Err(error)) = settings.as_ref().map(Settings::check) {
        let reason = format!("cannot verify: {error}");
        section.add(Problem::error(section.path_of("secrets"), reason, SECRETS_REMEDY));
    }
    section.finish();
    settings.map(|settings| (settings, connector))
}

fn kind(section: &mut Section<'_>) -> Option<Kind> {
    let remedy = "write kind = \"native\"";
    let text = section.text("kind");
    let text = section.require("kind", text, remedy)?;
    if text == "native" {
        return Some(Kind::Native);
    }
    if text == "mapped" {
        return mapping::read(section).map(|mapping| Kind::Mapped(Box::new(mapping)));
    }
    if text == "scim-events" {
        return transmitter::read(section).map(|transmitter| Kind::ScimEvents(Box::new(transmitter)));
    }
    if let Some(preset) = PRESETS.iter().find(|preset| preset.name == text) {
        return Some(Kind::Preset(preset, options(section, preset)));
    }
    let reason = if LATER_KINDS.contains(&text.as_str()) {
        "is a kind that this version does not support"
    } else {
        "is not a kind of source"
    };
    let mut kinds: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    kinds.extend(["scim-events", "mapped"]);
    section.reject("kind", &text, reason, format!("{remedy}, or {}", one_of(&kinds)));
    None
}

/// What a sender leaves open; keys that it does not know are left for the end of the section.
fn options(section: &mut Section<'_>, preset: &Preset) -> Options {
    let mut options = Options::default();
    if preset.options.contains(&Options::HEADER) {
        options.header = header(section, Options::HEADER);
    }
    if preset.options.contains(&Options::ALGORITHM) {
        options.algorithm = algorithm(section);
    }
    options
}

fn header(section: &mut Section<'_>, key: &'static str) -> Option<HeaderName> {
    let text = section.text(key)?;
    let name = text.parse().ok();
    if name.is_none() {
        section.reject(key, &text, "is not a header's name", "write a name such as x-relay-key");
    }
    name
}

fn algorithm(section: &mut Section<'_>) -> Option<Algorithm> {
    section.choice(Options::ALGORITHM, &ALGORITHMS)
}

fn secrets(section: &mut Section<'_>) -> Option<Vec<SecretString>> {
    let secrets = section.secrets("secrets");
    let secrets = section.require("secrets", secrets, SECRETS_REMEDY)?;
    if secrets.is_empty() {
        section.add(Problem::error(
            section.path_of("secrets"),
            "holds no secret, so that nothing could be verified",
            SECRETS_REMEDY,
        ));
        return None;
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
