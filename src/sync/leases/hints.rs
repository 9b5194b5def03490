//! What other replicas say that they have done. It only saves time: whoever is told also asks the
//! store now and then.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::store::{Hint, Store};
use crate::sync::handle::Handles;

/// Passes hints on, to the targets that are dispatched here and to the keeper of the leases, until
/// `stop` or until the store has none.
pub async fn listen(
    store: Arc<dyn Store>,
    targets: Handles,
    leases_changed: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut hints = store.hints();
    loop {
        let hint = tokio::select! {
            () = stop.cancelled() => return,
            hint = hints.recv() => hint,
        };
        match hint {
            Ok(hint) => heed(&hint, &targets, &leases_changed),
            Err(RecvError::Lagged(_)) => heed(&Hint::Gap, &targets, &leases_changed),
            Err(RecvError::Closed) => return,
        }
    }
}

fn heed(hint: &Hint, targets: &Handles, leases_changed: &Notify) {
    match hint {
        Hint::Work { target } => {
            if let Some(handle) = targets.get(target) {
                handle.wake();
            }
        }
        Hint::State { target } => {
            if let Some(handle) = targets.get(target).filter(|handle| handle.is_held()) {
                handle.state_set();
            }
        }
        Hint::Leases => leases_changed.notify_one(),
        Hint::Gap => {
            leases_changed.notify_one();
            // Each reads its state anyway within its poll interval.
            for handle in targets.values() {
                handle.wake();
            }
        }
    }
}
