//! The rules that a profile's values keep.

use std::fmt::Display;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::{
    Dialect, Evidence, Limits, PathFilters, Profile, ProfileError, QuotaHeaders, RemoveForm, Window,
};

const TIMEOUT_MAX: Duration = Duration::from_mins(10);
const WINDOWS_MAX: usize = 16;
const BODY_BYTES_MIN: usize = 4 * 1024;

pub(super) fn validate(profile: &Profile) -> Result<(), ProfileError> {
    let date = profile.as_of.parse::<jiff::civil::Date>().is_ok();
    let name = !profile.name.is_empty()
        && profile
            .name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let sourced = !profile.sources.is_empty() || profile.evidence == Evidence::Unverified;
    let (default, max) = (profile.list.default_count, profile.list.max_count);
    let mut problems: Vec<ProfileError> = [
        rule(date, "as_of", &profile.as_of, "write the date as YYYY-MM-DD"),
        rule(name, "name", &profile.name, "use lower-case letters, digits and hyphens"),
        rule(sourced, "sources", &"[]", "name what was read, or write evidence = \"unverified\""),
        http(profile),
        profile.limits.check(),
        dialects(&profile.etag.stale, "etag.stale"),
        dialects(&profile.conflict.taken, "conflict.taken"),
        rule(default <= max, "list.default_count", &default, "at most `list.max_count`"),
        members(profile),
    ]
    .into_iter()
    .filter_map(Result::err)
    .collect();
    problems.extend(matched(profile).into_iter().filter_map(Result::err));
    problems.extend(named(profile).into_iter().filter_map(Result::err));
    match (problems.pop(), problems.is_empty()) {
        (None, _) => Ok(()),
        (Some(only), true) => Err(only),
        (Some(last), false) => {
            problems.push(last);
            Err(ProfileError::Several(problems))
        }
    }
}

/// What is removed by a path filter needs path filters.
fn members(profile: &Profile) -> Result<(), ProfileError> {
    let filters = profile.patch.path_filters != PathFilters::None;
    let fits = filters || !profile.groups.supported || profile.members.remove_form == RemoveForm::ValueArray;
    let remedy = "write \"value_array\" where the vendor documents it, or patch.path_filters = \"members\"";
    rule(fits, "members.remove_form", &"path_filter", remedy)
}

fn http(profile: &Profile) -> Result<(), ProfileError> {
    let http = &profile.http;
    for (key, path) in [
        ("http.users_path", &http.users_path),
        ("http.groups_path", &http.groups_path),
        ("http.probe_path", &http.probe_path),
        ("bulk.path", &profile.bulk.path),
    ] {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        let fits = !path.is_empty()
            && !path.starts_with('/')
            && !path.ends_with('/')
            && path.bytes().all(plain)
            && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
        rule(fits, key, path, "write a path below the base URL, such as \"Users\"")?;
    }
    for (key, value) in [
        ("http.content_type", &http.content_type),
        ("http.accept", &http.accept),
        ("http.user_agent", http.user_agent.as_ref().unwrap_or(&http.accept)),
    ] {
        let fits = !value.is_empty() && HeaderValue::from_str(value).is_ok();
        rule(fits, key, value, "write what can stand in a header")?;
    }
    let timeout = !http.timeout.is_zero() && http.timeout <= TIMEOUT_MAX;
    let shown = humantime::format_duration(http.timeout);
    rule(timeout, "http.timeout", &shown, "over 0s and at most 10m")?;
    let large = http.body_bytes_max >= BODY_BYTES_MIN;
    rule(large, "http.body_bytes_max", &http.body_bytes_max, "at least 4096")
}

