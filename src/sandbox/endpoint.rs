//! What a request is addressed to.

use bytes::Bytes;
use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::sandbox::settings::Behaviour;
use crate::scim::definition::{GROUP_RULES, SchemaRules, USER_RULES};
use crate::target::{self, CallClass};

/// The kinds of resource that the sandbox has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A user.
    User,
    /// A group.
    Group,
}

/// An address under the base path, or the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The base path itself: a query over all resources.
    Root,
    /// All resources of a kind.
    Collection(Kind),
    /// One resource.
    Resource(Kind, String),
    /// The members of a group, at a vendor that shows them there.
    Members(String),
    /// `/.search`, of one kind or of all.
    Search(Option<Kind>),
    /// `/ServiceProviderConfig`
    ServiceProviderConfig,
    /// `/ResourceTypes`, or one of them.
    ResourceTypes(Option<String>),
    /// `/Schemas`, or one of them.
    Schemas(Option<String>),
    /// `/Bulk`
    Bulk,
    /// `/oauth/token`
    Token,
    /// Nothing that the sandbox has.
    Unknown,
}

/// A method on an endpoint.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// What it is addressed to.
    pub endpoint: Endpoint,
}

/// How many operations a bulk request carries.
fn operations(body: &Bytes) -> u32 {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let operations = body.get("Operations").and_then(Value::as_array).map_or(1, Vec::len);
    u32::try_from(operations).unwrap_or(u32::MAX)
}

impl Kind {
    /// What the schema says of it.
    pub fn rules(self) -> &'static SchemaRules {
        match self {
            Self::User => &USER_RULES,
            Self::Group => &GROUP_RULES,
        }
    }

    /// Its name under the base path.
    pub fn path(self, behaviour: &Behaviour) -> &str {
        match self {
            Self::User => &behaviour.users_path,
            Self::Group => &behaviour.groups_path,
        }
    }
}

impl Endpoint {
    /// Finds the endpoint of a request path. Ids are percent-decoded.
    pub fn find(path: &str, behaviour: &Behaviour) -> Self {
        if path == "/oauth/token" {
            return Self::Token;
        }
        let Some(rest) = path.strip_prefix(behaviour.base_path.as_str()) else { return Self::Unknown };
        if !rest.is_empty() && !rest.starts_with('/') {
            return Self::Unknown;
        }
        let segments: Vec<String> = rest
            .trim_matches('/')
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let kind =
            |name: &str| [Kind::User, Kind::Group].into_iter().find(|kind| kind.path(behaviour) == name);
        let lower = !behaviour.config_path.chars().any(char::is_uppercase);
        let (types, schemas) =
            if lower { ("resourcetypes", "schemas") } else { ("ResourceTypes", "Schemas") };
        match segments.as_slice() {
            [""] => Self::Root,
            [".search"] => Self::Search(None),
            [name] if *name == behaviour.config_path => Self::ServiceProviderConfig,
            [name] if *name == types => Self::ResourceTypes(None),
            [name, id] if *name == types => Self::ResourceTypes(Some((*id).to_owned())),
            [name] if *name == schemas => Self::Schemas(None),
            [name, urn] if *name == schemas => Self::Schemas(Some((*urn).to_owned())),
            ["Bulk"] => Self::Bulk,
            [name] => kind(name).map_or(Self::Unknown, Self::Collection),
            [name, ".search"] => kind(name).map_or(Self::Unknown, |kind| Self::Search(Some(kind))),
            [name, id, "members"] if kind(name) == Some(Kind::Group) && behaviour.quirks.pages_members() => {
                Self::Members((*id).to_owned())
            }
            [name, id] => kind(name).map_or(Self::Unknown, |kind| Self::Resource(kind, (*id).to_owned())),
            _ => Self::Unknown,
        }
    }

    /// Its name in counts.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Collection(Kind::User) => "users",
            Self::Collection(Kind::Group) => "groups",
            Self::Resource(Kind::User, _) => "user",
            Self::Resource(Kind::Group, _) => "group",
            Self::Members(_) => "members",
            Self::Search(_) => "search",
            Self::ServiceProviderConfig => "service-provider-config",
            Self::ResourceTypes(_) => "resource-types",
            Self::Schemas(_) => "schemas",
            Self::Bulk => "bulk",
            Self::Token => "token",
            Self::Unknown => "unknown",
        }
    }
}

impl Call {
    /// Whether it is meant to change something.
    pub fn is_write(&self) -> bool {
        let reads =
            self.method == Method::GET || matches!(self.endpoint, Endpoint::Search(_) | Endpoint::Token);
        !reads
    }

