//! `[sources.NAME.signature]`: how a mapped sender proves who it is.

use std::time::Duration;

use http::HeaderName;

use super::{algorithm, header};
use crate::config::problem::Problem;
use crate::config::reader::{Section, one_of};
use crate::source::signature::Scheme;
use crate::source::signature::keyed::{Algorithm, Encoding, KeyForm, Settings, Template, Time, ValueForm};
use crate::source::signature::shared::Place;
use crate::source::signature::standard_webhooks::HeaderNames;
use crate::source::signature::time::{Format, Tolerance};

const SCHEMES: [&str; 5] = ["hmac", "standard-webhooks", "svix", "header", "query"];
const TOLERANCE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

/// Reads a signature.
pub fn read(mut section: Section<'_>) -> Option<Scheme> {
    let text = section.text("scheme");
    let remedy = format!("write scheme = \"hmac\", or one of {}", one_of(&SCHEMES));
    let text = section.require("scheme", text, &remedy);
    let scheme = match text.as_deref() {
        Some("hmac") => keyed(&mut section).map(Scheme::Keyed),
        Some("standard-webhooks") => Some(Scheme::StandardWebhooks(HeaderNames::STANDARD)),
        Some("svix") => Some(Scheme::StandardWebhooks(HeaderNames::SVIX)),
        Some("header") => secret_header(&mut section).map(Scheme::Shared),
        Some("query") => secret_parameter(&mut section).map(Scheme::Shared),
        Some(other) => {
            section.reject("scheme", other, "is not a scheme that is known", remedy);
            // What else the section may hold depends on the scheme.
            return None;
        }
        None => return None,
    };
    section.finish();
    scheme
}

fn secret_header(section: &mut Section<'_>) -> Option<Place> {
    let name = required_header(section);
    let prefix = section.text("prefix").unwrap_or_default();
    Some(Place::Header { name: name?, prefix })
}

fn secret_parameter(section: &mut Section<'_>) -> Option<Place> {
    let parameter = section.text("parameter");
    section.require("parameter", parameter, "write parameter = \"key\"").map(Place::Query)
}

fn required_header(section: &mut Section<'_>) -> Option<HeaderName> {
    let name = header(section, "header");
    section.require("header", name, "write the name of the header, such as header = \"x-signature\"")
}

fn keyed(section: &mut Section<'_>) -> Option<Settings> {
    let name = required_header(section);
    let form = form(section);
    let algorithm = algorithm(section).unwrap_or(Algorithm::Sha256);
    let encoding = encoding(section).unwrap_or(Encoding::Hex);
    let key = section.section("key").map_or(KeyForm::Text, key);
    let time = section.section("timestamp").map(|timestamp| time(timestamp, &form));
    let id_header = header(section, "id_header");
    let signed = signed(section, time.is_some(), id_header.is_some());
    Some(Settings { headers: vec![name?], form, algorithm, encoding, key, signed: signed?, time, id_header })
}

/// One of `prefix`, `pairs` and `version`; none: the header holds nothing but the signature.
fn form(section: &mut Section<'_>) -> ValueForm {
    let prefix = section.text("prefix").map(ValueForm::Prefixed);
    let version = section.text("version").map(ValueForm::Versioned);
    let pairs = section.section("pairs").map(pairs);
    let mut forms = [prefix, version, pairs].into_iter().flatten();
    let form = forms.next().unwrap_or(ValueForm::Bare);
    if forms.next().is_some() {
        section.add(Problem::error(
            section.path(),
            "tells more than one form of the header",
            "keep one of `prefix`, `version` and `pairs`",
        ));
    }
    form
}

fn pairs(mut section: Section<'_>) -> ValueForm {
    let time = section.text("timestamp").unwrap_or_else(|| "t".to_owned());
    let signature = section.text("signature").unwrap_or_else(|| "v1".to_owned());
    section.finish();
    ValueForm::Pairs { time, signature }
}

fn encoding(section: &mut Section<'_>) -> Option<Encoding> {
    section.choice("encoding", &[("hex", Encoding::Hex), ("base64", Encoding::Base64)])
}

fn key(mut section: Section<'_>) -> KeyForm {
    let prefix = section.text("prefix").unwrap_or_default();
    let encoding = encoding(&mut section).unwrap_or(Encoding::Base64);
    section.finish();
    KeyForm::Encoded { prefix, encoding }
}

fn time(mut section: Section<'_>, form: &ValueForm) -> Time {
    let name = header(&mut section, "header");
    if name.is_none() && !section.has("header") && !matches!(form, ValueForm::Pairs { .. }) {
        let reason = "is missing, and the signature's header has no pairs that could hold the time";
        section.add(Problem::error(section.path_of("header"), reason, "write the name of the header"));
    }
    let format = format(&mut section);
    let usual = Duration::from_secs(u64::from(Tolerance::USUAL.past));
    let mut seconds = |key| {
        let span = section.duration(key, TOLERANCE).unwrap_or(usual);
        u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
    };
    let tolerance = Tolerance { past: seconds("past"), future: seconds("future") };
    section.finish();
    Time { header: name, format, tolerance }
}

/// How a time is written, under the key `format`.
pub fn format(section: &mut Section<'_>) -> Format {
    let formats = [
        ("auto", Format::Auto),
        ("unix", Format::UnixSeconds),
        ("unix-ms", Format::UnixMillis),
        ("rfc3339", Format::Rfc3339),
    ];
    section.choice("format", &formats).unwrap_or(Format::Auto)
}

/// What is signed; absent: what the other keys make likely.
fn signed(section: &mut Section<'_>, has_time: bool, has_id: bool) -> Option<Template> {
    let likely = if has_time { "{timestamp}.{body}" } else { "{body}" };
    let text = section.text("signed").unwrap_or_else(|| likely.to_owned());
    let template = match Template::parse(&text) {
        Ok(template) => template,
        Err(error) => {
            let remedy = "write a template such as \"{timestamp}.{body}\"";
            section.reject("signed", &text, error.to_string(), remedy);
            return None;
        }
    };
    let problems = [
        (
            template.has_timestamp() != has_time,
            "timestamp",
            "and `timestamp` do not agree: a time that is not signed proves nothing, and one that is signed must be found",
        ),
        (
            template.has_id() && !has_id,
            "id_header",
            "holds {id}, and `id_header` does not say where it stands",
        ),
    ];
    for (_, key, reason) in problems.iter().filter(|(wrong, ..)| *wrong) {
        section.reject("signed", &text, *reason, format!("write both `signed` and `{key}`"));
    }
    Some(template)
}
