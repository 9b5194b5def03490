//! A changed configuration reaches what the vendor has already: all that the directory holds becomes
//! work again, once.

use serde_json::{Value, json};

use crate::store::StoreError;
use crate::sync::shared::Shared;

/// The part of a target's memory that tells by which mapping it was last worked on.
const MAPPING: &str = "mapping";
/// The part that tells whether groups had the directory's members and nobody else.
const AUTHORITATIVE: &str = "members_authoritative";

/// Marks everything when the mapping is another than `memory` tells, or when groups are to have nobody
/// else from now on. Safe to repeat: it is remembered only after it was marked.
pub(super) async fn catch_up(shared: &Shared, memory: &Value) -> Result<(), StoreError> {
    let policy = &shared.settings.policy;
    let (mapping, authoritative) = (policy.mapping.fingerprint(), policy.members_authoritative);
    let remapped = memory[MAPPING].as_str() != mapping.as_deref();
    let was_authoritative = memory[AUTHORITATIVE].as_bool().unwrap_or(false);
    if !remapped && authoritative == was_authoritative {
        return Ok(());
    }
    if remapped || authoritative {
        tracing::info!(
            target_name = shared.name(),
            "the mapping or whose members count has changed; everything is looked at again"
        );
        shared.store.backfill(shared.name(), shared.clock.now()).await?;
    }
    shared.remember([(MAPPING, json!(mapping)), (AUTHORITATIVE, json!(authoritative))]).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Method;

    use crate::mapping::{Expression, Mapping};
    use crate::store::Store as _;
    use crate::sync::stage::{ACME, Stage, until};

    #[tokio::test(start_paused = true)]
    async fn whom_the_vendor_has_already_is_looked_at_once_more_where_the_mapping_is_another() {
        let mut stage = Stage::new(&[ACME], 10.0).await;
        stage.hire(0..3).await;
        let one = stage.replica("one");
        stage.quiet(ACME).await;
        one.shut_down().await;
        let nobody = Expression::compile("user.title != 'Newcomer'").unwrap();
        stage.mapping = Arc::new(Mapping { scope: Some(nobody), ..Mapping::default() });
        let two = stage.replica("two");
        until("everybody has left the scope", async || stage.vendor(ACME).calls_by("two").len() == 3).await;
        stage.quiet(ACME).await;
        let calls = stage.vendor(ACME).calls_by("two");
        assert!(calls.iter().all(|seen| seen.method == Method::PATCH), "{calls:?}");
        two.shut_down().await;
        let memory = stage.world.view().target(ACME).await.unwrap().unwrap().memory;
        assert_eq!(
            memory["mapping"].as_str(),
            stage.mapping.fingerprint().as_deref(),
            "and it is remembered"
        );
    }
}
