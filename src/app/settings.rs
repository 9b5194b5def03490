//! From what an operator wrote to how each target is worked on.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{
    BulkMode as ConfiguredBulkMode, DiscoveryMode, MemberPolicy, OnDelete as ConfiguredOnDelete, TargetConfig,
};
use crate::sync::policy::{OnDelete, Policy};
use crate::sync::resync::Mode;
use crate::sync::{self, BulkMode, ResyncSchedule};
use crate::target::Addresses;

/// Longest wait for a notification before the store is asked.
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long what the vendor does not know is left alone before another look.
const RECHECK_AFTER: Duration = Duration::from_mins(10);

/// How a target is worked on.
pub(super) fn sync(config: &TargetConfig) -> sync::Settings {
    let on_delete = match config.on_delete {
        ConfiguredOnDelete::Deactivate => OnDelete::Deactivate,
        ConfiguredOnDelete::Delete => OnDelete::Delete,
    };
    sync::Settings {
        target: config.connection.name.clone(),
        policy: Policy {
            addresses: Arc::new(Addresses::new(&config.connection.base_url, &config.connection.profile)),
            mapping: Arc::clone(&config.mapping),
            members_authoritative: config.members == MemberPolicy::Authoritative,
            protected: Arc::clone(&config.protected),
            id_map: Arc::clone(&config.id_map),
            ..Policy::new(&config.connection.profile, on_delete, config.create_inactive)
        },
        attempts_max: config.max_attempts.get(),
        poll_interval: POLL_INTERVAL,
        recheck_after: RECHECK_AFTER,
        bulk: match config.bulk {
            ConfiguredBulkMode::Auto => BulkMode::Auto,
            ConfiguredBulkMode::Off => BulkMode::Off,
        },
        discover: config.discovery == DiscoveryMode::Auto,
        guard: config.guard.clone(),
        resync: config.resync.map(|resync| ResyncSchedule {
            every: resync.every,
            mode: if resync.apply { Mode::Apply } else { Mode::Report },
        }),
    }
}
