//! A changed mapping reaches the users whom the vendor has already: all that the directory holds
//! becomes work again, once.

use serde_json::{Value, json};

use crate::store::StoreError;
use crate::sync::shared::Shared;

/// The part of a target's memory that tells by which mapping it was last worked on.
const MAPPING: &str = "mapping";

/// Marks everything when the mapping is another than `memory` tells. Safe to repeat: it is remembered
/// only after it was marked.
pub(super) async fn catch_up(shared: &Shared, memory: &Value) -> Result<(), StoreError> {
    let present = shared.settings.policy.mapping.fingerprint();
    if memory[MAPPING].as_str() == present.as_deref() {
        return Ok(());
    }
    tracing::info!(target_name = shared.name(), "the mapping has changed; all users are looked at again");
    shared.store.backfill(shared.name(), shared.clock.now()).await?;
    shared.remember([(MAPPING, json!(present))]).await
}
