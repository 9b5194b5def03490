//! A vendor's SCIM API: what is peculiar to it, what its answers mean, and one tower stack before it.
//!
//! | module | holds |
//! |---|---|
//! | [`profile`] | a vendor's peculiarities, as data |
//! | [`requests`] | the calls to make, by profile; pure |
//! | [`call`] | a call, its answer, its failure |
//! | [`verdict`] | what an answer means; pure |
//! | [`addresses`] | which of the target's resources an address names; pure |
//! | [`discovery`] | what the vendor's server says of itself |
//! | [`probe`] | what it really does |
//! | [`layers`] | gate, breaker, limits, auth, timeout |
//! | [`stack`] | the layers in order |
//! | [`transport`], [`oauth`], [`token`], [`secret`] | HTTP, tokens, what they are made from |
//!
//! Nothing here repeats a call, except once after a 401. Whoever calls decides by the [`verdict`].

pub mod addresses;
pub mod call;
pub mod discovery;
pub mod layers;
pub mod oauth;
pub mod probe;
pub mod profile;
pub mod rate_headers;
pub mod requests;
pub mod retry_after;
pub mod secret;
mod service_account;
pub mod settings;
mod stack;
pub mod token;
pub mod transport;
pub mod verdict;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tower::util::BoxCloneSyncService;

pub use self::addresses::Addresses;
pub use self::call::{Answer, Call, CallClass, CallError, Stack, Turn};
pub use self::oauth::OAuth2;
pub use self::profile::Profile;
pub use self::requests::{Kind, MemberRef};
pub use self::secret::Secret;
pub use self::service_account::ServiceAccount;
pub use self::settings::{Auth, LimitOverrides, Settings};
pub use self::verdict::{CallFacts, Verdict, judge};

use self::layers::breaker::{Breaker, BreakerSettings, BreakerSnapshot};
use self::layers::concurrency::{ConcurrencyLayer, Places};
use self::layers::gate::{Gate, GateSettings, GateSnapshot};
use self::layers::limiter::{Limiter, LimiterSnapshot};
use self::layers::observe::ObserveLayer;
use self::layers::rate::Admission;
use self::layers::timeout::TimeoutLayer;
use self::oauth::ClientCredentials;
use self::service_account::SignedGrants;
use self::stack::Shared;
use self::token::{Shape, Tokens};
use self::transport::{Base, Transport};
use crate::clock::SharedClock;
use crate::telemetry::metrics::{Metrics, TargetLabels};

/// One vendor, ready to be called.
#[derive(Clone)]
pub struct Target {
    name: Arc<str>,
    profile: Arc<Profile>,
    shared: Shared,
    health: Health,
}

/// The handles of what holds calls back; clones are the same handles.
#[derive(Clone)]
pub struct Health {
    /// Pauses: the vendor's, an administrator's, a suspension.
    pub gate: Gate,
    /// Failures that nobody announced.
    pub breaker: Breaker,
    /// The rate in use.
    pub limiter: Limiter,
}

/// What holds calls back at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthSnapshot {
    /// The gate.
    pub gate: GateSnapshot,
    /// The breaker.
    pub breaker: BreakerSnapshot,
    /// The limiter.
    pub limiter: LimiterSnapshot,
}

impl Health {
    /// What holds calls back now.
    pub fn snapshot(&self) -> HealthSnapshot {
        HealthSnapshot {
            gate: self.gate.snapshot(),
            breaker: self.breaker.snapshot(),
            limiter: self.limiter.snapshot(),
        }
    }
}

/// Why a target cannot be set up. Nothing has been sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A value that cannot be.
    #[error("use `{key}` of target `{target}`: {remedy}")]
    Setting {
        /// The target's name.
        target: String,
        /// Which value.
        key: &'static str,
        /// What it must be.
        remedy: &'static str,
    },
    /// Limits that cannot be.
    #[error("use the limits of target `{target}`")]
    Limits {
        /// The target's name.
        target: String,
        /// Which, and why.
        #[source]
        source: profile::ProfileError,
    },
    /// The HTTP client.
    #[error("make an HTTP client for target `{target}`")]
    Http {
        /// The target's name.
        target: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
}

