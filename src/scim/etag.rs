//! A resource's version, as the vendor wrote it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An entity tag, byte for byte as received: quotes and the weak prefix `W/` are kept, because
/// vendors compare what they sent (RFC 7644 section 3.14, RFC 9110 section 8.8.3).
///
/// A vendor may leave the quotes out of `meta.version`; such a tag is kept as it is too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ETag(String);

impl ETag {
    /// The longest tag that is kept. A longer one is no version but an attack or a mistake.
    pub const BYTES_MAX: usize = 256;

    /// Takes a tag that can go back in a header: 1 to 256 bytes of visible ASCII.
    pub fn parse(raw: &str) -> Option<Self> {
        let fits = (1..=Self::BYTES_MAX).contains(&raw.len());
        (fits && raw.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(raw.to_owned()))
    }

    /// The tag as received.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Weak comparison (RFC 9110 section 8.8.3.2): the same tag, whatever the weak prefixes.
    pub fn weak_eq(&self, other: &Self) -> bool {
        self.opaque() == other.opaque()
    }

    fn opaque(&self) -> &str {
        self.0.strip_prefix("W/").unwrap_or(&self.0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is empty, too long, or holds a byte that cannot stand in a header.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an entity tag of 1 to {} visible ASCII bytes", ETag::BYTES_MAX)]
pub struct ETagError;

impl TryFrom<String> for ETag {
    type Error = ETagError;

    fn try_from(raw: String) -> Result<Self, ETagError> {
        Self::parse(&raw).ok_or(ETagError)
    }
}

impl From<ETag> for String {
    fn from(tag: ETag) -> Self {
        tag.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag(raw: &str) -> ETag {
        ETag::parse(raw).unwrap()
    }

    #[test]
    fn a_tag_that_cannot_go_back_in_a_header_is_refused() {
        for raw in ["", "a b", "\"a\nb\"", "\"é\"", "\u{7f}", &"x".repeat(257)] {
            assert_eq!(ETag::parse(raw), None, "{raw:?}");
        }
        assert!(ETag::parse(&"x".repeat(256)).is_some());
    }

    #[test]
    fn weak_comparison_ignores_the_weak_prefix_and_nothing_else() {
        assert!(tag("W/\"4\"").weak_eq(&tag("\"4\"")));
        assert!(tag("W/\"4\"").weak_eq(&tag("W/\"4\"")));
        assert!(!tag("\"4\"").weak_eq(&tag("\"5\"")));
        assert!(!tag("\"4\"").weak_eq(&tag("4")), "quotes are part of the tag");
        assert!(!tag("w/\"4\"").weak_eq(&tag("\"4\"")), "the prefix is case-sensitive");
    }

    proptest! {
        #[test]
        fn a_tag_is_kept_byte_for_byte(raw in "[!-~]{1,256}") {
            let tag = ETag::parse(&raw).unwrap();
            prop_assert_eq!(tag.as_str(), raw.as_str());
            let json = serde_json::to_string(&tag).unwrap();
            prop_assert_eq!(serde_json::from_str::<ETag>(&json).unwrap(), tag);
        }
    }
}
