//! `[sources.NAME]`: who sends changes, and how they prove who they are.

mod connector;
mod feed;
mod file;
mod mapping;
mod poll;
mod signature;
mod tokens;
mod transmitter;

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;
use secrecy::SecretString;

pub use connector::ConnectorConfig;

use super::problem::Problem;
use super::reader::{Section, one_of};
use crate::feed::Way;
use crate::feed::guard::Limits;
use crate::source::signature::keyed::Algorithm;
use crate::source::signature::standard_webhooks;
use crate::source::{IntakeLimit, Kind, Options, PRESETS, Preset, Settings};

/// Name of the directory that sources feed and targets follow where none is named.
pub const DEFAULT_DIRECTORY: &str = "default";

/// Highest intake limit that may be set.
const WEBHOOKS_MAX: NonZeroU32 = NonZeroU32::new(1_000_000).expect("a million is over zero");

const SILENCE: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(24 * 365);

const REPEATS_FOR: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(31 * 24);
/// What is believed of senders of whom nobody knows.
const REPEATS_USUAL: Duration = Duration::from_hours(1);
const SECRETS_REMEDY: &str = "write secrets = [\"env:NAME\"]";

/// The hashes of signatures, by the words for them.
const ALGORITHMS: [(&str, Algorithm); 3] =
    [("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512), ("sha1", Algorithm::Sha1)];

/// One source: what its webhooks are, and how it is taken in where it posts none.
#[derive(Debug)]
pub struct Source {
    /// As the server knows it.
    pub settings: Settings,
    /// As a feed.
    pub feed: Option<crate::feed::Settings>,
    /// How it is asked for what its webhooks leave out.
    pub connector: Option<ConnectorConfig>,
    /// After how long it counts as silent; `None`: learned.
    pub silent_after: Option<Duration>,
    /// For how long nothing of it is lost while nobody listens; `None`: for ever.
    pub patience: Option<Duration>,
}

/// Reads one source. `body_bytes_max` is the server's limit.
pub fn read(name: &str, mut section: Section<'_>, body_bytes_max: usize) -> Option<Source> {
    let (kind, feed) = match kind(&mut section) {
        Some(Read::Posted(kind)) => (Some(kind), None),
        Some(Read::Fed(kind, fed)) => (Some(kind), Some(fed)),
        None => (None, None),
    };
    let directory = section.name("directory").unwrap_or_else(|| DEFAULT_DIRECTORY.to_owned());
    let secrets = match &kind {
        // Nobody posts; or a token proves by itself who made it.
        Some(Kind::Fed) => Some(Vec::new()),
        Some(Kind::ScimEvents(_) | Kind::File(_)) if !section.has("secrets") => Some(Vec::new()),
        Some(Kind::Preset(_, options)) if options.issued.is_some() => Some(Vec::new()),
        Some(_) | None => secrets(&mut section),
    };
    if secrets.as_ref().is_none_or(|secrets| !secrets.is_empty()) {
        section.expires();
    }
    let silent_after = match &kind {
        // How often these are asked is configured; that they fail is told besides.
        Some(Kind::Fed | Kind::File(_)) => None,
        Some(_) | None => section.duration("silent_after", SILENCE),
    };
    let repeats_for = section.duration("repeats_for", REPEATS_FOR);
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
    if settings.as_ref().is_some_and(has_mangled_secret) {
        let remedy = "copy the whole of it; as text it signs only for a sender that takes it as text, too";
        section.add(Problem::warning(
            section.path_of("secrets"),
            "holds one that begins with whsec_ and is no base64 after that, and so is taken as text",
            remedy,
        ));
    }
    section.finish();
    let settings = settings?;
    let feed = feed.map(|(way, limits)| crate::feed::Settings {
        source: settings.name.clone(),
        directory: settings.directory.clone(),
        limits,
        way,
    });
    let repeats_for = repeats_for.or_else(|| usual_repeats(&settings.kind));
    let patience = repeats_for.and_then(|repeats_for| patience(&settings, repeats_for, connector.as_ref()));
    Some(Source { settings, feed, connector, silent_after, patience })
}

/// How long a sender of this kind repeats what was not taken; `None`: it sends nothing.
fn usual_repeats(kind: &Kind) -> Option<Duration> {
    match kind {
        Kind::Native | Kind::Mapped(_) | Kind::ScimEvents(_) => Some(REPEATS_USUAL),
        Kind::Preset(preset, _) => Some(preset.repeats_for),
        // What was not dropped or listed yet is there later.
        Kind::Fed | Kind::File(_) => None,
    }
}

/// A record of changes that is read afterwards makes up for a silence as long as it is kept.
fn patience(
    settings: &Settings,
    repeats_for: Duration,
    connector: Option<&ConnectorConfig>,
) -> Option<Duration> {
    let is_read = connector.is_some_and(|connector| connector.catch_up.is_some());
    let Some(provider) = settings.provider.as_ref().filter(|_| is_read) else { return Some(repeats_for) };
    let connector = provider.open();
    Some(connector.feed()?.kept_for()?.max(repeats_for))
}

/// What a kind's own keys say.
enum Read {
    /// It posts webhooks.
    Posted(Kind),
    /// It is taken in.
    Fed(Kind, (Way, Limits)),
}

fn kind(section: &mut Section<'_>) -> Option<Read> {
    let remedy = "write kind = \"native\"";
    let text = section.text("kind");
    let text = section.require("kind", text, remedy)?;
    if text == "native" {
        return Some(Read::Posted(Kind::Native));
    }
    if text == "mapped" {
        return mapping::read(section).map(|mapping| Read::Posted(Kind::Mapped(Box::new(mapping))));
    }
    if text == "scim-events" {
        let transmitter = transmitter::read(section)?;
        return Some(Read::Posted(Kind::ScimEvents(Box::new(transmitter))));
    }
    if let Some(preset) = PRESETS.iter().find(|preset| preset.name == text) {
        return options(section, preset).map(|options| Read::Posted(Kind::Preset(preset, options)));
    }
    if text == "poll" {
        return poll::read(section).map(|fed| Read::Fed(Kind::Fed, fed));
    }
    if text == "file" {
        return file::read(section).map(|(drop, fed)| Read::Fed(Kind::File(Box::new(drop)), fed));
    }
    let mut kinds: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    kinds.extend(["scim-events", "mapped", "poll", "file"]);
    section.reject("kind", &text, "is not a kind of source", format!("{remedy}, or {}", one_of(&kinds)));
    None
}

/// What a sender leaves open; keys that it does not know are left for the end of the section.
fn options(section: &mut Section<'_>, preset: &Preset) -> Option<Options> {
    let mut options = Options::default();
    if let Some(tokens) = preset.tokens {
        match tokens::read(section, tokens)? {
            tokens::Vouched::Secret => {}
            tokens::Vouched::Token(issued) => options.issued = Some(issued),
        }
    }
    if preset.options.contains(&Options::HEADER) {
        options.header = header(section, Options::HEADER);
    }
    if preset.options.contains(&Options::ALGORITHM) {
        options.algorithm = algorithm(section);
    }
    Some(options)
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

/// Whether a sender that signs by Standard Webhooks has a secret that looks cut off.
fn has_mangled_secret(settings: &Settings) -> bool {
    let is_signed = matches!(settings.kind, Kind::Native | Kind::File(_));
    is_signed && settings.secrets.iter().any(standard_webhooks::is_mangled)
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
