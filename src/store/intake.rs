//! What comes in: verified events, and their way into the directory.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::directory::{Change, DirectoryName, ExternalId, Snapshot, User};
use crate::store::Topic;

/// A verified, understood event, about to be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Name of the source in the configuration.
    pub source: String,
    /// The directory that the source feeds.
    pub directory: DirectoryName,
    /// The sender's id of the event: 1 to 256 bytes, printable ASCII.
    pub event_id: String,
    /// When the body arrived.
    pub received_at: Timestamp,
    /// Whether it ends somebody's access, and so is merged ahead of others.
    pub urgent: bool,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

/// What appending an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is durable now.
    New,
    /// Its id was seen before; nothing changed.
    Duplicate,
}

/// Reads a stored body into changes once more; the sources implement it.
pub trait EventReader: Send + Sync {
    /// The changes of a body that `source` accepted at `received_at`, or why it cannot be read any
    /// more (the source was removed, or its format changed).
    fn read(&self, source: &str, body: &[u8]) -> Result<Vec<Change>, String>;

    /// What the body leaves to be asked, where `source` can be asked: records that it names without saying
    /// what has become of them, and what it says of the webhooks themselves.
    fn wanted(&self, _source: &str, _body: &[u8]) -> Vec<Topic> {
        Vec::new()
    }

    /// Who is outside of which target's scope; `None` where every target wants everybody.
    fn scopes(&self) -> Option<Arc<dyn Scopes>> {
        None
    }
}

/// Says whom a target does not want, so that a store can tell whose access ends there; whoever knows
/// the mappings implements it.
pub trait Scopes: Send + Sync {
    /// Whether a user who has access in the directory is to have none at `target`, as far as can be said.
    fn excludes(&self, target: &str, id: &ExternalId, user: &User) -> bool;
}

/// Of the users whom a merge has changed, those who have access in the directory and no place at a target.
pub(super) fn outside<'a>(
    snapshot: &'a Snapshot,
    target: &'a str,
    scopes: &'a dyn Scopes,
) -> impl Iterator<Item = &'a ExternalId> {
    let changed = snapshot.touched().users.iter().filter(|(_, changed)| **changed).map(|(id, _)| id);
    changed.filter(move |id| {
        snapshot.user(id).is_some_and(|user| user.has_access() && scopes.excludes(target, id, user))
    })
}

/// What one batch of projection did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Events merged.
    pub events: usize,
    /// Changes merged.
    pub changes: usize,
    /// Events that could not be read any more: kept, shown, not merged.
    pub unreadable: usize,
    /// Records, and whatever else, that sources are to be asked for.
    pub wanted: usize,
    /// Targets that have new work.
    pub woken: BTreeSet<String>,
    /// Whether more events wait.
    pub more: bool,
}
