//! What one answer means, and so what to do next. Pure: a table from status, headers and body.
//!
//! The status decides; a SCIM body only refines it, since many vendors send none. Whose fault it is
//! matters as much as what it is: a target's fault suspends the target and costs no item an attempt,
//! an item's fault parks the item and holds up nobody else.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Map, Value};

use crate::scim::error::{ErrorBody, ScimType};
use crate::scim::etag::ETag;
use crate::scim::resource;
use crate::scim::schema;
use crate::target::call::{Answer, Call, CallClass, CallError};
use crate::target::profile::Profile;
use crate::target::retry_after::retry_after;

/// What is to be known of a call to judge its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFacts {
    /// The HTTP method.
    pub method: Method,
    /// The path's shape, such as `Users/{id}`.
    pub endpoint: &'static str,
    /// The call's class.
    pub class: CallClass,
    /// Whether it carried `If-Match`.
    pub if_match: bool,
}

impl From<&Call> for CallFacts {
    fn from(call: &Call) -> Self {
        Self {
            method: call.method.clone(),
            endpoint: call.endpoint,
            class: call.class,
            if_match: call.if_match.is_some(),
        }
    }
}

/// What an answer means: each case is something else to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It worked.
    Done {
        /// The status, from 200 to 299.
        status: StatusCode,
        /// The body, if it had one.
        resource: Option<Value>,
        /// The resource's version: from the header, else from `meta.version`.
        etag: Option<ETag>,
        /// The vendor's id: from the body, else, after a POST, from `Location`.
        id: Option<String>,
    },
    /// The resource has changed since it was read: read, then plan anew.
    Stale,
    /// Another resource holds the unique value: find it.
    Taken {
        /// The vendor's words; they may hold attribute values.
        detail: Option<String>,
        /// Where it is, by the answer's own word: the `Location` header, then what the body says. Unchecked.
        locations: Vec<String>,
    },
    /// The resource is not there.
    Missing,
    /// Too much in one request: split it.
    TooLarge {
        /// The vendor's words; they may hold attribute values.
        detail: Option<String>,
    },
    /// The item is at fault: park it.
    Refused {
        /// The status.
        status: StatusCode,
        /// The kind of error, where the body names one.
        scim_type: Option<ScimType>,
        /// The vendor's words; they may hold attribute values.
        detail: Option<String>,
    },
    /// Too fast: the gate waits, the item is not charged.
    Throttled {
        /// How long the vendor asks us to wait.
        retry_after: Option<Duration>,
    },
    /// A failure that passes: try again later.
    Transient {
        /// The status.
        status: StatusCode,
        /// Whether a write may have been done all the same, so that what is there must be read first.
        unknown: bool,
    },
    /// No answer, and perhaps delivered: read, then plan.
    Unknown,
    /// Nothing reached the vendor: try again later.
    NotSent,
    /// The target is at fault, not the item: suspend it.
    TargetFault {
        /// For people; no secret, no attribute values.
        reason: String,
        /// What would mend it.
        mend: Mend,
    },
}

/// What would mend a target at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Credentials that the vendor takes.
    Credentials,
    /// More rights for the credentials.
    Permissions,
    /// Another base URL, or whatever stands between here and there.
    Address,
    /// The vendor's own doing.
    Vendor,
}

impl Mend {
    /// What to do, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Credentials => {
                "give the target credentials that the vendor takes (`auth`): one that was replaced where the \
                 configuration refers to it is found at the next call"
            }
            Self::Permissions => {
                "have the vendor grant these credentials the scopes or the role that they lack"
            }
            Self::Address => {
                "set `base_url` right, or whatever proxy or certificate stands before the vendor"
            }
            Self::Vendor => "nothing here: the vendor fails, and is tried again by itself",
        }
    }
}

/// Judges the outcome of one call.
pub fn judge(profile: &Profile, call: &CallFacts, outcome: Result<&Answer, &CallError>) -> Verdict {
    match outcome {
        Ok(answer) if answer.status.is_success() => success(profile, call, answer),
        Ok(answer) => {
            let said = ErrorBody::parse(&answer.body).unwrap_or_default();
            by_status(profile, call, answer, answer.status, &said)
        }
        Err(CallError::NotSent { .. }) => Verdict::NotSent,
        Err(CallError::Unknown { .. }) => Verdict::Unknown,
        Err(CallError::Credentials { reason }) => {
            Verdict::TargetFault { reason: reason.clone(), mend: Mend::Credentials }
        }
        Err(CallError::Unusable { reason }) => {
            Verdict::TargetFault { reason: reason.clone(), mend: Mend::Address }
        }
        Err(CallError::TooLarge { status, limit }) => Verdict::Refused {
            status: *status,
            scim_type: None,
            detail: Some(format!("the answer is larger than {limit} bytes")),
        },
    }
}

