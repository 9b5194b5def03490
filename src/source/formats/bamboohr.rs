//! BambooHR: <https://documentation.bamboohr.com/docs/webhooks>, in the format JSON.
//!
//! A body lists employees with the fields that the webhook was set up to send. Who is deleted or
//! whose `status` is `Inactive` loses access. The signature covers the body and the header with the
//! time, without anything between them.

use http::HeaderName;

use super::Preset;
use super::draft::{Draft, user_deletion};
use super::view::View;
use crate::directory::ResourceKey;
use crate::source::Reading;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::keyed::{Settings, Template, Time};
use crate::source::signature::time::{Format, Tolerance};

/// `kind = "bamboohr"`.
pub const PRESET: Preset = Preset::new("bamboohr", |_| scheme(), read);

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
    let body = json::parse(body)?;
    let employees = View::root(&body).need("employees")?;
    employees.items()?.try_fold(Reading::default(), |read, employee| Ok(read.and(read_employee(&employee)?)))
}

fn read_employee(employee: &View<'_>) -> Result<Reading, Malformed> {
    let id = employee.need("id")?.id()?;
    let at = employee.time("timestamp")?;
    if employee.word("action").is_some_and(|action| action.eq_ignore_ascii_case("deleted")) {
        return Ok(Reading::of(vec![user_deletion(id, at)]));
    }
    let Some(fields) = employee.get("fields").filter(|fields| fields.object().is_some_and(|f| !f.is_empty()))
    else {
        return Ok(Reading::needing(ResourceKey::user(id)));
    };
    let field = |name: &str| fields.get(name).and_then(|field| field.word("value"));
    let mut draft = Draft::user()
        .key("userName", field("workEmail"))
        .email(field("workEmail"))
        .active(field("status").map(|status| !status.eq_ignore_ascii_case("inactive")));
    for (name, attribute) in FIELDS {
        if let Some(field) = fields.get(name) {
            draft = draft.text(attribute, &field, "value");
        }
    }
    for (name, part) in [("firstName", "givenName"), ("lastName", "familyName")] {
        if let Some(field) = fields.get(name) {
            draft = draft.name(part, &field, "value");
        }
    }
    Ok(Reading::of(vec![draft.upsert(id, at)?]))
}

/// BambooHR's names of fields, and what they are in SCIM.
const FIELDS: [(&str, &str); 5] = [
    ("displayName", "displayName"),
    ("jobTitle", "title"),
    ("department", "department"),
    ("division", "division"),
    ("employeeNumber", "employeeNumber"),
];
