//! From what an operator wrote to what each part is set up with.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{
    Auth as ConfiguredAuth, ClientAuth, OnDelete as ConfiguredOnDelete, ProfileRef, SourceConfig, SourceKind,
    TargetConfig,
};
use crate::source;
use crate::sync;
use crate::sync::policy::{OnDelete, Policy};
use crate::target::profile::{CredentialStyle, ProfileError, Window};
use crate::target::{Auth, LimitOverrides, OAuth2, Profile, Settings};

/// Longest wait for a notification before the store is asked.
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long what the vendor does not know is left alone before another look.
const RECHECK_AFTER: Duration = Duration::from_mins(10);

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileUnusable {
    /// No such built-in profile.
    #[error("find a built-in profile named {0}")]
    Unknown(String),
    /// The file.
    #[error("read the profile {path}")]
    File {
        /// Where it should be.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its content.
    #[error("use the profile {path}")]
    Content {
        /// Where it is.
        path: String,
        /// Why.
        #[source]
        source: ProfileError,
    },
}

/// A target's profile.
pub(super) fn profile(reference: &ProfileRef) -> Result<Profile, ProfileUnusable> {
    match reference {
        ProfileRef::BuiltIn(name) => Profile::builtin(name).ok_or_else(|| ProfileUnusable::Unknown(name.clone())),
        ProfileRef::File(path) => {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|source| ProfileUnusable::File { path: shown.clone(), source })?;
            Profile::parse(&text).map_err(|source| ProfileUnusable::Content { path: shown, source })
        }
    }
}

/// What a source is set up with.
pub(super) fn source(name: &str, config: &SourceConfig, body_bytes_max: usize) -> source::Settings {
    source::Settings {
        name: name.to_owned(),
        kind: match config.kind {
            SourceKind::Native => source::Kind::Native,
        },
        directory: config.directory.clone(),
        secrets: config.secrets.clone(),
        intake_limit: config.intake_limit.and_then(|limit| {
            Some(source::IntakeLimit {
                rate_per_second: NonZeroU32::new(limit.rate_per_second)?,
                burst: NonZeroU32::new(limit.burst)?,
            })
        }),
        body_bytes_max,
    }
}

/// What a target's stack is set up with.
pub(super) fn target(name: &str, config: &TargetConfig, profile: Profile) -> Settings {
    let overrides = LimitOverrides {
        rate_per_second: config.limits.rate_per_second,
        burst: config.limits.burst.and_then(NonZeroU32::new),
        concurrency: config.limits.concurrency.and_then(NonZeroU32::new),
        windows: config.limits.windows.as_ref().map(|windows| {
            let windows = windows.iter().filter_map(|window| {
                Some(Window { limit: NonZeroU32::new(window.limit)?, per: window.per })
            });
            windows.collect()
        }),
        ..LimitOverrides::default()
    };
    let settings = Settings::new(name, config.base_url.clone(), auth(&config.auth), profile);
    Settings {
        limits: settings.limits.clone().with(&overrides),
        timeout: config.timeout.unwrap_or(settings.timeout),
        ..settings
    }
}

/// How a target is worked on.
pub(super) fn sync(name: &str, config: &TargetConfig, profile: &Profile) -> sync::Settings {
    let on_delete = match config.on_delete {
        ConfiguredOnDelete::Deactivate => OnDelete::Deactivate,
        ConfiguredOnDelete::Delete => OnDelete::Delete,
    };
    sync::Settings {
        target: name.to_owned(),
        policy: Policy::new(profile, on_delete, config.create_inactive),
        attempts_max: config.max_attempts,
        poll_interval: POLL_INTERVAL,
        recheck_after: RECHECK_AFTER,
    }
}

fn auth(config: &ConfiguredAuth) -> Auth {
    match config {
        ConfiguredAuth::Bearer { token } => Auth::Bearer { token: token.clone() },
        ConfiguredAuth::OAuth2 { token_url, client_id, client_secret, scopes, client_auth, refresh_margin } => {
            Auth::OAuth2(OAuth2 {
                token_url: token_url.clone(),
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                scopes: scopes.clone(),
                style: match client_auth {
                    ClientAuth::Basic => CredentialStyle::Basic,
                    ClientAuth::Body => CredentialStyle::Body,
                },
                expiry_margin: *refresh_margin,
            })
        }
    }
}
