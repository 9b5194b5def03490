//! The URNs and attribute names of RFC 7643 and RFC 7644.

/// Core user, RFC 7643 section 4.1.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// Core group, RFC 7643 section 4.2.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// Enterprise extension of a user, RFC 7643 section 4.3.
pub const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// What a service supports, RFC 7643 section 5.
pub const SERVICE_PROVIDER_CONFIG: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
/// A kind of resource, RFC 7643 section 6.
pub const RESOURCE_TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
/// A schema, RFC 7643 section 7.
pub const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
/// A page of resources, RFC 7644 section 3.4.2.
pub const LIST_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
/// A query in a body, RFC 7644 section 3.4.3.
pub const SEARCH_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
/// A PATCH request, RFC 7644 section 3.5.2.
pub const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
/// A bulk request, RFC 7644 section 3.7.
pub const BULK_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
/// The answer to a bulk request, RFC 7644 section 3.7.
pub const BULK_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";
/// An error, RFC 7644 section 3.12.
pub const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The media type of SCIM, RFC 7644 section 8.1.
pub const MEDIA_TYPE: &str = "application/scim+json";

/// The attributes of [`ENTERPRISE_USER`].
pub const ENTERPRISE_ATTRIBUTES: [&str; 6] =
    ["employeeNumber", "costCenter", "organization", "division", "department", "manager"];

/// The sub-attributes of a user's `name`.
pub const NAME_SUB_ATTRIBUTES: [&str; 6] =
    ["formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"];

const COMMON_ATTRIBUTES: [&str; 4] = ["schemas", "id", "externalId", "meta"];

const USER_ATTRIBUTES: [&str; 21] = [
    "userName",
    "name",
    "displayName",
    "nickName",
    "profileUrl",
    "title",
    "userType",
    "preferredLanguage",
    "locale",
    "timezone",
    "active",
    "password",
    "emails",
    "phoneNumbers",
    "ims",
    "photos",
    "addresses",
    "groups",
    "entitlements",
    "roles",
    "x509Certificates",
];

const GROUP_ATTRIBUTES: [&str; 2] = ["displayName", "members"];

/// The RFC's spelling of a core user attribute given in any case (RFC 7643 section 2.1).
pub fn canonical_user_attribute(name: &str) -> Option<&'static str> {
    canonical(name, &USER_ATTRIBUTES)
}

/// The RFC's spelling of a core group attribute given in any case.
pub fn canonical_group_attribute(name: &str) -> Option<&'static str> {
    canonical(name, &GROUP_ATTRIBUTES)
}

/// The RFC's spelling of an attribute of [`ENTERPRISE_USER`] given in any case.
pub fn canonical_enterprise_attribute(name: &str) -> Option<&'static str> {
    ENTERPRISE_ATTRIBUTES.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

fn canonical(name: &str, own: &[&'static str]) -> Option<&'static str> {
    own.iter().chain(&COMMON_ATTRIBUTES).copied().find(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(canonical_user_attribute("username"), Some("userName"));
        assert_eq!(canonical_user_attribute("EXTERNALID"), Some("externalId"));
        assert_eq!(canonical_user_attribute("members"), None);
        assert_eq!(canonical_group_attribute("displayname"), Some("displayName"));
        assert_eq!(canonical_group_attribute("userName"), None);
        assert_eq!(canonical_enterprise_attribute("COSTCENTER"), Some("costCenter"));
    }
}
