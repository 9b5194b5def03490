//! Which events are known, exactly and in memory: a unique index would double the cost of an append.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use sha2::{Digest, Sha256};

/// The first 16 bytes of the SHA-256 of source, NUL and event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EventDigest(u128);

impl EventDigest {
    /// Of an event. Neither text holds a NUL, so no two pairs share their bytes.
    pub(super) fn of(source: &str, event_id: &str) -> Self {
        let digest = Sha256::new().chain_update(source).chain_update([0]).chain_update(event_id).finalize();
        let head = digest.first_chunk::<16>().expect("SHA-256 has 32 bytes");
        Self(u128::from_be_bytes(*head))
    }

    /// From the column.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
    }

    /// For the column.
    pub(super) const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

/// The digests of known events: 17 bytes each, and up to as much again while the table grows.
#[derive(Default)]
pub(super) struct Seen(HashSet<EventDigest, BuildHasherDefault<Passed>>);

impl Seen {
    /// True when the event was not known before.
    pub(super) fn insert(&mut self, digest: EventDigest) -> bool {
        self.0.insert(digest)
    }

    /// Forgets an event that did not become durable, or is out of the window.
    pub(super) fn remove(&mut self, digest: EventDigest) {
        self.0.remove(&digest);
    }

    /// Makes room ahead of many insertions.
    pub(super) fn reserve(&mut self, additional: usize) {
        self.0.reserve(additional);
    }
}

/// A digest is evenly spread already, so its low half is the hash.
#[derive(Default)]
struct Passed(u64);

impl Hasher for Passed {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(padded);
        }
    }

    fn write_u128(&mut self, digest: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
        let low = digest as u64;
        self.0 = low;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_id_of_two_sources_is_two_events() {
        let mut seen = Seen::default();
        assert!(seen.insert(EventDigest::of("hr", "1")));
        assert!(!seen.insert(EventDigest::of("hr", "1")));
        assert!(seen.insert(EventDigest::of("okta", "1")));
        assert!(seen.insert(EventDigest::of("hr1", "")), "the NUL keeps source and id apart");
        seen.remove(EventDigest::of("hr", "1"));
        assert!(seen.insert(EventDigest::of("hr", "1")));
    }

    #[test]
    fn digests_read_back() {
        let digest = EventDigest::of("hr", "evt-1");
        assert_eq!(EventDigest::from_bytes(&digest.to_bytes()), Some(digest));
        assert_eq!(EventDigest::from_bytes(b"short"), None);
    }
}
