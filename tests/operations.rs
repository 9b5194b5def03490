//! Holds docs/OPERATIONS.md and the alert rules to the metrics that there are.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PREFIX: &str = "scim_relay_";

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The names that the program registers. Counters are exposed with `_total` behind them.
fn registered() -> BTreeSet<String> {
    let source = text("src/telemetry/metrics.rs");
    let names = source.split("registry.register(").skip(1);
    names.map(|rest| rest.split('"').nth(1).unwrap().to_owned()).collect()
}

/// The metrics that a text names, as they are registered.
fn named(text: &str) -> BTreeSet<String> {
    let tails = text.split(PREFIX).skip(1);
    let name = |tail: &str| -> String {
        let word: String = tail.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        word.strip_suffix("_total").unwrap_or(&word).to_owned()
    };
    tails.map(name).collect()
}

/// The first cells of the tables between two headings.
fn first_cells(document: &str, from: &str, to: &str) -> Vec<String> {
    let (_, rest) = document.split_once(from).unwrap();
    let (part, _) = rest.split_once(to).unwrap();
    let rows = part.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    rows.map(str::to_owned).collect()
}

#[test]
fn every_metric_is_described_and_nothing_else_is() {
    let document = text("docs/OPERATIONS.md");
    let described: BTreeSet<String> = first_cells(&document, "\n## Metrics\n", "\n## Alerts\n")
        .iter()
        .flat_map(|cell| named(cell))
        .collect();
    assert_eq!(described, registered());
}

#[test]
fn alerts_are_raised_on_metrics_that_exist() {
    let unknown: Vec<String> =
        named(&text("deploy/prometheus/alerts.yml")).difference(&registered()).cloned().collect();
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn every_alert_has_a_line_that_says_what_to_do() {
    let rules = text("deploy/prometheus/alerts.yml");
    let raised: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let document = text("docs/OPERATIONS.md");
    let explained = first_cells(&document, "\n### What to do\n", "\n## Backup and restore\n");
    let explained: BTreeSet<&str> =
        explained.iter().map(String::as_str).filter(|cell| cell.starts_with("ScimRelay")).collect();
    assert_eq!(explained, raised);
}
