//! `[sources.NAME.connector]`: how the sender is asked for what its webhooks leave out.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{mapping, signature};
use crate::config::problem::Problem;
use crate::config::reader::{Section, one_of};
use crate::config::target::{auth, limits, warn_of_plain_http};
use crate::source::connectors::{MemberList, Provider, Record, Rest, Ssf, Template};
use crate::source::mapped::Kind as RecordKind;
use crate::source::{self, Preset};
use crate::target::profile::Limits;
use crate::target::{self, Profile};

/// Calls a second where none are configured: what the smallest of the providers' tiers allow.
const RATE: f64 = 5.0;
const BURST: NonZeroU32 = NonZeroU32::new(10).expect("10 is over zero");
const CONCURRENCY: NonZeroU32 = NonZeroU32::new(4).expect("4 is over zero");
/// More often, and webhooks would be of no use; a position is kept for some days.
const CATCH_UP: std::ops::RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(24);
/// Where a transmitter describes itself (`OpenID` SSF 1.0 section 7.2).
const SSF_DESCRIPTION: &str = "/.well-known/ssf-configuration";
const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(5);

/// The providers that have settings of nobody else, by the words for them, with the address of those
/// that have one for all.
const KNOWN: [(&str, Provider, Option<&str>); 7] = [
    ("auth0", Provider::Auth0, None),
    ("google", Provider::Google, Some("https://admin.googleapis.com")),
    ("graph", Provider::Graph, Some("https://graph.microsoft.com/v1.0")),
    ("keycloak", Provider::Keycloak, None),
    ("okta", Provider::Okta, None),
    ("scim", Provider::Scim, None),
    ("workos", Provider::WorkOs, Some("https://api.workos.com")),
];

/// How a provider is asked, and how often beyond what its webhooks name.
#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    /// How it is called.
    pub connection: target::Settings,
    /// How often what was missed is read; `None`: never.
    pub catch_up: Option<Duration>,
    /// Where the provider is to be told to send webhooks.
    pub subscription: Option<String>,
}

/// Reads a connector. `kind` is the source's, where that could be read.
pub fn read(
    name: &str,
    mut section: Section<'_>,
    kind: Option<&source::Kind>,
) -> Option<(Provider, ConnectorConfig)> {
    let usual = kind.and_then(usual);
    let text = section.text("kind").or_else(|| usual.map(str::to_owned));
    let mut kinds: Vec<&str> = KNOWN.iter().map(|(kind, ..)| *kind).collect();
    kinds.extend(["rest", "ssf"]);
    let remedy = format!("write kind = {}", one_of(&kinds));
    let text = section.require("kind", text, &remedy);
    let text = text?;
    let known = KNOWN.iter().find(|(kind, ..)| *kind == text);
    let (provider, address) = match known {
        Some((_, provider, address)) => (Some(provider.clone()), *address),
        None if text == "rest" => (rest(&mut section).map(|rest| Provider::Rest(Box::new(rest))), None),
        None if text == "ssf" => (ssf(&mut section).map(Provider::Ssf), None),
        None => {
            section.reject("kind", &text, "is not a provider that can be asked", remedy);
            // What else the section may hold depends on the kind.
            return None;
        }
    };
    let connection = connection(name, &mut section, address);
    let catch_up = catch_up(&mut section, provider.as_ref());
    let subscription = subscription(&mut section, provider.as_ref());
    section.finish();
    Some((provider?, ConnectorConfig { connection: connection?, catch_up, subscription }))
}

/// How often what was missed is read, of a provider that can tell.
fn catch_up(section: &mut Section<'_>, provider: Option<&Provider>) -> Option<Duration> {
    let interval = section.duration("catch_up", CATCH_UP)?;
    if provider.is_some_and(|provider| provider.open().feed().is_none()) {
        section.add(Problem::error(
            section.path_of("catch_up"),
            "cannot be had: this provider does not tell what was missed",
            "leave it out",
        ));
    }
    Some(interval)
}

/// Where webhooks are to be sent, for a provider that must be told again and again.
fn subscription(section: &mut Section<'_>, provider: Option<&Provider>) -> Option<String> {
    let url = section.url("subscription")?;
    if provider.is_some_and(|provider| provider.open().subscribe().is_none()) {
        section.add(Problem::error(
            section.path_of("subscription"),
            "cannot be had: this provider is told by its own console",
            "leave it out",
        ));
    }
    warn_of_plain_http(section, "subscription", &url);
    Some(url.to_string())
}

/// The provider that sends such webhooks.
fn usual(kind: &source::Kind) -> Option<&'static str> {
    match kind {
        source::Kind::Preset(Preset { name, .. }, _) => match *name {
            "entra" => Some("graph"),
            name => KNOWN.iter().map(|(kind, ..)| *kind).find(|kind| *kind == name),
        },
        source::Kind::ScimEvents(_) => Some("scim"),
        source::Kind::Native | source::Kind::Mapped(_) | source::Kind::Fed | source::Kind::File(_) => None,
    }
}