    /// As a profile's limits count it.
    pub fn counted(&self, query: &str, body: &Bytes) -> target::Call {
        let listed = matches!(self.endpoint, Endpoint::Collection(_)) && self.method == Method::GET;
        let class = match &self.endpoint {
            Endpoint::Bulk => CallClass::Bulk,
            Endpoint::Collection(_) if listed && !query.contains("filter=") => CallClass::List,
            Endpoint::Root
            | Endpoint::Search(_)
            | Endpoint::Collection(_)
            | Endpoint::Members(_)
            | Endpoint::Resource(..) => CallClass::Single,
            Endpoint::ServiceProviderConfig
            | Endpoint::ResourceTypes(_)
            | Endpoint::Schemas(_)
            | Endpoint::Token
            | Endpoint::Unknown => CallClass::Probe,
        };
        let endpoint = match &self.endpoint {
            Endpoint::Collection(Kind::User) | Endpoint::Search(Some(Kind::User)) => "Users",
            Endpoint::Collection(Kind::Group) | Endpoint::Search(Some(Kind::Group)) => "Groups",
            Endpoint::Resource(Kind::User, _) => "Users/{id}",
            Endpoint::Resource(Kind::Group, _) => "Groups/{id}",
            Endpoint::Members(_) => "Groups/{id}/members",
            Endpoint::Root
            | Endpoint::Search(None)
            | Endpoint::ServiceProviderConfig
            | Endpoint::ResourceTypes(_)
            | Endpoint::Schemas(_)
            | Endpoint::Bulk
            | Endpoint::Token
            | Endpoint::Unknown => "other",
        };
        let operations = if class == CallClass::Bulk { operations(body) } else { 1 };
        target::Call {
            method: self.method.clone(),
            path: String::new(),
            endpoint,
            class,
            body: Some(body.clone()),
            if_match: None,
            operations,
            turn: target::Turn::Usual,
        }
    }

    /// Whether it asks for a token.
    pub fn is_token(&self) -> bool {
        self.endpoint == Endpoint::Token
    }

    /// The kind of resource that it is about.
    pub fn kind(&self) -> Option<Kind> {
        match &self.endpoint {
            Endpoint::Collection(kind) | Endpoint::Resource(kind, _) | Endpoint::Search(Some(kind)) => {
                Some(*kind)
            }
            Endpoint::Members(_) => Some(Kind::Group),
            Endpoint::Root
            | Endpoint::Search(None)
            | Endpoint::ServiceProviderConfig
            | Endpoint::ResourceTypes(_)
            | Endpoint::Schemas(_)
            | Endpoint::Bulk
            | Endpoint::Token
            | Endpoint::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_that_writes_one_document_in_lower_case_writes_all_so() {
        let lower = Behaviour { config_path: "serviceproviderconfig".to_owned(), ..Behaviour::default() };
        for (name, found) in [
            ("serviceproviderconfig", Endpoint::ServiceProviderConfig),
            ("resourcetypes/User", Endpoint::ResourceTypes(Some("User".to_owned()))),
            ("schemas", Endpoint::Schemas(None)),
            ("ServiceProviderConfig", Endpoint::Unknown),
            ("ResourceTypes", Endpoint::Unknown),
        ] {
            assert_eq!(Endpoint::find(&format!("/scim/v2/{name}"), &lower), found, "{name}");
        }
    }

    #[test]
    fn a_path_leads_to_one_endpoint() {
        let behaviour = Behaviour { groups_path: "groups".to_owned(), ..Behaviour::default() };
        for (path, expected) in [
            ("/scim/v2", Endpoint::Root),
            ("/scim/v2/", Endpoint::Root),
            ("/scim/v2/Users", Endpoint::Collection(Kind::User)),
            ("/scim/v2/groups/", Endpoint::Collection(Kind::Group)),
            ("/scim/v2/Groups", Endpoint::Unknown),
            ("/scim/v2/Users/a%2Fb%26", Endpoint::Resource(Kind::User, "a/b&".to_owned())),
            ("/scim/v2/Users/.search", Endpoint::Search(Some(Kind::User))),
            ("/scim/v2/.search", Endpoint::Search(None)),
            ("/scim/v2/Schemas/urn:x", Endpoint::Schemas(Some("urn:x".to_owned()))),
            ("/scim/v2/Bulk", Endpoint::Bulk),
            ("/scim/v2/Users/a/b", Endpoint::Unknown),
            ("/scim/v22/Users", Endpoint::Unknown),
            ("/Users", Endpoint::Unknown),
            ("/oauth/token", Endpoint::Token),
        ] {
            assert_eq!(Endpoint::find(path, &behaviour), expected, "{path}");
        }
    }
}