impl Limits {
    /// Checks the values, which may come from a profile or from the configuration over it.
    pub fn check(&self) -> Result<(), ProfileError> {
        pace("limits.rate_per_second", "limits.windows", self.rate_per_second, &self.windows)?;
        for ((_, class), (rate, windows)) in self.classes().into_iter().zip([
            ("limits.single.rate_per_second", "limits.single.windows"),
            ("limits.list.rate_per_second", "limits.list.windows"),
            ("limits.bulk.rate_per_second", "limits.bulk.windows"),
        ]) {
            pace(rate, windows, class.rate_per_second, &class.windows)?;
        }
        let concurrency = self.concurrency.get() <= 1_000;
        rule(concurrency, "limits.concurrency", &self.concurrency, "from 1 to 1000")?;
        let cap = humantime::format_duration(self.retry_after_cap);
        rule(!self.retry_after_cap.is_zero(), "limits.retry_after_cap", &cap, "over 0s")?;
        let wait = humantime::format_duration(self.default_wait);
        rule(!self.default_wait.is_zero(), "limits.default_wait", &wait, "over 0s")?;
        self.headers.as_ref().map_or(Ok(()), quota)
    }
}

fn pace(
    rate_key: &'static str,
    windows_key: &'static str,
    rate: Option<f64>,
    windows: &[Window],
) -> Result<(), ProfileError> {
    if let Some(rate) = rate {
        let fits = (0.000_1..=10_000.0).contains(&rate);
        rule(fits, rate_key, &rate, "from 0.0001 to 10000 calls a second")?;
    }
    let few = windows.len() <= WINDOWS_MAX;
    rule(few, windows_key, &windows.len(), "at most 16 windows")?;
    for window in windows {
        if let Err(remedy) = window.check() {
            rule(false, windows_key, &window, remedy)?;
        }
    }
    Ok(())
}

fn quota(quota: &QuotaHeaders) -> Result<(), ProfileError> {
    let names = [Some(&quota.reset), quota.allowed.as_ref(), quota.used.as_ref(), quota.remaining.as_ref()];
    for name in names.into_iter().flatten() {
        let fits = name.parse::<HeaderName>().is_ok();
        rule(fits, "limits.headers", name, "write the name of a header")?;
    }
    let told = quota.remaining.is_some() || (quota.allowed.is_some() && quota.used.is_some());
    rule(told, "limits.headers", &"", "name `remaining`, or `allowed` and `used`")
}

fn dialects(dialects: &[Dialect], key: &'static str) -> Result<(), ProfileError> {
    dialects.iter().try_for_each(|dialect| {
        let fits = StatusCode::from_u16(dialect.status).is_ok_and(|status| status.is_client_error());
        rule(fits, key, &dialect.status, "a status from 400 to 499")
    })
}

fn matched(profile: &Profile) -> [Result<(), ProfileError>; 2] {
    let (user, group) = (&profile.users.match_attribute, &profile.groups.match_attribute);
    [
        ("users.match_attribute", user, profile.can_filter_users_by(user)),
        ("groups.match_attribute", group, profile.can_filter_groups_by(group) || !profile.groups.supported),
    ]
    .map(|(key, attribute, filtered)| {
        rule(is_attribute(attribute), key, attribute, NAME_REMEDY)?;
        let remedy = "name it in `filter.attributes` too, since it is looked up by a filter";
        rule(filtered, key, attribute, remedy)
    })
}

fn named(profile: &Profile) -> Vec<Result<(), ProfileError>> {
    let lists = [
        ("users.strip", &profile.users.strip),
        ("users.required", &profile.users.required),
        ("users.immutable", &profile.users.immutable),
        ("groups.writable_attributes", &profile.groups.writable_attributes),
    ];
    let names = lists.into_iter().flat_map(|(key, names)| names.iter().map(move |name| (key, name)));
    names.map(|(key, name)| rule(is_attribute(name), key, name, NAME_REMEDY)).collect()
}

const NAME_REMEDY: &str = "write the name of an attribute";

fn is_attribute(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:$".contains(&byte))
}

fn rule(
    holds: bool,
    key: &'static str,
    value: &dyn Display,
    remedy: &'static str,
) -> Result<(), ProfileError> {
    if holds { Ok(()) } else { Err(ProfileError::Value { key, value: value.to_string(), remedy }) }
}