/// How the provider is called: as a target is, with its own name in metrics and logs.
fn connection(name: &str, section: &mut Section<'_>, address: Option<&str>) -> Option<target::Settings> {
    let usual = || Some(address?.parse().expect("the addresses above are URLs"));
    let base_url = if section.has("base_url") { section.url("base_url") } else { usual() };
    let remedy = "write where the provider's API begins, such as base_url = \"https://acme.okta.com\"";
    let base_url = section.require("base_url", base_url, remedy);
    if let Some(url) = &base_url {
        warn_of_plain_http(section, "base_url", url);
    }
    let mut profile = Profile::builtin("rfc7644").expect("it is built in");
    "application/json, application/scim+json".clone_into(&mut profile.http.accept);
    "application/json".clone_into(&mut profile.http.content_type);
    profile.limits =
        Limits { rate_per_second: Some(RATE), burst: BURST, concurrency: CONCURRENCY, ..Limits::default() };
    let auth = auth::read(section, Some(&profile.auth));
    let overrides = section.section("limits").map(limits::read).unwrap_or_default();
    let timeout = section.duration("timeout", TIMEOUT);
    let settings = target::Settings::new(format!("sources.{name}"), base_url?, auth?, profile);
    let limits = settings.limits.clone().with(&overrides);
    Some(target::Settings { limits, timeout: timeout.unwrap_or(settings.timeout), ..settings })
}

fn ssf(section: &mut Section<'_>) -> Option<Ssf> {
    let description = section.text("description").unwrap_or_else(|| SSF_DESCRIPTION.to_owned());
    let Some(path) = description.strip_prefix('/').filter(|path| !path.starts_with('/')) else {
        let remedy = format!("write description = \"{SSF_DESCRIPTION}\", and what the issuer has for a path");
        section.reject("description", &description, "is no path below base_url", remedy);
        return None;
    };
    Some(Ssf { description: path.to_owned() })
}

fn rest(section: &mut Section<'_>) -> Option<Rest> {
    let user = section.section("user").map(|section| record(section, RecordKind::User));
    let mut inline_members = None;
    let group = section.section("group").map(|mut section| {
        inline_members = mapping::pointer(&mut section, "members");
        record(section, RecordKind::Group)
    });
    let members = section.section("members").map(member_list);
    if user.is_none() && group.is_none() {
        let remedy = "add [….connector.user] with path = \"/users/{id}\"";
        section.add(Problem::error(section.path(), "says neither how users nor how groups are read", remedy));
        return None;
    }
    let changed_at = section.section("changed_at").map(|mut section| {
        let at = mapping::pointer(&mut section, "at");
        let at = section.require("at", at, "write at = \"/updated_at\"");
        let format = signature::format(&mut section);
        section.finish();
        at.map(|at| (at, format))
    });
    let absent = section.section("absent").map(|mut section| {
        let at = mapping::pointer(&mut section, "at");
        let at = section.require("at", at, "write at = \"/code\"");
        let is = section.text("is");
        let is = section.require("is", is, "write is = \"user_not_found\"");
        section.finish();
        at.zip(is)
    });
    Some(Rest {
        user: all_or_nothing(user)?,
        group: all_or_nothing(group)?,
        members: all_or_nothing(members)?,
        inline_members,
        changed_at: all_or_nothing(changed_at)?,
        absent: all_or_nothing(absent)?,
    })
}

/// A part that was written and could not be read makes the whole unusable.
#[expect(clippy::option_option, reason = "absent and unreadable are two things")]
fn all_or_nothing<T>(part: Option<Option<T>>) -> Option<Option<T>> {
    match part {
        None => Some(None),
        Some(None) => None,
        Some(Some(part)) => Some(Some(part)),
    }
}

fn record(mut section: Section<'_>, kind: RecordKind) -> Option<Record> {
    let path = template(&mut section);
    let at = mapping::pointer(&mut section, "at");
    let fields = mapping::fields(&mut section, kind);
    section.finish();
    Some(Record { path: path?, at, fields })
}

fn member_list(mut section: Section<'_>) -> Option<MemberList> {
    let path = template(&mut section);
    let ids = mapping::pointer(&mut section, "ids");
    let ids =
        section.require("ids", ids, "write where the users' ids stand, such as ids = \"/members/*/id\"");
    let next = mapping::pointer(&mut section, "next");
    section.finish();
    Some(MemberList { path: path?, ids: ids?, next })
}

fn template(section: &mut Section<'_>) -> Option<Template> {
    let remedy = "write a path below base_url such as path = \"/users/{id}\"";
    let text = section.text("path");
    let text = section.require("path", text, remedy)?;
    match Template::parse(&text) {
        Ok(template) => Some(template),
        Err(reason) => {
            section.reject("path", &text, reason, remedy);
            None
        }
    }
}
