//! What a target is set up with.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderName;
use url::Url;

use crate::target::layers::breaker::BreakerSettings;
use crate::target::oauth::OAuth2;
use crate::target::profile::{ClassLimits, Limits, Profile, Window};
use crate::target::secret::Secret;
use crate::target::service_account::ServiceAccount;

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
    /// Tokens from a token endpoint, for grants that a service account signs.
    ServiceAccount(ServiceAccount),
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
    /// These limits under overrides. A rate of the operator's own takes the place of the profile's rate
    /// and of the windows that count every call; windows of their own take the place of all windows.
    #[must_use]
    pub fn with(self, overrides: &LimitOverrides) -> Self {
        let (rate_per_second, windows) = match (overrides.rate_per_second, &overrides.windows) {
            (rate, Some(windows)) => (rate, windows.clone()),
            (Some(rate), None) => {
                let mut windows = self.windows;
                windows.retain(|window| !window.counts_all());
                (Some(rate), windows)
            }
            (None, None) => (self.rate_per_second, self.windows),
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

    /// The windows of the profile that these limits do not keep. A vendor's own terms may be wider than
    /// its documents say, but that is to be known and not to slip in.
    pub fn wider_than(&self, profile: &Self) -> Vec<Window> {
        let kept = self.buckets();
        profile
            .all_windows()
            .into_iter()
            .filter(|window| !kept.iter().any(|bucket| bucket.keeps(window)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn only_what_keeps_a_window_of_the_profile_is_not_wider() {
        let writes = "methods = [\"POST\", \"PATCH\"]";
        let slack = Limits {
            rate_per_second: None,
            windows: vec![window(&format!("limit = 600\nper = \"60s\"\n{writes}"))],
            ..Limits::default()
        };
        let own =
            |text: &str| LimitOverrides { windows: Some(vec![window(text)]), ..LimitOverrides::default() };
        for (text, wider) in [
            ("limit = 600\nper = \"60s\"\n".to_owned() + writes, 0),
            ("limit = 600\nper = \"60s\"".to_owned(), 0),
            ("limit = 10\nper = \"1s\"".to_owned(), 0),
            ("limit = 601\nper = \"60s\"".to_owned(), 1),
            ("limit = 11\nper = \"1s\"".to_owned(), 1),
            ("limit = 500\nper = \"60s\"\nmethods = [\"POST\"]".to_owned(), 1),
            ("limit = 500\nper = \"60s\"\ncost_bytes = 100".to_owned(), 1),
        ] {
            assert_eq!(slack.clone().with(&own(&text)).wider_than(&slack).len(), wider, "{text}");
        }
        let rate = LimitOverrides { rate_per_second: Some(50.0), ..LimitOverrides::default() };
        let limits = slack.clone().with(&rate);
        assert_eq!(limits.windows, slack.windows, "a rate does not touch what counts some calls only");
        for (rate, wider) in [(9.9, 0), (10.5, 1)] {
            let limits = Limits { rate_per_second: Some(rate), windows: Vec::new(), ..slack.clone() };
            assert_eq!(limits.wider_than(&slack).len(), wider, "{rate}");
        }
    }

    #[test]
    fn a_rate_of_ones_own_replaces_the_profiles_windows() {
        let genesys = Profile::builtin("genesys-cloud").unwrap().limits;
        let raised = LimitOverrides { rate_per_second: Some(20.0), ..LimitOverrides::default() };
        let limits = genesys.clone().with(&raised);
        assert_eq!((limits.rate_per_second, limits.windows.len()), (Some(20.0), 0));
        assert_eq!(limits.wider_than(&genesys).len(), 1);
        assert!(limits.headers.is_some(), "what was not set stays");

        let fewer = LimitOverrides { concurrency: NonZeroU32::new(2), ..LimitOverrides::default() };
        let limits = genesys.with(&fewer);
        assert_eq!((limits.concurrency.get(), limits.windows.len()), (2, 1));
    }
}
