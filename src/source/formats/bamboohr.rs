//! BambooHR: <https://documentation.bamboohr.com/docs/webhooks>, field-based and event-based, each as
//! JSON or as a posted form.
//!
//! A field-based body lists employees with the fields that the webhook was set up to send, under
//! BambooHR's names or aliases. An event-based one names one employee, who must be read. Who is deleted
//! or whose `status` is `Inactive` loses access. The signature covers the body and the header with the
//! time, without anything between them.

mod form;

use http::HeaderName;
use serde_json::{Map, Value};

use super::Preset;
use super::draft::{Draft, user_deletion};
use super::view::View;
use crate::directory::ResourceKey;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::keyed::{Settings, Template, Time};
use crate::source::signature::time::{Format, Tolerance};
use crate::source::{Manners, Media, Reading};

/// `kind = "bamboohr"`.
pub const PRESET: Preset = Preset {
    // A form is declared as one.
    manners: Manners { media: Media::Any, ..Manners::USUAL },
    ..Preset::new("bamboohr", |_| scheme(), read)
};

/// The time was seen both as RFC 3339 and as digits.
fn scheme() -> Scheme {
    let header = Some(HeaderName::from_static("x-bamboohr-timestamp"));
    Scheme::Keyed(Settings {
        signed: Template::body_timestamp(),
        time: Some(Time { header, format: Format::Auto, tolerance: Tolerance::USUAL }),
        ..Settings::of_body("x-bamboohr-signature")
    })
}

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = match body.trim_ascii_start().first() {
        Some(b'{') | None => json::parse(body)?,
        Some(_) => form::read(body)?,
    };
    let root = View::root(&body);
    match root.get("employees") {
        Some(employees) => employees
            .items()?
            .try_fold(Reading::default(), |read, employee| Ok(read.and(read_employee(&employee)?))),
        None => read_event(&root),
    }
}

/// An event-based body.
fn read_event(event: &View<'_>) -> Result<Reading, Malformed> {
    let id = || event.need("data")?.need("employeeId")?.id();
    Ok(match event.text("type")? {
        "employee.created" | "employee.updated" => Reading::needing(ResourceKey::user(id()?)),
        "employee.deleted" => Reading::of(vec![user_deletion(id()?, event.time("timestamp")?)]),
        _ => Reading::nothing(),
    })
}

fn read_employee(employee: &View<'_>) -> Result<Reading, Malformed> {
    let id = employee.need("id")?.id()?;
    let at = employee.time("timestamp")?;
    if employee.word("action").is_some_and(|action| action.eq_ignore_ascii_case("deleted")) {
        return Ok(Reading::of(vec![user_deletion(id, at)]));
    }
    let fields =
        employee.get("fields").and_then(|fields| fields.object()).filter(|fields| !fields.is_empty());
    let Some(fields) = fields.map(plain) else {
        return Ok(Reading::needing(ResourceKey::user(id)));
    };
    let fields = employee.in_place(&fields);
    let mut draft = Draft::user()
        .key("userName", fields.word("workemail"))
        .email(fields.word("workemail"))
        .name("givenName", &fields, "firstname")
        .name("familyName", &fields, "lastname")
        .active(fields.word("status").map(|status| !status.eq_ignore_ascii_case("inactive")));
    for (name, attribute) in FIELDS {
        draft = draft.text(attribute, &fields, name);
    }
    Ok(Reading::of(vec![draft.upsert(id, at)?]))
}

/// The fields by their names in small letters and without spaces, so that a field is known by its name
/// in forms (`First name`) and by its alias (`firstName`). A value may stand in an object of its own.
fn plain(fields: &Map<String, Value>) -> Value {
    let name = |text: &str| text.replace([' ', '_'], "").replace('#', "number").to_ascii_lowercase();
    let value = |value: &Value| value.get("value").unwrap_or(value).clone();
    Value::Object(fields.iter().map(|(key, field)| (name(key), value(field))).collect())
}

/// BambooHR's names of fields, and what they are in SCIM.
const FIELDS: [(&str, &str); 5] = [
    ("displayname", "displayName"),
    ("jobtitle", "title"),
    ("department", "department"),
    ("division", "division"),
    ("employeenumber", "employeeNumber"),
];
