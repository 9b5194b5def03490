//! What an operator writes: vendors' profiles, and the configuration.

use std::path::Path;

use scim_relay::config::{Config, Environment};
use scim_relay::target::Profile;

use super::texts;
use crate::input::Input;

/// A profile.
pub fn profile(input: &[u8]) {
    let Some(text) = Input::of(input).text() else { return };
    let Ok(profile) = Profile::parse(text) else { return };
    let _ = (profile.limits.buckets(), profile.limits.all_windows());
    let whole = Profile::effective(text).expect("a profile can be shown whole");
    assert!(Profile::parse(&whole).is_ok(), "a profile that is shown whole is one:\n{whole}");
}

pub fn profile_seeds() -> Vec<Vec<u8>> {
    let built_in: Vec<_> = Profile::names().filter_map(Profile::builtin_text).collect();
    texts(&built_in)
}

/// A configuration. The folder that its files are looked for in is not there.
pub fn configuration(input: &[u8]) {
    let Some(text) = Input::of(input).text() else { return };
    let environment: Environment = [("SECRET", "whsec_c2VjcmV0")].into_iter().collect();
    let read = Config::parse(text, "relay.toml", Path::new("/nowhere"), &environment);
    if let Err(problems) = read {
        assert!(!problems.is_empty(), "what is refused is told why");
    }
}

pub fn configuration_seeds() -> Vec<Vec<u8>> {
    texts(&[
        include_str!("../relay.toml"),
        include_str!("../../../examples/relay.toml"),
        include_str!("../../../examples/hr.toml"),
    ])
}
