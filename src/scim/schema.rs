//! temp
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub const ENTERPRISE_ATTRIBUTES: [&str; 6] =
    ["employeeNumber", "costCenter", "organization", "division", "department", "manager"];
pub const NAME_SUB_ATTRIBUTES: [&str; 6] =
    ["formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"];
const U: [&str; 24] = [
    "id",
    "externalId",
    "meta",
    "schemas",
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
];
pub fn canonical_user_attribute(n: &str) -> Option<&'static str> {
    U.iter().copied().find(|k| k.eq_ignore_ascii_case(n))
}
pub fn canonical_group_attribute(n: &str) -> Option<&'static str> {
    ["id", "externalId", "meta", "schemas", "displayName", "members"]
        .into_iter()
        .find(|k| k.eq_ignore_ascii_case(n))
}
