//! PostgreSQL goes away and comes back, and the wire to it is cut at the worst moments: senders are told
//! to come again, nothing that was accepted is lost, and nothing is done twice.

use std::time::Duration;

use scim_relay::demo::company::{self, Event, Shape};
use scim_relay::sandbox::Behaviour;

use crate::support::postgres::{Postgres, Stop, url_at};
use crate::support::postgres_proxy::{Moment, PostgresProxy, Wire};
use crate::support::proof::{assert_all_accounted_for, assert_equal};
use crate::support::relay::TargetSetup;
use crate::support::replicas::{Replicas, Setup};
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::sender::Sender;
use crate::support::{eventually, http_client};

const LIMIT: Duration = Duration::from_mins(2);
/// Nobody waits longer for an answer, whatever has become of the database.
const ANSWER_MAX: Duration = Duration::from_secs(10);

fn company_of(changes: usize) -> Vec<Event> {
    company::generate(Shape { users: 150, groups: 10, changes }, 3)
}

fn follower(sandbox: &Sandbox) -> [TargetSetup; 1] {
    [TargetSetup::new("acme", sandbox.base_url(), TOKEN)]
}

async fn answers(replicas: &Replicas, number: usize, path: &str) -> Option<u16> {
    let url = format!("{}{path}", replicas.url(number)?);
    Some(http_client().get(url).send().await.ok()?.status().as_u16())
}

/// Waits until every replica answers `/readyz` so.
async fn readiness(replicas: &Replicas, status: u16) {
    for number in 0..replicas.count() {
        let is_so = async || (answers(replicas, number, "/readyz").await? == status).then_some(());
        eventually(&format!("replica {number} answers {status} at /readyz"), LIMIT, is_so).await;
    }
}

/// Everything that was sent is at the vendor; senders were answered soon, and only as they expect.
async fn assert_nothing_was_lost(replicas: &Replicas, sender: &Sender, sandbox: &Sandbox, events: &[Event]) {
    replicas.quiet(0, LIMIT).await;
    assert_all_accounted_for(replicas, 0, sender, events).await;
    assert_equal(sandbox, events).await;
    let tally = sender.tally();
    println!("answers {:?}, the slowest after {:?}", tally.answers, tally.slowest);
    assert_eq!(tally.hung, 0, "{:?}", tally.answers);
    assert!(tally.slowest < ANSWER_MAX, "an answer took {:?}", tally.slowest);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_down_senders_are_told_to_come_again_and_afterwards_all_goes_on() {
    let mut postgres = Postgres::start().await;
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let replicas = Replicas::start(&postgres, 2, &follower(&sandbox)).await;
    let sender = Sender::to(&replicas);
    let events = company_of(2_500);
    let load = sender.begin(&events, 60);
    for how in [Stop::Fast, Stop::Crash] {
        sender.accepts(100).await;
        postgres.stop(how).await;
        sender.is_told("503", 20).await;
        readiness(&replicas, 503).await;
        for number in 0..replicas.count() {
            assert_eq!(answers(&replicas, number, "/healthz").await, Some(200), "it lives");
        }
        postgres.start_again().await;
        readiness(&replicas, 200).await;
        sender.accepts(20).await;
    }
    load.await.unwrap();
    assert_nothing_was_lost(&replicas, &sender, &sandbox, &events).await;
    assert!(
        !sender.tally().answers.contains_key("none"),
        "no connection was dropped: {:?}",
        sender.tally().answers
    );
}

/// `SCIM_RELAY_TEST_CUTS` asks for more.
fn cuts() -> usize {
    std::env::var("SCIM_RELAY_TEST_CUTS").ok().map_or(30, |cuts| cuts.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_in_the_middle_of_transactions_lose_nothing_and_do_nothing_twice() {
    let postgres = Postgres::start().await;
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let proxies =
        [PostgresProxy::start(postgres.address()).await, PostgresProxy::start(postgres.address()).await];
    let setups =
        proxies.iter().map(|proxy| Setup { store: url_at(&proxy.address()), ..Setup::on(&postgres) });
    let replicas = Replicas::start_each(setups.collect(), &follower(&sandbox)).await;
    let sender = Sender::to(&replicas);
    let cuts = cuts();
    let events = company_of(100 * cuts);
    let load = sender.begin(&events, 60);
    let moments = [Moment::AfterCommit, Moment::AfterStatement, Moment::BeforeCommit];
    for number in 0..cuts {
        sender.accepts(10).await;
        proxies[number % 2].cut(moments[number % 3]).await;
    }
    load.await.unwrap();
    assert_nothing_was_lost(&replicas, &sender, &sandbox, &events).await;
    let connections: Vec<u64> = proxies.iter().map(PostgresProxy::connections).collect();
    println!("{cuts} cuts, {connections:?} connections");
}

/// A network that swallows everything is the worst: nobody is told that the connection is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_network_to_postgresql_is_as_good_as_none() {
    let postgres = Postgres::start().await;
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let proxy = PostgresProxy::start(postgres.address()).await;
    let cut_off = Setup { store: url_at(&proxy.address()), ..Setup::on(&postgres) };
    let replicas = Replicas::start_each(vec![Setup::on(&postgres), cut_off], &follower(&sandbox)).await;
    let sender = Sender::to(&replicas);
    let events = company_of(2_500);
    let load = sender.begin(&events, 60);
    for wire in [Wire::Silent, Wire::Refusing] {
        sender.accepts(50).await;
        proxy.set(wire);
        sender.is_told("503", 5).await;
        replicas.all_held_among(&[0], &["acme"], LIMIT).await;
        proxy.set(Wire::Whole);
        readiness(&replicas, 200).await;
    }
    load.await.unwrap();
    assert_nothing_was_lost(&replicas, &sender, &sandbox, &events).await;
}