impl Target {
    /// Sets a target up; no connection is made before the first call.
    pub fn connect(settings: Settings, clock: SharedClock, metrics: &Metrics) -> Result<Self, ConnectError> {
        let Settings { name, base_url, auth, profile, limits, timeout, breaker, seed } = settings;
        limits.check().map_err(|source| ConnectError::Limits { target: name.clone(), source })?;
        let wrong = |key, remedy| ConnectError::Setting { target: name.clone(), key, remedy };
        let base = Base::new(&base_url).map_err(|remedy| wrong("base_url", remedy))?;
        let user_agent = profile.http.user_agent.clone().unwrap_or_else(default_user_agent);
        let http = transport::client(&base, &user_agent, timeout)
            .map_err(|source| ConnectError::Http { target: name.clone(), source })?;
        let tokens = tokens(&name, auth, &user_agent, timeout, &clock)?;
        let labels = TargetLabels { target: name.clone() };
        let health = Health {
            gate: Gate::new(
                GateSettings::new(&limits, seed),
                Arc::clone(&clock),
                metrics.throttled_seconds.get_or_create(&labels).clone(),
            ),
            breaker: Breaker::new(BreakerSettings { seed, ..breaker }, clock),
            limiter: Limiter::new(&limits.buckets()),
        };
        let admission = Admission { gate: health.gate.clone(), limiter: health.limiter.clone() };
        let shared = Shared {
            observe: ObserveLayer::new(name.clone(), metrics.clone()),
            admission,
            breaker: health.breaker.clone(),
            concurrency: ConcurrencyLayer::new(Places::new(limits.concurrency.get())),
            tokens: Arc::new(tokens),
            timeout: TimeoutLayer::new(timeout),
            transport: BoxCloneSyncService::new(Transport::new(
                http,
                base,
                header(&profile.http.content_type),
                header(&profile.http.accept),
                profile.http.body_bytes_max,
            )),
        };
        Ok(Self { name: name.into(), profile: Arc::new(profile), shared, health })
    }

    /// The same target with a vendor of the test's own behind its layers.
    #[cfg(test)]
    #[must_use]
    pub fn played_by<V>(mut self, vendor: V) -> Self
    where
        V: tower::Service<layers::auth::Authorized, Response = Answer, Error = CallError>,
        V: Clone + Send + Sync + 'static,
        V::Future: Send + 'static,
    {
        self.shared.transport = BoxCloneSyncService::new(vendor);
        self
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A stack for calls of any class: it is ready when every window that counts all calls has room.
    pub fn stack(&self) -> Stack {
        stack::build(&self.shared, None, Turn::Usual)
    }

    /// The same for a call that ends somebody's access: it gets ready ahead of all others.
    pub fn stack_going_first(&self) -> Stack {
        stack::build(&self.shared, None, Turn::First)
    }

    /// A stack for calls of one class: windows of other classes do not hold it up.
    pub fn stack_for(&self, class: CallClass) -> Stack {
        stack::build(&self.shared, Some(class), Turn::Usual)
    }

    /// What is peculiar to the vendor.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What holds calls back.
    pub fn health(&self) -> &Health {
        &self.health
    }
}

/// The tokens of whoever is called, by its name.
pub fn tokens(
    name: &str,
    auth: Auth,
    user_agent: &str,
    timeout: Duration,
    clock: &SharedClock,
) -> Result<Tokens, ConnectError> {
    let wrong = |key, remedy| ConnectError::Setting { target: name.to_owned(), key, remedy };
    let login = |url: &url::Url| {
        let login = Base::new(url).map_err(|remedy| wrong("auth.token_url", remedy))?;
        transport::client(&login, user_agent, timeout)
            .map_err(|source| ConnectError::Http { target: name.to_owned(), source })
    };
    Ok(match auth {
        Auth::Bearer { token } => Tokens::configured(token, Shape::Bearer)
            .ok_or_else(|| wrong("auth.token", "visible ASCII without spaces"))?,
        Auth::Header { name, value } => Tokens::configured(value, Shape::Header(name))
            .ok_or_else(|| wrong("auth.value", "visible ASCII"))?,
        Auth::OAuth2(oauth) => {
            let (http, margin) = (login(&oauth.token_url)?, oauth.expiry_margin);
            Tokens::issued(ClientCredentials::new(oauth, http), margin)
        }
        Auth::ServiceAccount(account) => {
            let (http, margin) = (login(&account.token_url)?, account.expiry_margin);
            Tokens::issued(SignedGrants::new(account, http, Arc::clone(clock)), margin)
        }
    })
}

/// How the relay calls itself where nothing else is configured.
pub fn default_user_agent() -> String {
    concat!("scim-relay/", env!("CARGO_PKG_VERSION")).to_owned()
}

fn header(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("a profile's media types are checked when it is read")
}
