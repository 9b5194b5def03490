use std::collections::BTreeSet;

use tokio::time::sleep;

use super::*;
use crate::sync::BulkMode;
use crate::sync::stage::{ACME, Stage, Vendor, until};

const RATE: f64 = 20.0;

/// The most of some calls in any ten seconds.
fn busiest(calls: &[Instant]) -> usize {
    let within = |from: &Instant| calls.iter().filter(|at| *at >= from && **at <= *from + STRETCH).count();
    calls.iter().map(within).max().unwrap_or_default()
}

/// When a user was tried again in vain who had failed before.
fn retries_in_vain(vendor: &Vendor) -> Vec<Instant> {
    let mut failed = BTreeSet::new();
    let mut in_vain = Vec::new();
    for seen in vendor.calls() {
        if !seen.fails {
            failed.remove(&seen.user);
        } else if !failed.insert(seen.user.clone()) {
            in_vain.push(seen.at);
        }
    }
    in_vain
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_fails_most_calls_is_not_met_with_retries() {
    let stage = Stage::new(&[ACME], RATE).await;
    let vendor = stage.vendor(ACME);
    // Never five in a row, so that the breaker stays out of it.
    vendor.set_failing(4);
    stage.hire(0..300).await;
    let one = stage.replica("one");
    sleep(Duration::from_mins(1)).await;
    let in_vain = busiest(&retries_in_vain(vendor));
    let calls: Vec<Instant> = vendor.calls().iter().map(|seen| seen.at).collect();
    assert!(in_vain <= 20, "a tenth of twenty calls a second in ten seconds, not {in_vain}");
    assert!(busiest(&calls) >= 10, "it is still called: {}", busiest(&calls));
    vendor.set_failing(0);
    stage.quiet(ACME).await;
    assert_eq!(vendor.users(), 300);
    one.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_of_a_minute_the_full_rate_is_back_in_twenty_seconds() {
    let stage = Stage::new(&[ACME], RATE).await;
    let vendor = stage.vendor(ACME);
    vendor.set_latency(Duration::from_millis(100));
    stage.hire(0..2_000).await;
    let one = stage.replica("one");
    until("it is under way", async || vendor.users() > 20).await;
    vendor.set_failing(5);
    let (began, before) = (Instant::now(), vendor.calls().len());
    sleep(Duration::from_mins(1)).await;
    let during = vendor.calls().len() - before;
    assert!(during <= 20, "an outage is looked at now and then: {during} calls");
    vendor.set_failing(0);
    let ended = Instant::now();
    assert_eq!(ended - began, Duration::from_mins(1));
    let full = until("the full rate", async || {
        let since = Instant::now() - Duration::from_secs(5);
        let calls = vendor.calls().iter().filter(|seen| seen.at > since).count();
        // Five seconds at twenty calls a second, less the margin.
        calls >= 95
    })
    .await;
    let recovery = full - Duration::from_secs(5) - ended;
    assert!(recovery <= Duration::from_secs(20), "{recovery:?}");
    stage.quiet(ACME).await;
    assert_eq!(vendor.users(), 2_000);
    one.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn operations_that_go_again_in_packs_are_within_the_budget_too() {
    let mut stage = Stage::new(&[ACME], RATE).await;
    stage.bulk = BulkMode::Auto;
    let vendor = stage.vendor(ACME);
    stage.hire(0..150).await;
    let one = stage.replica("one");
    stage.quiet(ACME).await;
    // What was sent until now allows no retries any more.
    sleep(Duration::from_mins(1)).await;
    vendor.set_failing_changes(true);
    let before = vendor.calls().len();
    stage.promote(0..150, "Manager").await;
    one.target(ACME).wake();
    sleep(Duration::from_secs(30)).await;
    let calls = vendor.calls().split_off(before);
    let operations: Vec<Instant> = calls.iter().map(|seen| seen.at).collect();
    let mut failed = BTreeSet::new();
    let again = calls.iter().filter(|seen| seen.fails && !failed.insert(seen.user.clone()));
    let again: Vec<Instant> = again.map(|seen| seen.at).collect();
    assert_eq!(failed.len(), 150, "each was tried");
    // They are counted to whole seconds, so that ten may be eleven.
    let most = (busiest(&operations) * 11 / 100).max(10);
    let most_again = busiest(&again);
    assert!((1..=most).contains(&most_again), "{most_again} of at most {most}");
    vendor.set_failing_changes(false);
    stage.quiet(ACME).await;
    one.shut_down().await;
}
