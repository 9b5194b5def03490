//! What a target is set up with.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderName;
use url::Url;

use crate::target::layers::breaker::BreakerSettings;
use crate::target::oauth::OAuth2;
use crate::target::profile::{ClassLimits, Limits, Profile, Window};
use crate::target::secret::Secret;

/// What a target is set up with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name in the configuration.
    pub name: String,
    /// Where its SCIM API begins.
    pub base_url: Url,
    /// How calls are let in.
    pub auth: Auth,
    /// What is peculiar to the vendor.
    pub profile: Profile,
    /// How much it takes: the profile's limits after overrides.
    pub limits: Limits,
    /// The time one attempt may take.
    pub timeout: Duration,
    /// When the breaker opens.
    pub breaker: BreakerSettings,
    /// Seed of all jitter.
    pub seed: u64,
}

/// How calls are let in.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A token of the operator's.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// A key in a header of the vendor's own.
    Header {
        /// The header.
        name: HeaderName,
        /// The key, with whatever the vendor wants around it.
        value: Secret,
    },
    /// Tokens from a token endpoint.
    OAuth2(OAuth2),
}

impl Settings {
    /// As the profile says.
    pub fn new(name: impl Into<String>, base_url: Url, auth: Auth, profile: Profile) -> Self {
        Self {
            name: name.into(),
            base_url,
            auth,
            limits: profile.limits.clone(),
            timeout: profile.http.timeout,
            breaker: BreakerSettings::default(),
            seed: rand::random(),
            profile,
        }
    }
}

/// What a configuration sets over a profile's limits.
#[derive(Clone, Debug, Default)]
pub struct LimitOverrides {
    /// Calls a second.
    pub rate_per_second: Option<f64>,
    /// Calls at once after a quiet time.
    pub burst: Option<NonZeroU32>,
    /// Calls in flight.
    pub concurrency: Option<NonZeroU32>,
    /// Windows for all calls.
    pub windows: Option<Vec<Window>>,
    /// Limits for single calls.
    pub single: Option<ClassLimits>,
    /// Limits for lists.
    pub list: Option<ClassLimits>,
    /// Limits for bulk requests.
    pub bulk: Option<ClassLimits>,
}

impl Limits {
    /// These limits under overrides. Whoever sets a rate or windows knows the vendor's terms better
    /// than the profile, so the profile's rate and windows then no longer hold.
    #[must_use]
    pub fn with(self, overrides: &LimitOverrides) -> Self {
        let own_terms = overrides.rate_per_second.is_some() || overrides.windows.is_some();
        let (rate_per_second, windows) = if own_terms {
            (overrides.rate_per_second, overrides.windows.clone().unwrap_or_default())
        } else {
            (self.rate_per_second, self.windows)
        };
        Self {
            rate_per_second,
            windows,
            burst: overrides.burst.unwrap_or(self.burst),
            concurrency: overrides.concurrency.unwrap_or(self.concurrency),
            single: overrides.single.clone().unwrap_or(self.single),
            list: overrides.list.clone().unwrap_or(self.list),
            bulk: overrides.bulk.clone().unwrap_or(self.bulk),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_ones_own_replaces_the_profiles_windows() {
        let genesys = Profile::builtin("genesys-cloud").unwrap().limits;
        let raised = LimitOverrides { rate_per_second: Some(20.0), ..LimitOverrides::default() };
        let limits = genesys.clone().with(&raised);
        assert_eq!((limits.rate_per_second, limits.windows.len()), (Some(20.0), 0));
        assert!(limits.headers.is_some(), "what was not set stays");

        let fewer = LimitOverrides { concurrency: NonZeroU32::new(2), ..LimitOverrides::default() };
        let limits = genesys.with(&fewer);
        assert_eq!((limits.concurrency.get(), limits.windows.len()), (2, 1));
    }
}
