//! Tells a merge whose access ends at a target by the target's mapping: who is out of its scope, or is
//! mapped to be inactive. A merge knows no mapping, and these users are to go ahead of all others.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::directory::{Change, ExternalId, User};
use crate::mapping::Mapping;
use crate::store::{EventReader, Scopes, Topic};
use crate::sync::handle::Handle;

/// Reads events, and knows the mappings of the configured targets.
pub(super) struct Scoped<'a> {
    reader: &'a dyn EventReader,
    mappings: Option<Arc<dyn Scopes>>,
}

struct Mappings(BTreeMap<String, Arc<Mapping>>);

impl<'a> Scoped<'a> {
    /// Reads as `reader` does, for these targets.
    pub(super) fn new<'t>(reader: &'a dyn EventReader, targets: impl Iterator<Item = &'t Handle>) -> Self {
        let mappings: BTreeMap<_, _> = targets
            .map(|handle| (handle.name().to_owned(), Arc::clone(&handle.shared().settings.policy.mapping)))
            .filter(|(_, mapping)| mapping.may_end_access())
            .collect();
        let mappings = (!mappings.is_empty()).then(|| Arc::new(Mappings(mappings)) as Arc<dyn Scopes>);
        Self { reader, mappings }
    }
}

impl EventReader for Scoped<'_> {
    fn read(&self, source: &str, body: &[u8]) -> Result<Vec<Change>, String> {
        self.reader.read(source, body)
    }

    fn wanted(&self, source: &str, body: &[u8]) -> Vec<Topic> {
        self.reader.wanted(source, body)
    }

    fn scopes(&self) -> Option<Arc<dyn Scopes>> {
        self.mappings.clone()
    }
}

impl Scopes for Mappings {
    fn excludes(&self, target: &str, id: &ExternalId, user: &User) -> bool {
        self.0.get(target).is_some_and(|mapping| mapping.ends_access(id, user))
    }
}
