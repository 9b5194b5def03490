//! Where a target's resources are, so that an address in an answer can be told from one that leads
//! elsewhere. Pure.
//!
//! No such address is ever called: an id is taken out of it, and what is called is made of the base URL
//! and that id, as always.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::scim::resource;
use crate::target::profile::Profile;
use crate::target::requests::{Kind, collection_path};

/// An address over this many bytes is not looked at.
const BYTES_MAX: usize = 8 * 1024;

/// Where users and groups are at one target. By default nowhere: then no address is one of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    users: Option<Url>,
    groups: Option<Url>,
}

impl Addresses {
    /// Below this base URL, at the profile's paths.
    pub fn new(base_url: &Url, profile: &Profile) -> Self {
        let base = base_url.as_str().trim_end_matches('/');
        let collection = |kind| Url::parse(&format!("{base}/{}/", collection_path(profile, kind))).ok();
        Self { users: collection(Kind::User), groups: collection(Kind::Group) }
    }

    /// The id of the resource at an address, which may be relative to the collection's own (RFC 9110
    /// section 10.2.2). `None` unless the address is below the target's base URL, and there the
    /// collection of this kind with one id behind it and nothing else.
    pub fn id_at(&self, kind: Kind, address: &str) -> Option<String> {
        let collection = match kind {
            Kind::User => self.users.as_ref(),
            Kind::Group => self.groups.as_ref(),
        }?;
        if address.len() > BYTES_MAX {
            return None;
        }
        // Relative to the address that was posted to, which ends without a slash.
        let posted_to = Url::parse(collection.as_str().trim_end_matches('/')).ok()?;
        let found = posted_to.join(address).ok()?;
        let plain = found.username().is_empty() && found.password().is_none();
        let bare = found.query().is_none() && found.fragment().is_none();
        if !plain || !bare || found.origin() != collection.origin() {
            return None;
        }
        let segment = found.path().strip_prefix(collection.path())?;
        let segment = segment.strip_suffix('/').unwrap_or(segment);
        let id = percent_decode_str(segment).decode_utf8().ok()?;
        let is_one = !segment.contains('/') && !matches!(id.as_ref(), "." | "..");
        (is_one && resource::is_id(&id)).then(|| id.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: &str, kind: Kind, address: &str) -> Option<String> {
        Addresses::new(&Url::parse(base).unwrap(), &Profile::builtin("rfc7644").unwrap()).id_at(kind, address)
    }

    #[test]
    fn an_address_below_the_base_url_names_the_id_of_its_kind() {
        for (base, kind, address, id) in [
            ("https://v.example/scim/v2", Kind::User, "https://v.example/scim/v2/Users/42", "42"),
            ("https://v.example/scim/v2/", Kind::User, "https://V.EXAMPLE:443/scim/v2/Users/42", "42"),
            ("https://v.example/scim/v2", Kind::User, "https://v.example/scim/v2/Users/42/", "42"),
            ("https://v.example/scim/v2", Kind::Group, "/scim/v2/Groups/a-b", "a-b"),
            ("https://v.example/scim/v2", Kind::User, "Users/x%40y", "x@y"),
            ("https://v.example/scim/v2", Kind::User, "//v.example/scim/v2/Users/42", "42"),
            ("https://v.example", Kind::User, "/Users/7", "7"),
        ] {
            assert_eq!(at(base, kind, address).as_deref(), Some(id), "{address}");
        }
    }

    #[test]
    fn an_address_that_leads_anywhere_else_names_nobody() {
        for address in [
            "",
            "42",
            "https://other.example/scim/v2/Users/42",
            "https://v.example.other.example/scim/v2/Users/42",
            "http://v.example/scim/v2/Users/42",
            "https://v.example:8443/scim/v2/Users/42",
            "https://me@v.example/scim/v2/Users/42",
            "https://v.example/scim/v2/Groups/42",
            "https://v.example/scim/v2/users/42",
            "https://v.example/scim/v2/Users",
            "https://v.example/scim/v2/Users/",
            "https://v.example/scim/v2/Users//",
            "https://v.example/scim/v2/Users/42/groups",
            "https://v.example/scim/v2/Users/42?as=7",
            "https://v.example/scim/v2/Users/42#7",
            "https://v.example/scim/v2/Users/..",
            "https://v.example/scim/v2/Users/%2E%2E",
            "https://v.example/scim/v2/Users/../../../admin/1",
            "https://v.example/scim/v2/UsersOfOthers/42",
            "https://v.example/Users/42",
            "https://v.example/scim/v2/Users/%0A",
            "https://v.example/scim/v2/Users/%FF",
            "javascript:42",
            "\\\\other.example\\scim\\v2\\Users\\42",
        ] {
            assert_eq!(at("https://v.example/scim/v2", Kind::User, address), None, "{address}");
        }
        let long = format!("https://v.example/scim/v2/Users/{}", "4".repeat(BYTES_MAX));
        assert_eq!(at("https://v.example/scim/v2", Kind::User, &long), None);
        assert_eq!(Addresses::default().id_at(Kind::User, "https://v.example/Users/42"), None);
    }
}
