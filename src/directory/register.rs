//! The smallest mergeable thing: a value and the version that wrote it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::directory::{AttributePath, Version};

/// A value with the version of its last writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register<T> {
    /// The value; for attributes, null says "removed".
    #[serde(rename = "v")]
    pub value: T,
    /// Who wrote it.
    #[serde(rename = "w")]
    pub version: Version,
}

/// What a write did to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The value is another one now.
    Changed,
    /// The writer is newer and says the same.
    Same,
    /// The writer is older and lost.
    Older,
}

impl<T: PartialEq> Register<T> {
    /// Last-writer-wins; repeating a write changes nothing.
    pub(super) fn write(slot: &mut Option<Self>, value: T, version: &Version) -> Written {
        match slot {
            Some(held) if held.version > *version => Written::Older,
            Some(held) => {
                let written = if held.value == value { Written::Same } else { Written::Changed };
                *held = Self { value, version: version.clone() };
                written
            }
            None => {
                *slot = Some(Self { value, version: version.clone() });
                Written::Changed
            }
        }
    }
}

/// Whether the source says that a resource exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existence {
    /// Described by an upsert.
    Present,
    /// Deleted; the resource is a tombstone.
    Deleted,
}

/// The attributes of one resource, each with its own last writer.
///
/// Writing null to a container (`name`, or a whole extension) removes what it holds up to then: a
/// child shows only if it was written after its container's null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers(BTreeMap<AttributePath, Register<Value>>);

impl Registers {
    /// Last-writer-wins at `path`.
    pub(super) fn write(&mut self, path: &AttributePath, value: Value, version: &Version) -> Written {
        let before = self.view(path);
        let newer = self.0.get(path).is_none_or(|held| held.version <= *version);
        if newer {
            self.0.insert(path.clone(), Register { value, version: version.clone() });
        }
        if self.view(path) != before {
            Written::Changed
        } else if newer && !self.hidden(path) {
            Written::Same
        } else {
            Written::Older
        }
    }

    /// The value that the source wants at `path`: null when it was removed, `None` when the source
    /// has never spoken of it.
    pub fn shown(&self, path: &AttributePath) -> Option<&Value> {
        let register = self.0.get(path)?;
        Some(if self.hidden(path) { &Value::Null } else { &register.value })
    }

    /// Every path that the source has spoken of, with its value; null when removed.
    pub fn iter(&self) -> impl Iterator<Item = (&AttributePath, &Value)> {
        self.0
            .iter()
            .map(|(path, register)| (path, if self.hidden(path) { &Value::Null } else { &register.value }))
    }

    fn hidden(&self, path: &AttributePath) -> bool {
        let (Some(register), Some(container)) = (self.0.get(path), path.container()) else { return false };
        self.0.get(&container).is_some_and(|null| null.value.is_null() && null.version > register.version)
    }

    /// What shows at `path` and inside it.
    fn view(&self, path: &AttributePath) -> BTreeMap<AttributePath, Value> {
        self.iter()
            .filter(|(held, _)| *held == path || held.container().as_ref() == Some(path))
            .map(|(held, value)| (held.clone(), value.clone()))
            .collect()
    }
}

/// Stored grouped by version: one upsert writes many attributes, so versions would repeat.
#[derive(Serialize, Deserialize)]
struct VersionGroup {
    #[serde(rename = "w")]
    version: Version,
    #[serde(rename = "a")]
    attributes: BTreeMap<AttributePath, Value>,
}

impl Serialize for Registers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut groups: BTreeMap<&Version, BTreeMap<AttributePath, Value>> = BTreeMap::new();
        for (path, register) in &self.0 {
            groups.entry(&register.version).or_default().insert(path.clone(), register.value.clone());
        }
        serializer.collect_seq(
            groups
                .into_iter()
                .map(|(version, attributes)| VersionGroup { version: version.clone(), attributes }),
        )
    }
}

impl<'de> Deserialize<'de> for Registers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let groups = Vec::<VersionGroup>::deserialize(deserializer)?;
        let registers = groups.into_iter().flat_map(|group| {
            let version = group.version;
            group
                .attributes
                .into_iter()
                .map(move |(path, value)| (path, Register { value, version: version.clone() }))
        });
        Ok(Self(registers.collect()))
    }
}
