//! `If-Match` and `If-None-Match`, RFC 7644 section 3.14.

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

use crate::sandbox::answer::Refusal;
use crate::sandbox::settings::{Behaviour, IfMatch, Stale};
use crate::sandbox::state::tag;
use crate::scim::error::ScimType;
use crate::scim::etag::ETag;

/// The conditions of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    Listed(Vec<ETag>),
}

impl Conditions {
    /// Reads both headers. What is no tag matches nothing.
    pub fn read(headers: &HeaderMap) -> Self {
        Self { if_match: tags(headers, &IF_MATCH), if_none_match: tags(headers, &IF_NONE_MATCH) }
    }

    /// Whether a read may be answered with 304.
    pub fn unchanged(&self, behaviour: &Behaviour, version: u64) -> bool {
        behaviour.etag.if_none_match
            && self.if_none_match.as_ref().is_some_and(|tags| tags.hold(behaviour, version))
    }
}

/// Refuses a write whose `If-Match` does not hold, in the vendor's dialect.
pub fn check_write(behaviour: &Behaviour, conditions: &Conditions, version: u64) -> Result<(), Refusal> {
    match (behaviour.etag.if_match, &conditions.if_match) {
        (IfMatch::Ignored, _) | (IfMatch::Enforced, None) => Ok(()),
        (IfMatch::Required, None) => Err(Refusal::new(428, "an If-Match header is required")),
        (IfMatch::Enforced | IfMatch::Required, Some(tags)) if tags.hold(behaviour, version) => Ok(()),
        (IfMatch::Enforced | IfMatch::Required, Some(_)) => Err(stale(behaviour.etag.stale)),
    }
}

impl Tags {
    /// Weak comparison on both sides: strictly read, a weak tag could never match, and vendors that
    /// send weak tags take them back.
    fn hold(&self, behaviour: &Behaviour, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => {
                let own = ETag::parse(&tag(behaviour, version));
                tags.iter().any(|tag| own.as_ref().is_some_and(|own| own.weak_eq(tag)))
            }
        }
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    let value = headers.get(name)?.to_str().unwrap_or_default().trim();
    if value == "*" {
        return Some(Tags::Any);
    }
    Some(Tags::Listed(value.split(',').filter_map(|tag| ETag::parse(tag.trim())).collect()))
}

fn stale(stale: Stale) -> Refusal {
    const DETAIL: &str = "the resource is not in the version that If-Match names";
    match stale {
        Stale::PreconditionFailed => Refusal::new(412, DETAIL),
        Stale::Conflict => Refusal::new(409, DETAIL),
        Stale::InvalidVers => Refusal::bad(ScimType::InvalidVers, DETAIL),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::sandbox::settings::{ETagForm, Versions};

    fn status(if_match: Option<&str>, etag: Versions) -> Option<u16> {
        let mut headers = HeaderMap::new();
        if let Some(value) = if_match {
            headers.insert(IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        let behaviour = Behaviour { etag, ..Behaviour::default() };
        check_write(&behaviour, &Conditions::read(&headers), 42).err().map(|refusal| refusal.status)
    }

    #[test]
    fn a_write_goes_on_when_its_tag_is_the_present_one() {
        for (if_match, expected) in [
            (None, None),
            (Some("*"), None),
            (Some("\"42\""), None),
            (Some("W/\"42\""), None),
            (Some("\"41\", \"42\""), None),
            (Some("\"41\""), Some(412)),
            (Some("42"), Some(412)),
            (Some(""), Some(412)),
        ] {
            for form in [ETagForm::Strong, ETagForm::Weak] {
                let etag = Versions { form, ..Versions::default() };
                assert_eq!(status(if_match, etag), expected, "{if_match:?} {form:?}");
            }
        }
    }

    #[test]
    fn each_vendor_has_its_own_word_for_stale() {
        for (stale, expected) in [(Stale::Conflict, 409), (Stale::InvalidVers, 400)] {
            let etag = Versions { stale, ..Versions::default() };
            assert_eq!(status(Some("\"1\""), etag), Some(expected));
        }
        let ignored = Versions { if_match: IfMatch::Ignored, ..Versions::default() };
        assert_eq!(status(Some("\"1\""), ignored), None);
        let required = Versions { if_match: IfMatch::Required, ..Versions::default() };
        assert_eq!(status(None, required), Some(428));
    }
}
