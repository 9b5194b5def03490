//! What is configured once for all inputs: sources of every kind, and who is asked.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use scim_relay::clock::Timestamp;
use scim_relay::config::{Config, Environment};
use scim_relay::feed::Way;
use scim_relay::feed::file::Settings as FileSettings;
use scim_relay::source::connectors::{Connector, Provider, Ssf};
use scim_relay::source::{Kind, Options, PRESETS, Registered, Settings, Sources};
use secrecy::SecretString;

/// When every input arrives.
pub const NOW: Timestamp = Timestamp::from_seconds(1_786_000_000);

/// A secret that no input holds: what is verified all the same, was let through.
const SECRET: &str = "whsec_3q2+7wAAQUJDREVGR0hJSktMTU5PUFFSU1RVVlc=";

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let environment: Environment = [("SECRET", SECRET)].into_iter().collect();
    let read = Config::parse(include_str!("relay.toml"), "relay.toml", Path::new("/"), &environment);
    read.unwrap_or_else(|problems| panic!("{problems:#?}")).0
});

/// Every source, as a relay holds them.
pub static SOURCES: LazyLock<Arc<Sources>> = LazyLock::new(|| {
    let presets = PRESETS.iter().map(|preset| (preset.name, Kind::Preset(preset, Options::default())));
    let built_in = presets.chain([("native", Kind::Native)]).map(|(name, kind)| Settings {
        name: name.to_owned(),
        kind,
        directory: "corp".to_owned(),
        secrets: vec![SecretString::from(SECRET)],
        intake_limit: None,
        body_bytes_max: 1024 * 1024,
        provider: None,
    });
    Arc::new(Sources::open(CONFIG.sources.values().cloned().chain(built_in)).expect("each can be set up"))
});

/// Every source, by name.
pub static ALL: LazyLock<Vec<&'static Registered>> = LazyLock::new(|| SOURCES.iter().collect());

/// The sources that drop files.
pub static FILES: LazyLock<Vec<&'static FileSettings>> = LazyLock::new(|| {
    let files = CONFIG.feeds.values().filter_map(|feed| match &feed.way {
        Way::File(settings) => Some(settings.as_ref()),
        Way::Poll(_) => None,
    });
    files.collect()
});

/// Everybody who can be asked.
pub static CONNECTORS: LazyLock<Vec<Box<dyn Connector>>> = LazyLock::new(|| {
    use Provider::{Auth0, Google, Graph, Keycloak, Okta, Scim, WorkOs};
    let ssf = Provider::Ssf(Ssf { description: ".well-known/ssf-configuration".to_owned() });
    let built_in = [Auth0, Google, Graph, Keycloak, Okta, Scim, WorkOs, ssf].into_iter();
    let rest = CONFIG.sources.values().filter_map(|settings| settings.provider.clone());
    built_in.chain(rest).map(|provider| provider.open()).collect()
});

/// Makes all of it, so that no input pays for it.
pub fn prepare() {
    assert!(!ALL.is_empty() && !FILES.is_empty() && !CONNECTORS.is_empty());
}
