//! `/ResourceTypes`, RFC 7643 section 6.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{flag, text};
use super::pages::RESOURCES_MAX;
use crate::scim::resource::get;
use crate::scim::schema;
use crate::target::requests::Kind;

/// Most extensions of one kind that are kept.
const EXTENSIONS_MAX: usize = 32;

/// A kind of resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceType {
    /// Its name.
    pub name: String,
    /// Where its resources are, as the server writes it. Only ever compared, never called.
    pub endpoint: Option<String>,
    /// URN of its core schema.
    pub schema: Option<String>,
    /// Its extensions by URN, and whether a resource must have them.
    pub extensions: BTreeMap<String, bool>,
}

impl ResourceType {
    /// Reads the resources of `/ResourceTypes`; what has no name is left out. Sorted, each name once.
    pub fn read_all(resources: &[Value]) -> Vec<Self> {
        let read = resources.iter().take(RESOURCES_MAX).filter_map(Self::read);
        let named: BTreeMap<_, _> = read.map(|kind| (kind.name.clone(), kind)).collect();
        named.into_values().collect()
    }

    fn read(resource: &Value) -> Option<Self> {
        let name = get(resource, "name").or_else(|| get(resource, "id")).and_then(text)?;
        let extensions = match get(resource, "schemaExtensions") {
            Some(Value::Array(extensions)) => extensions.as_slice(),
            Some(extension @ Value::Object(_)) => std::slice::from_ref(extension),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => &[],
        };
        let extension = |extension: &Value| {
            let urn = get(extension, "schema").and_then(text)?;
            Some((urn, get(extension, "required").and_then(flag).unwrap_or(false)))
        };
        Some(Self {
            name,
            endpoint: get(resource, "endpoint").and_then(text),
            schema: get(resource, "schema").and_then(text),
            extensions: extensions.iter().take(EXTENSIONS_MAX).filter_map(extension).collect(),
        })
    }

    /// Whether its resources are users, or groups.
    pub fn is(&self, kind: Kind) -> bool {
        let (urn, name) = match kind {
            Kind::User => (schema::USER, "User"),
            Kind::Group => (schema::GROUP, "Group"),
        };
        self.schema.as_ref().map_or(self.name == name, |said| said.eq_ignore_ascii_case(urn))
    }

    /// Whether its resources are where `path` leads. Servers write `/Users`, `Users` and whole URLs.
    pub fn is_at(&self, path: &str) -> bool {
        self.endpoint.as_ref().is_none_or(|endpoint| {
            let (told, wanted) = (endpoint.trim_matches('/'), path.trim_matches('/'));
            told == wanted || told.strip_suffix(wanted).is_some_and(|before| before.ends_with('/'))
        })
    }
}
