//! `kind = "mapped"`: what the webhooks of any sender mean.

use http::StatusCode;

use super::signature;
use crate::config::problem::Problem;
use crate::config::reader::{Section, one_of};
use crate::source::mapped::{Effect, Field, Kind, Mapping, Pointer, Rule};
use crate::source::signature::time::Format;

const CHANGES: [&str; 8] = [
    "user.upsert",
    "user.deactivate",
    "user.delete",
    "user.read",
    "group.upsert",
    "group.delete",
    "group.members",
    "group.read",
];

/// What may be answered once an event is durable.
const ACCEPTED: [StatusCode; 3] = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::CREATED];
/// What may be answered over the intake limit.
const LIMITED: [StatusCode; 2] = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];

/// Reads what a mapped source has besides the keys of every source.
pub fn read(section: &mut Section<'_>) -> Option<Mapping> {
    let scheme = section.section("signature");
    let scheme = section.require("signature", scheme, "add [….signature] with scheme = \"hmac\"");
    let scheme = scheme.and_then(signature::read);
    let events = pointer(section, "events");
    let event_type = pointer(section, "event_type");
    let event_type = section.require("event_type", event_type, "write event_type = \"/type\"");
    let event_id = pointer(section, "event_id");
    let occurred_at = occurred_at(section);
    let accepted = status(section, "accepted", &ACCEPTED);
    let limited = status(section, "limited", &LIMITED);
    let rules = rules(section);
    Some(Mapping {
        scheme: scheme?,
        events,
        event_type: event_type?,
        event_id,
        occurred_at,
        rules: rules?,
        accepted,
        limited,
    })
}

/// `[….occurred_at]`: where the time of a change stands, and how it is written.
pub fn occurred_at(section: &mut Section<'_>) -> Option<(Pointer, Format)> {
    let mut section = section.section("occurred_at")?;
    let at = pointer(&mut section, "at");
    let at = section.require("at", at, "write at = \"/created_at\"");
    let format = signature::format(&mut section);
    section.finish();
    Some((at?, format))
}

/// `[[….rules]]`.
pub fn rules(section: &mut Section<'_>) -> Option<Vec<Rule>> {
    let sections = section.sections("rules");
    if sections.is_empty() {
        let remedy = "add [[….rules]] with types, change and id";
        section.add(Problem::error(
            section.path_of("rules"),
            "is missing: no event would mean anything",
            remedy,
        ));
    }
    let written = sections.len();
    let rules: Vec<Rule> = sections.into_iter().filter_map(rule).collect();
    (written > 0 && rules.len() == written).then_some(rules)
}

fn rule(mut section: Section<'_>) -> Option<Rule> {
    let types = section.texts("types");
    let types = section.require("types", types, "write types = [\"user.created\"], or [\"*\"] for any");
    let id = pointer(&mut section, "id");
    let id = section.require("id", id, "write where the id stands, such as id = \"/user/id\"");
    let change = section.text("change");
    let remedy = format!("write change = {}", one_of(&CHANGES));
    let change = section.require("change", change, &remedy);
    let effect = match change.as_deref() {
        Some("user.upsert") => Some(Effect::Upsert(Kind::User, fields(&mut section, Kind::User))),
        Some("group.upsert") => Some(Effect::Upsert(Kind::Group, fields(&mut section, Kind::Group))),
        Some("user.deactivate") => Some(Effect::Deactivate),
        Some("user.delete") => Some(Effect::Delete(Kind::User)),
        Some("group.delete") => Some(Effect::Delete(Kind::Group)),
        Some("group.members") => members(&mut section),
        Some("user.read") => Some(Effect::Read(Kind::User)),
        Some("group.read") => Some(Effect::Read(Kind::Group)),
        Some(other) => {
            section.reject("change", other, "is not a change that is known", remedy);
            // What else the rule may hold depends on the change.
            return None;
        }
        None => return None,
    };
    section.finish();
    Some(Rule { types: types?, id: id?, effect: effect? })
}

/// `[….attributes]`: SCIM names and where their values stand. `active_when` has the sender's words.
pub fn fields(section: &mut Section<'_>, kind: Kind) -> Vec<Field> {
    let words = if kind == Kind::User { section.texts("active_when") } else { None };
    let Some(attributes) = section.section("attributes") else { return Vec::new() };
    let path = attributes.path().to_owned();
    let mut fields = Vec::new();
    for (attribute, text) in attributes.free_texts() {
        let key = format!("{path}.{attribute}");
        if let Err(reason) = Field::check(kind, &attribute) {
            section.add(Problem::error(key, reason, "name an attribute of SCIM, such as userName"));
            continue;
        }
        let true_when = words.clone().filter(|_| attribute.eq_ignore_ascii_case("active"));
        match Pointer::parse(&text) {
            Ok(from) => fields.push(Field { attribute, from, true_when }),
            Err(error) => section.add(
                Problem::error(
                    key,
                    error.to_string(),
                    "write where the value stands, such as \"/user/login\"",
                )
                .with_value(text),
            ),
        }
    }
    fields
}

fn members(section: &mut Section<'_>) -> Option<Effect> {
    let (add, remove, set) = (pointer(section, "add"), pointer(section, "remove"), pointer(section, "set"));
    match (add, remove, set) {
        (None, None, Some(set)) => Some(Effect::MemberSet(set)),
        (None, None, None) => {
            let reason = "names no members";
            section.add(Problem::error(section.path(), reason, "write `add`, `remove`, or `set`"));
            None
        }
        (add, remove, None) => Some(Effect::Members { add, remove }),
        (_, _, Some(_)) => {
            let reason = "cannot have `set` beside `add` or `remove`: it is the whole, they are a difference";
            section.add(Problem::error(section.path(), reason, "keep one of the two"));
            None
        }
    }
}

pub fn pointer(section: &mut Section<'_>, key: &'static str) -> Option<Pointer> {
    let text = section.text(key)?;
    match Pointer::parse(&text) {
        Ok(pointer) => Some(pointer),
        Err(error) => {
            section.reject(key, &text, error.to_string(), "write a place such as \"/user/id\"");
            None
        }
    }
}

/// One of these statuses; the first where none is written.
fn status(section: &mut Section<'_>, key: &'static str, known: &[StatusCode]) -> StatusCode {
    let Some(number) = section.integer(key, 200..=599) else { return known[0] };
    let found = known.iter().find(|status| u32::from(status.as_u16()) == number);
    if found.is_none() {
        let known: Vec<&str> = known.iter().map(StatusCode::as_str).collect();
        section.reject(key, number, "is not a status to answer with", format!("write {}", one_of(&known)));
    }
    found.copied().unwrap_or(known[0])
}
