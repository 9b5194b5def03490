//! One stored resource.

use serde_json::{Map, Value, json};

use crate::sandbox::endpoint::Kind;
use crate::scim::definition::Returned;
use crate::scim::resource;

/// A resource as it is stored: complete but for what is derived from memberships (`groups` of a user,
/// `members` of a group).
#[derive(Clone, Debug)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Order of creation.
    pub sequence: u64,
    /// Counts from 1; moves with every change.
    pub version: u64,
    /// The resource in the RFC's spelling, `meta.version` apart, which depends on how tags are written.
    pub value: Value,
}

impl Record {
    /// The id.
    pub fn id(&self) -> &str {
        self.value["id"].as_str().unwrap_or_default()
    }

    /// The name it goes by: `userName` or `displayName`.
    pub fn name(&self) -> &str {
        self.value[name_attribute(self.kind)].as_str().unwrap_or_default()
    }

    /// The client's id for it.
    pub fn external_id(&self) -> Option<&str> {
        resource::external_id(&self.value)
    }

    /// What to show in a list of members: a user's display name, where there is one.
    pub fn display(&self) -> &str {
        self.value["displayName"].as_str().unwrap_or_else(|| self.name())
    }

    /// Whether it counts as active; only a user that says otherwise does not.
    pub fn is_active(&self) -> bool {
        self.value.get("active") != Some(&Value::Bool(false))
    }
}

/// The attribute that names a resource of this kind, unique for users.
pub fn name_attribute(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "userName",
        Kind::Group => "displayName",
    }
}

/// Makes attributes a resource: sets `id`, `schemas` and `meta`, and drops what is never returned.
pub fn seal(
    kind: Kind,
    mut attributes: Map<String, Value>,
    id: &str,
    location: &str,
    created: &str,
    modified: &str,
) -> Value {
    let rules = kind.rules();
    for attribute in rules.attributes.iter().filter(|attribute| attribute.returned == Returned::Never) {
        attributes.remove(attribute.name);
    }
    let extensions = rules.extensions.iter().map(|extension| extension.name);
    let schemas: Vec<&str> =
        std::iter::once(rules.urn).chain(extensions.filter(|urn| attributes.contains_key(*urn))).collect();
    attributes.insert("schemas".to_owned(), json!(schemas));
    attributes.insert("id".to_owned(), id.into());
    let meta = json!({"resourceType": rules.name, "created": created, "lastModified": modified, "location": location});
    attributes.insert("meta".to_owned(), meta);
    Value::Object(attributes)
}
