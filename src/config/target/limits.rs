//! `limits` of a target: what the operator wants kept instead of what the profile says.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::problem::Problem;
use crate::config::reader::{Section, one_of};
use crate::target::LimitOverrides;
use crate::target::profile::{ClassLimits, Cost, Limits, Resource, Scope, Shape, Unit, Verb, Window};

/// Highest rate that may be set, in calls a second.
const RATE_MAX: f64 = 10_000.0;
/// Lowest rate that may be set: one call in about a quarter of an hour. Slower is a pause.
const RATE_MIN: f64 = 0.001;
/// Most calls at once that may be set.
const BURST_MAX: NonZeroU32 = NonZeroU32::new(100_000).expect("100000 is over zero");
/// Most calls in flight that may be set.
const CONCURRENCY_MAX: NonZeroU32 = NonZeroU32::new(1_000).expect("1000 is over zero");
/// Longest body that a window can begin with.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most calls in a window that may be set.
const WINDOW_LIMIT_MAX: NonZeroU32 = NonZeroU32::new(10_000_000).expect("ten million is over zero");

/// Reads `limits` of a target.
pub fn read(mut section: Section<'_>) -> LimitOverrides {
    let overrides = LimitOverrides {
        rate_per_second: section.number("rate_per_second", RATE_MIN..=RATE_MAX),
        burst: section.positive("burst", BURST_MAX),
        concurrency: section.positive("concurrency", CONCURRENCY_MAX),
        windows: windows(&mut section),
        single: section.section("single").map(class),
        list: section.section("list").map(class),
        bulk: section.section("bulk").map(class),
    };
    section.finish();
    overrides
}

/// Limits of one class of calls, on top of those of all calls.
fn class(mut section: Section<'_>) -> ClassLimits {
    let limits = ClassLimits {
        rate_per_second: section.number("rate_per_second", RATE_MIN..=RATE_MAX),
        burst: section.positive("burst", BURST_MAX),
        windows: windows(&mut section).unwrap_or_default(),
    };
    section.finish();
    limits
}

fn windows(section: &mut Section<'_>) -> Option<Vec<Window>> {
    section.has("windows").then(|| section.sections("windows").into_iter().filter_map(window).collect())
}

fn window(mut section: Section<'_>) -> Option<Window> {
    let limit = section.positive("limit", WINDOW_LIMIT_MAX);
    let limit = section.require("limit", limit, "write limit = 300");
    let per = section.duration("per", Duration::from_secs(1)..=Duration::from_hours(24));
    let per = section.require("per", per, "write per = \"1m\"");
    let burst = section.positive("burst", WINDOW_LIMIT_MAX);
    let cost = cost(&mut section);
    let scope = Scope {
        class: None,
        methods: words(&mut section, "methods", &METHODS),
        resources: words(&mut section, "resources", &RESOURCES),
        shapes: words(&mut section, "shapes", &SHAPES),
        body_bytes_min: section.size("body_bytes_min", 0..=BODY_BYTES_MAX).unwrap_or(0),
    };
    section.finish();
    Some(Window { limit: limit?, per: per?, burst, cost: cost?, scope })
}

const METHODS: [(&str, Verb); 5] = [
    ("GET", Verb::Get),
    ("POST", Verb::Post),
    ("PUT", Verb::Put),
    ("PATCH", Verb::Patch),
    ("DELETE", Verb::Delete),
];
const RESOURCES: [(&str, Resource); 4] = [
    ("users", Resource::Users),
    ("groups", Resource::Groups),
    ("bulk", Resource::Bulk),
    ("other", Resource::Other),
];
const SHAPES: [(&str, Shape); 3] =
    [("single", Shape::Single), ("list", Shape::List), ("search", Shape::Search)];

fn cost(section: &mut Section<'_>) -> Option<Cost> {
    let unit = section.choice("cost", &[("request", Unit::Request), ("bulk_operation", Unit::BulkOperation)]);
    let bytes = section.positive("cost_bytes", WINDOW_LIMIT_MAX);
    let cost = Cost::read(unit, bytes);
    if let (None, Some(bytes)) = (cost, bytes) {
        section.reject("cost_bytes", bytes, "stands beside cost", "write either cost or cost_bytes");
    }
    cost
}

/// Those of a few words that a list names; each that is none of them is an error.
fn words<T: Copy>(section: &mut Section<'_>, key: &'static str, known: &[(&str, T)]) -> Vec<T> {
    let mut meant = Vec::new();
    for word in section.texts(key).unwrap_or_default() {
        if let Some((_, meaning)) = known.iter().find(|(name, _)| *name == word) {
            meant.push(*meaning);
        } else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            section.reject(key, &word, "is not one of the choices", format!("write {}", one_of(&names)));
        }
    }
    meant
}

/// Says so where the limits in force let more through than the profile gives as the vendor's.
pub fn warn_of_wider(section: &Section<'_>, profile: &Limits, limits: &Limits) {
    for window in limits.wider_than(profile) {
        section.add(Problem::warning(
            section.path_of("limits"),
            format!("lets more through than the {window} that the profile gives as the vendor's limit"),
            "keep it if the vendor grants you more, else write a lower rate or the profile's windows",
        ));
    }
}