fn success(profile: &Profile, call: &CallFacts, answer: &Answer) -> Verdict {
    let status = answer.status;
    let body = match serde_json::from_slice::<Map<String, Value>>(&answer.body) {
        Ok(body) => Some(body),
        Err(_) if answer.body.is_empty() && call.method != Method::GET => None,
        // What a DELETE says besides its status has no meaning, unless it is a page for people.
        Err(_) if call.method == Method::DELETE && !is_html(answer) => None,
        Err(_) => {
            let reason = format!(
                "{} {} answered {} with {}",
                call.method,
                call.endpoint,
                status.as_u16(),
                kind(answer)
            );
            return Verdict::TargetFault { reason, mend: Mend::Address };
        }
    };
    if let Some(said) = body.as_ref().and_then(|body| error_in_success(body, &answer.body)) {
        let claimed = said.status.and_then(|status| StatusCode::from_u16(status).ok());
        let claimed = claimed.filter(|status| status.as_u16() >= 400).unwrap_or(StatusCode::BAD_REQUEST);
        return by_status(profile, call, answer, claimed, &said);
    }
    let resource = body.map(Value::Object);
    let id = resource.as_ref().and_then(resource::id).or_else(|| {
        answer.location.as_deref().filter(|_| call.method == Method::POST).and_then(id_in_location)
    });
    let etag = answer.etag.clone().or_else(|| resource.as_ref().and_then(resource::version));
    Verdict::Done { status, resource, etag, id }
}

/// Some services answer 200 with an error in the body.
fn error_in_success(body: &Map<String, Value>, bytes: &[u8]) -> Option<ErrorBody> {
    let schemas = resource::get_in(body, "schemas")?.as_array()?;
    let is_error =
        schemas.iter().filter_map(Value::as_str).any(|urn| urn.eq_ignore_ascii_case(schema::ERROR));
    if is_error { ErrorBody::parse(bytes) } else { None }
}

fn by_status(
    profile: &Profile,
    call: &CallFacts,
    answer: &Answer,
    status: StatusCode,
    said: &ErrorBody,
) -> Verdict {
    let number = status.as_u16();
    let scim_type = said.scim_type.as_ref();
    let one_of = |dialects: &[crate::target::profile::Dialect]| {
        dialects.iter().any(|dialect| dialect.matches(number, scim_type))
    };
    let detail = || said.detail.clone().or_else(|| vendors_words(&answer.body));
    let taken = || Verdict::Taken { detail: detail(), locations: locations(answer) };
    if call.if_match && one_of(&profile.etag.stale) {
        return Verdict::Stale;
    }
    if one_of(&profile.conflict.taken) {
        return taken();
    }
    let refused = || Verdict::Refused { status, scim_type: scim_type.cloned(), detail: detail() };
    match number {
        300..=399 => fault(call, Mend::Address, &format!("{number}, a redirect{}", host_of(answer))),
        401 => fault(call, Mend::Credentials, "401: the credentials were refused"),
        403 => fault(call, Mend::Permissions, &format!("403{}", scopes(profile, answer))),
        404 | 410 if call.endpoint.contains("{id}") || call.class == CallClass::Probe => Verdict::Missing,
        404 | 410 => fault(call, Mend::Address, &format!("{number}; is the base URL right?")),
        402 | 406 | 407 | 415 | 421 | 426 => fault(call, Mend::Address, &number.to_string()),
        413 => Verdict::TooLarge { detail: detail() },
        412 | 428 => Verdict::Stale,
        429 => Verdict::Throttled { retry_after: retry_after(&answer.headers, None) },
        503 if answer.headers.contains_key(http::header::RETRY_AFTER) => {
            Verdict::Throttled { retry_after: retry_after(&answer.headers, None) }
        }
        409 => conflict(call, scim_type, taken, refused),
        // 425 says that the request was not processed; of the others nobody knows.
        408 | 425 => Verdict::Transient { status, unknown: number != 425 && writes(call) },
        501 | 505 => refused(),
        500..=599 => Verdict::Transient { status, unknown: writes(call) },
        _ => match scim_type {
            Some(ScimType::TooMany) => Verdict::TooLarge { detail: detail() },
            Some(ScimType::Uniqueness) => taken(),
            Some(_) | None => refused(),
        },
    }
}

