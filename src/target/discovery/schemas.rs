//! `/Schemas`, RFC 7643 section 7.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{flag, text};
use super::pages::RESOURCES_MAX;
use crate::scim::resource::get;

/// Most names that are kept of all schemas together. The RFC's own have about a hundred.
const NAMES_MAX: usize = 1_000;

/// The attributes of one schema by their traits; sub-attributes are written `name.givenName`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Schema {
    /// Its URN.
    pub id: String,
    /// Those that a client may write.
    pub writable: BTreeSet<String>,
    /// Those that a client may not write.
    pub read_only: BTreeSet<String>,
    /// Those that are written once.
    pub immutable: BTreeSet<String>,
    /// Those that each resource must have.
    pub required: BTreeSet<String>,
    /// Those of which no two resources share a value.
    pub unique: BTreeSet<String>,
    /// Those that hold several values.
    pub multi_valued: BTreeSet<String>,
}

impl Schema {
    /// Reads the resources of `/Schemas`; what has no URN is left out. Sorted, each URN once.
    pub fn read_all(resources: &[Value]) -> Vec<Self> {
        let mut room = NAMES_MAX;
        let read = resources.iter().take(RESOURCES_MAX).filter_map(|schema| Self::read(schema, &mut room));
        let by_urn: BTreeMap<_, _> = read.map(|schema| (schema.id.clone(), schema)).collect();
        by_urn.into_values().collect()
    }

    /// Whether the schema has an attribute of this name, in any case.
    pub fn has(&self, name: &str) -> bool {
        let same = |known: &String| known.eq_ignore_ascii_case(name);
        self.writable.iter().any(same) || self.read_only.iter().any(same)
    }

    fn read(resource: &Value, room: &mut usize) -> Option<Self> {
        let id = get(resource, "id").or_else(|| get(resource, "name")).and_then(text)?;
        let mut schema = Self { id, ..Self::default() };
        for attribute in attributes(resource, "attributes") {
            let Some(name) = get(attribute, "name").and_then(text) else { continue };
            schema.take(&name, attribute, room);
            // No attribute has parts of parts, RFC 7643 section 2.3.8.
            for part in attributes(attribute, "subAttributes") {
                if let Some(part_name) = get(part, "name").and_then(text) {
                    schema.take(&format!("{name}.{part_name}"), part, room);
                }
            }
        }
        Some(schema)
    }

    fn take(&mut self, name: &str, attribute: &Value, room: &mut usize) {
        let Some(left) = room.checked_sub(1) else { return };
        *room = left;
        let is = |trait_name| get(attribute, trait_name).and_then(flag) == Some(true);
        let says = |trait_name, wanted: &[&str]| {
            let said = get(attribute, trait_name).and_then(Value::as_str).unwrap_or_default();
            wanted.iter().any(|wanted| said.eq_ignore_ascii_case(wanted))
        };
        for (set, belongs) in [
            (&mut self.writable, !says("mutability", &["readOnly"])),
            (&mut self.read_only, says("mutability", &["readOnly"])),
            (&mut self.immutable, says("mutability", &["immutable"])),
            (&mut self.required, is("required")),
            (&mut self.unique, says("uniqueness", &["server", "global"])),
            (&mut self.multi_valued, is("multiValued")),
        ] {
            if belongs {
                set.insert(name.to_owned());
            }
        }
    }
}

fn attributes<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    get(of, name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
