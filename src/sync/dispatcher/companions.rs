//! Groups that have nothing to say but who comes, while these are being created: they join the bulk
//! request that does so, where the vendor lets a member be named by it.
//!
//! A companion waits for a moment only, and no longer than the users whom it waits for are at hand here. It
//! has sent nothing, so that it can be let go of at any time; whatever else is said of the group, such as
//! that somebody is to leave it, ends its wait at once.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Dispatcher;
use crate::directory::{ExternalId, ResourceKey};
use crate::store::WorkItem;
use crate::sync::bulk::Pack;
use crate::sync::plan::Pass;
use crate::sync::policy::Policy;
use crate::sync::step::Task;
use crate::target::Profile;

/// How long a group waits here; what it waits for afterwards is the store's to know.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Most groups that wait here.
const COMPANIONS_MAX: usize = 64;

/// A group that waits here.
pub(super) struct Companion {
    pub(super) task: Task,
    users: BTreeSet<ExternalId>,
    until: Instant,
}

impl Dispatcher {
    /// Keeps a group whose pass is at its end until the users whom it waits for are created; hands it
    /// back where that does no good.
    pub(super) fn accompany(&mut self, task: Task) -> Option<Task> {
        let may_join = self.shared().takes_references()
            && task.ledger.is_empty()
            && task.item.failed_at.is_none()
            && self.companions.len() < COMPANIONS_MAX;
        let users = task.pass.as_ref().filter(|_| may_join).map(Pass::awaits).unwrap_or_default();
        if !self.has_any_at_hand(&users) {
            return Some(task);
        }
        self.companions.push(Companion { task, users, until: Instant::now() + WAIT_MAX });
        None
    }

    /// Takes those along for whom an operation of the request stands.
    pub(super) fn companions_join(&mut self, profile: &Profile, policy: &Policy, pack: &mut Pack) {
        for companion in std::mem::take(&mut self.companions) {
            if let Some(task) = pack.join(profile, policy, companion.task) {
                self.companions.push(Companion { task, ..companion });
            }
        }
    }

    /// Ends the wait of those who have waited long enough, or for nobody any more.
    pub(super) async fn release_companions(&mut self) {
        for companion in std::mem::take(&mut self.companions) {
            if !self.has_any_at_hand(&companion.users) {
                // Its users are linked, most likely: the store knows.
                self.let_go(&companion.task);
                self.lanes.expect_more();
            } else if companion.until <= Instant::now() {
                self.settle(companion.task).await;
            } else {
                self.companions.push(companion);
            }
        }
    }

    /// When the first of them has waited long enough.
    pub(super) fn companions_end(&self) -> Instant {
        let ends = self.companions.iter().map(|companion| companion.until);
        ends.min().unwrap_or_else(|| Instant::now() + WAIT_MAX.saturating_mul(3_600))
    }

    /// Something else has been said of these since: they are planned anew.
    pub(super) fn let_go_of_companions_that_moved(&mut self, due: &[WorkItem]) {
        let has_moved = |companion: &Companion| {
            let item = &companion.task.item;
            due.iter()
                .any(|due| due.key == item.key && (due.generation, due.lane) != (item.generation, item.lane))
        };
        for companion in std::mem::take(&mut self.companions) {
            if has_moved(&companion) {
                self.let_go(&companion.task);
            } else {
                self.companions.push(companion);
            }
        }
    }

    fn has_any_at_hand(&self, users: &BTreeSet<ExternalId>) -> bool {
        users.iter().any(|user| self.lanes.holds(&ResourceKey::user(user.clone())))
    }
}
