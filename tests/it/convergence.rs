//! The main job on a vendor that we did not write: a signed stream goes in, the directory comes out.

use std::time::Duration;

use crate::support::fault_proxy::{FaultProxy, Faults};
use crate::support::http_client;
use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::scim_server::ScimServer;
use scim_relay::demo::company::{self, Event, Shape};
use scim_relay::demo::proof::{Holdings, members};

const LIMIT: Duration = Duration::from_mins(4);

/// Posts events as several senders would: a few at once, in the order given.
async fn deliver(relay: &Relay, events: &[Event]) {
    use futures_util::StreamExt as _;
    futures_util::stream::iter(events)
        .for_each_concurrent(8, |event| async move { relay.accept(&event.id, &event.body()).await })
        .await;
}

/// 500 users, 30 groups and 3,000 changes, with duplicates, disorder, bursts on one group, renames and
/// leavers, through lost calls, lost answers, throttling and edits by others.
#[tokio::test(flavor = "multi_thread")]
async fn a_strict_server_ends_equal_to_the_directory_through_faults() {
    let server = ScimServer::start().await;
    let faults = Faults { before: 0.02, after: 0.02, lost: 0.02, throttled: 0.002, edited: 0.1 };
    let proxy = FaultProxy::start(server.origin.clone(), faults, 42).await;
    let home =
        Home::new(&[TargetSetup::new("strict", format!("http://{}/v2", proxy.addr), ScimServer::TOKEN)]);
    let relay = home.start().await;

    let events = company::generate(Shape { users: 500, groups: 30, changes: 3_000 }, 7);
    let changes: usize = events.iter().map(|event| event.changes.len()).sum();
    // Users are linked after the first half, so that the second meets accounts which others edit.
    let (first, second) = events.split_at(events.len() / 2);
    deliver(&relay, first).await;
    relay.quiet("strict", LIMIT).await;
    deliver(&relay, second).await;
    let status = relay.quiet("strict", LIMIT).await;

    assert_eq!(status["targets"]["strict"]["parked"], 0, "{}", relay.admin("/targets/strict/parked").await);
    let holdings = Holdings::read(&http_client(), &server.base_url(), ScimServer::TOKEN).await.unwrap();
    assert_eq!(holdings.differences(&company::directory(&events)), Vec::<String>::new());
    assert!(
        holdings.users.iter().any(|user| user.get("nickName").is_some()),
        "what others wrote meanwhile is still there"
    );
    println!(
        "{changes} changes in {} events (duplicates included): {} calls, {} of them writes; {:.2} calls per change",
        events.len(),
        proxy.calls(),
        proxy.writes(),
        proxy.calls() as f64 / changes as f64,
    );
    assert_eq!(relay.terminate().await, Some(0));
}

/// Accounts that were there before the relay are found, linked and kept.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_exist_already_are_linked_and_not_made_twice() {
    let server = ScimServer::start().await;
    let client = http_client();
    for (path, body) in [
        (
            "Users",
            r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"user1@example.com","nickName":"theirs","title":"Old"}"#,
        ),
        ("Groups", r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Team 0"}"#),
    ] {
        let made = client
            .post(format!("{}/{path}", server.base_url()))
            .bearer_auth(ScimServer::TOKEN)
            .header("content-type", "application/scim+json")
            .body(body)
            .send()
            .await
            .expect("an answer");
        assert_eq!(made.status(), 201);
    }
    let home = Home::new(&[TargetSetup::new("strict", server.base_url(), ScimServer::TOKEN)]);
    let relay = home.start().await;
    let body = r#"{"changes":[
        {"op":"user.upsert","id":"u-1","attributes":{"userName":"user1@example.com","title":"New"}},
        {"op":"group.upsert","id":"g-0","attributes":{"displayName":"Team 0"}},
        {"op":"group.members","id":"g-0","add":["u-1"]}]}"#;
    relay.accept("evt-1", body).await;
    relay.quiet("strict", LIMIT).await;
    let holdings = Holdings::read(&http_client(), &server.base_url(), ScimServer::TOKEN).await.unwrap();
    assert_eq!((holdings.users.len(), holdings.groups.len()), (1, 1));
    let user = holdings.user("u-1").expect("linked, and marked as ours");
    assert_eq!((&user["nickName"], &user["title"]), (&"theirs".into(), &"New".into()));
    assert_eq!(members(&holdings.groups[0]).len(), 1);
}