/// 409 has two meanings in RFC 7644 table 8: a version that is not the latest, and a duplicate.
fn conflict(
    call: &CallFacts,
    scim_type: Option<&ScimType>,
    taken: impl FnOnce() -> Verdict,
    refused: impl FnOnce() -> Verdict,
) -> Verdict {
    let duplicate = scim_type == Some(&ScimType::Uniqueness);
    let may_duplicate = matches!(call.method, Method::POST | Method::PUT | Method::PATCH);
    match (call.if_match, duplicate) {
        (true, false) => Verdict::Stale,
        (_, true) => taken(),
        (false, false) if may_duplicate => taken(),
        (false, false) => refused(),
    }
}

fn fault(call: &CallFacts, mend: Mend, what: &str) -> Verdict {
    Verdict::TargetFault { reason: format!("{} {} answered {what}", call.method, call.endpoint), mend }
}

fn writes(call: &CallFacts) -> bool {
    call.method != Method::GET
}

/// What was granted against what is wanted, as far as either is known.
fn scopes(profile: &Profile, answer: &Answer) -> String {
    let wanted = match wanted_scopes(answer) {
        Some(scopes) => format!(", the vendor wants `{scopes}`"),
        None if profile.auth.scopes.is_empty() => String::new(),
        None => format!(", the profile wants `{}`", profile.auth.scopes.join(" ")),
    };
    match &answer.granted_scopes {
        Some(granted) => format!(": the token was granted the scopes `{granted}`{wanted}"),
        None if wanted.is_empty() => wanted,
        None => format!(": the token endpoint did not name what it granted{wanted}"),
    }
}

/// The `scope` of `WWW-Authenticate`, RFC 6750 section 3.
fn wanted_scopes(answer: &Answer) -> Option<&str> {
    let header = answer.headers.get(http::header::WWW_AUTHENTICATE)?.to_str().ok()?;
    let (_, rest) = header.split_once("scope=\"")?;
    rest.split_once('"').map(|(scopes, _)| scopes)
}

/// Only the host: the rest may hold ids.
fn host_of(answer: &Answer) -> String {
    let host = answer.location.as_deref().and_then(|location| {
        let url = url::Url::parse(location).ok()?;
        url.host_str().map(str::to_owned)
    });
    host.map_or_else(String::new, |host| format!(" to {host}"))
}

fn is_html(answer: &Answer) -> bool {
    let named = answer.headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    named.is_some_and(|kind| kind.to_ascii_lowercase().contains("html"))
        || answer.body.trim_ascii_start().starts_with(b"<")
}

fn kind(answer: &Answer) -> &'static str {
    if answer.body.is_empty() {
        "nothing, where JSON must be"
    } else if is_html(answer) {
        "HTML, where JSON must be; is the base URL right?"
    } else {
        "what is no JSON object"
    }
}

/// Where the resource that holds the value is, by the header and by a body that is an error with a
/// `location` or the resource itself.
fn locations(answer: &Answer) -> Vec<String> {
    let body = Some(&answer.body).filter(|body| body.len() <= ErrorBody::BYTES_MAX);
    let body: Map<String, Value> =
        body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let of_meta = resource::get_in(&body, "meta")
        .and_then(Value::as_object)
        .and_then(|meta| resource::get_in(meta, "location"));
    let of_body = [of_meta, resource::get_in(&body, "location")].into_iter().flatten();
    let of_body = of_body.filter_map(Value::as_str).map(str::to_owned);
    answer.location.clone().into_iter().chain(of_body).collect()
}

/// The reason in a body that is JSON but not SCIM's.
fn vendors_words(body: &[u8]) -> Option<String> {
    if body.len() > ErrorBody::BYTES_MAX {
        return None;
    }
    let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let words = ["message", "error_description", "title", "error"]
        .into_iter()
        .find_map(|key| resource::get_in(&body, key)?.as_str())?;
    Some(words.chars().take(ErrorBody::DETAIL_CHARACTERS_MAX).collect())
}

/// The last segment of a resource's URL, decoded.
pub(super) fn id_in_location(location: &str) -> Option<String> {
    let path = location.split(['?', '#']).next()?.trim_end_matches('/');
    let (_, id) = path.rsplit_once('/')?;
    let id = percent_encoding::percent_decode_str(id).decode_utf8().ok()?;
    resource::is_id(&id).then(|| id.into_owned())
}

#[cfg(test)]
mod tests;
