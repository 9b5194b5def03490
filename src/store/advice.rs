//! The advice to have a source send everything again: what may have happened there that nobody will tell.
//!
//! It lies in the source's memory, so that every replica shows it and it outlasts a restart.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Store, StoreError};
use crate::clock::Timestamp;

/// Where it is remembered.
const PART: &str = "advice";

/// That a source should send, or be read, as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// Since when.
    pub since: Timestamp,
    /// Why, for people.
    pub reason: String,
}

/// Advises it. The first reason stays until somebody follows; answers whether this is it.
pub async fn advise(
    store: &dyn Store,
    source: &str,
    reason: String,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if advice(store, source).await?.is_some() {
        return Ok(false);
    }
    let advice = Advice { since: now, reason };
    store.set_source_memory(source, PART, &json!(advice)).await?;
    Ok(true)
}

/// What is advised.
pub async fn advice(store: &dyn Store, source: &str) -> Result<Option<Advice>, StoreError> {
    let remembered = store.source_memory(source, PART).await?;
    Ok(remembered.and_then(|value| serde_json::from_value(value).ok()))
}

/// Notes that it was followed, or is not needed; answers what was advised.
pub async fn withdraw(store: &dyn Store, source: &str) -> Result<Option<Advice>, StoreError> {
    let advised = advice(store, source).await?;
    if advised.is_some() {
        store.set_source_memory(source, PART, &json!({})).await?;
    }
    Ok(advised)
}
