//! What must be true after a bad day.

use std::collections::BTreeSet;

use scim_relay::demo::company::{self, Event};

use super::replicas::Replicas;
use super::sandbox::Sandbox;
use super::sender::Sender;

/// Every event is stored once and was merged, and those that were accepted are among them.
pub async fn assert_all_accounted_for(replicas: &Replicas, asked: usize, sender: &Sender, events: &[Event]) {
    let stored = replicas.events(asked).await;
    let unmerged: Vec<_> = stored.iter().filter(|(_, state)| state != "projected").collect();
    assert!(unmerged.is_empty(), "not merged: {unmerged:?}");
    let ids: BTreeSet<&str> = stored.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids.len(), stored.len(), "an event is there twice");
    let sent: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, sent, "what is stored is what was sent");
    let accepted = sender.tally().accepted;
    let once: BTreeSet<&str> = accepted.iter().map(String::as_str).collect();
    assert_eq!(once.len(), accepted.len(), "an event was accepted twice");
    assert!(once.is_subset(&ids), "an accepted event is gone");
}

/// The vendor has what the events describe, and nobody twice.
pub async fn assert_equal(sandbox: &Sandbox, events: &[Event]) {
    assert_eq!(differences(sandbox, events).await, Vec::<String>::new());
}

/// The same, and what a replica and the vendor know of each user who differs is printed.
pub async fn assert_equal_or_tell(sandbox: &Sandbox, events: &[Event], replicas: &Replicas, asked: usize) {
    let differences = differences(sandbox, events).await;
    for user in differences.iter().filter_map(|found| found.strip_prefix("user ")?.split(':').next()) {
        println!("{user} at the vendor:");
        let account = sandbox.user(user).await;
        let id = account["id"].as_str().expect("an id");
        for call in sandbox.calls().await.iter().filter(|call| call.path.contains(id)) {
            println!("  {:>12} {} {} bytes {}", call.time_us, call.method, call.body_bytes, call.status);
        }
        println!("  {account}");
        println!("{user} by the relay:");
        let path = format!("/directories/default/users/{user}/timeline?order=oldest&limit=500");
        let story = replicas.admin(asked, &path).await;
        println!("  {}", story["present"]);
        for item in story["items"].as_array().expect("a list") {
            println!("  {item}");
        }
    }
    assert_eq!(differences, Vec::<String>::new());
}

async fn differences(sandbox: &Sandbox, events: &[Event]) -> Vec<String> {
    sandbox.users().await;
    sandbox.holdings().await.differences(&company::directory(events))
}
