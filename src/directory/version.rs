//! Versions decide which of two writers is the last one.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// When and by which event an item was written. The order is the field order: a later moment wins,
/// then the greater event id, then the later change within one body.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// The sender's time of the change, or the time of receipt where the sender gave none.
    #[serde(rename = "t")]
    pub occurred_at: Timestamp,
    /// The sender's id of the event.
    #[serde(rename = "e")]
    pub event: String,
    /// Position of the change in its event, from 0.
    #[serde(rename = "i")]
    pub index: u32,
}

impl Version {
    /// Bytes whose order is the order of versions, for a store's columns.
    ///
    /// Event ids hold no NUL (a source refuses them), so a NUL ends the id without upsetting the order.
    pub fn to_sort_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(8 + self.event.len() + 5);
        key.extend((self.occurred_at.as_micros() ^ i64::MIN).to_be_bytes());
        key.extend(self.event.as_bytes());
        key.push(0);
        key.extend(self.index.to_be_bytes());
        key
    }

    /// The first version of `time`, unless this one is later.
    #[must_use]
    pub fn no_earlier_than(&self, time: Timestamp) -> Self {
        self.clone().max(Self { occurred_at: time, event: String::new(), index: 0 })
    }

    /// The version whose [`to_sort_key`](Self::to_sort_key) this is; `None` for other bytes.
    pub fn from_sort_key(key: &[u8]) -> Option<Self> {
        let (time, rest) = key.split_first_chunk::<8>()?;
        let (event, index) = rest.split_last_chunk::<4>()?;
        let (0, event) = event.split_last().map(|(nul, event)| (*nul, event))? else { return None };
        Some(Self {
            occurred_at: Timestamp::from_micros(i64::from_be_bytes(*time) ^ i64::MIN),
            event: String::from_utf8(event.to_vec()).ok()?,
            index: u32::from_be_bytes(*index),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version() -> impl Strategy<Value = Version> {
        (any::<i64>(), "[ -~]{0,6}", any::<u32>()).prop_map(|(micros, event, index)| Version {
            occurred_at: Timestamp::from_micros(micros),
            event,
            index,
        })
    }

    proptest! {
        #[test]
        fn sort_keys_order_as_versions_do(a in version(), b in version()) {
            prop_assert_eq!(a.to_sort_key().cmp(&b.to_sort_key()), a.cmp(&b));
        }

        #[test]
        fn sort_keys_read_back(version in version()) {
            prop_assert_eq!(Version::from_sort_key(&version.to_sort_key()), Some(version));
        }
    }

    #[test]
    fn other_bytes_are_no_version() {
        for bytes in [&b""[..], b"short", &[0; 12]] {
            assert_eq!(Version::from_sort_key(bytes), None);
        }
    }
}
