//! Attribute names and PATCH paths, RFC 7644 sections 3.5.2 and 3.10.

use std::fmt;

use crate::scim::filter::{self, Filter};

/// An attribute's name, with the URN and the sub-attribute where they are given:
/// `userName`, `name.givenName`, `urn:…:User:manager.displayName`.
///
/// A path that is an extension's URN alone (`urn:…:2.0:User`) reads as the name `User` under the rest
/// of the URN; [`AttributePath::whole`] gives the text to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributePath {
    /// The schema's URN, without the colon before the name.
    pub urn: Option<String>,
    /// The attribute's name, in the case it came in.
    pub name: String,
    /// The sub-attribute's name.
    pub sub: Option<String>,
}

impl AttributePath {
    /// Reads a name. `None` when it is not one: there is no index, no pointer and no deeper nesting
    /// in the grammar.
    pub fn parse(text: &str) -> Option<Self> {
        let (urn, rest) = split_urn(text)?;
        let (name, sub) = match rest.split_once('.') {
            Some((name, sub)) => (name, Some(sub)),
            None => (rest, None),
        };
        let well_formed = is_name(name) && sub.is_none_or(is_name);
        well_formed.then(|| Self {
            urn: urn.map(str::to_owned),
            name: name.to_owned(),
            sub: sub.map(str::to_owned),
        })
    }

    /// URN and name as one, without the sub-attribute.
    pub fn whole(&self) -> String {
        match &self.urn {
            Some(urn) => format!("{urn}:{}", self.name),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(urn) = &self.urn {
            write!(f, "{urn}:")?;
        }
        f.write_str(&self.name)?;
        if let Some(sub) = &self.sub {
            write!(f, ".{sub}")?;
        }
        Ok(())
    }
}

/// The path of a PATCH operation: `attr`, `attr.sub`, `attr[filter]`, `attr[filter].sub`.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchPath {
    /// The attribute; its `sub` is set in either form that has one.
    pub attribute: AttributePath,
    /// Which values of the attribute are meant; `None` means all.
    pub filter: Option<Filter>,
}

impl PatchPath {
    /// Reads a path. `None` when it does not follow the grammar.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((attribute, rest)) = text.split_once('[') else {
            return AttributePath::parse(text).map(|attribute| Self { attribute, filter: None });
        };
        let mut attribute = AttributePath::parse(attribute)?;
        let (inner, sub) = match rest.rsplit_once(']')? {
            (inner, "") => (inner, None),
            (inner, sub) => (inner, Some(sub.strip_prefix('.').filter(|sub| is_name(sub))?)),
        };
        if attribute.sub.is_some() {
            return None;
        }
        attribute.sub = sub.map(str::to_owned);
        let filter = filter::parse_value_filter(inner).ok()?;
        Some(Self { attribute, filter: Some(filter) })
    }
}

fn split_urn(text: &str) -> Option<(Option<&str>, &str)> {
    let is_urn = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:"));
    if !is_urn {
        return Some((None, text));
    }
    let (urn, rest) = text.rsplit_once(':')?;
    let plain = urn.bytes().all(|byte| byte.is_ascii_graphic() && !b"[]()\"".contains(&byte));
    (urn.len() > 4 && plain).then_some((Some(urn), rest))
}

/// `ATTRNAME`, and `$ref`, which the RFC's own schemas use although its grammar has no `$`.
fn is_name(text: &str) -> bool {
    let bare = text.strip_prefix('$').unwrap_or(text);
    bare.starts_with(|first: char| first.is_ascii_alphabetic())
        && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scim::schema;

    #[test]
    fn a_name_has_at_most_one_urn_and_one_sub_attribute() {
        let path = AttributePath::parse(&format!("{}:manager.displayName", schema::ENTERPRISE_USER)).unwrap();
        assert_eq!(path.urn.as_deref(), Some(schema::ENTERPRISE_USER));
        assert_eq!((path.name.as_str(), path.sub.as_deref()), ("manager", Some("displayName")));
        let path = AttributePath::parse(schema::ENTERPRISE_USER).unwrap();
        assert_eq!(path.whole(), schema::ENTERPRISE_USER);
        for text in
            ["", ".", "a.", ".a", "a.b.c", "emails[0]", "/name/givenName", "a b", "1a", "urn:", "urn:a:1"]
        {
            assert_eq!(AttributePath::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_may_pick_values_and_then_a_sub_attribute() {
        let path = PatchPath::parse("addresses[type eq \"work\"].street").unwrap();
        assert_eq!(
            (path.attribute.name.as_str(), path.attribute.sub.as_deref()),
            ("addresses", Some("street"))
        );
        assert!(path.filter.is_some());
        let bracket = PatchPath::parse("members[display eq \"a]b\"]").unwrap();
        assert_eq!(bracket.attribute.sub, None);
    }

    #[test]
    fn what_the_grammar_does_not_know_is_no_path() {
        for text in [
            "",
            "emails[0].value",
            "emails[]",
            "emails[type eq \"work\"",
            "emails[type eq \"work\"]value",
            "emails.type[type eq \"work\"]",
            "emails[type eq \"work\"].a.b",
            "members[value eq x]",
            "members[value[type eq \"a\"]]",
        ] {
            assert_eq!(PatchPath::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _ = PatchPath::parse(&text);
        }

        #[test]
        fn a_name_is_written_as_it_was_read(text in "(urn:[a-z]{1,5}:[a-z0-9.]{1,5}:)?[a-zA-Z][a-zA-Z0-9]{0,8}(\\.[a-z]{1,5})?") {
            if let Some(path) = AttributePath::parse(&text) {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
