//! The line behind the HTTP server: events in the store, a sandbox vendor at the other end.

use std::sync::Arc;
use std::time::Duration;

use scim_relay::app::Engine;
use scim_relay::clock::SystemClock;
use scim_relay::config::{Config, Environment};
use scim_relay::demo::company::{self, Event, Shape};
use scim_relay::demo::proof::Holdings;
use scim_relay::sandbox::Behaviour;
use scim_relay::store::{Appended, NewEvent};
use scim_relay::telemetry::metrics::Metrics;

use crate::support::relay::{Home, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::{eventually, http_client};

async fn engine(home: &Home) -> Engine {
    let (config, _) = Config::load(&home.config(), &Environment::default()).unwrap();
    Engine::start(&config, Arc::new(SystemClock), Metrics::new()).await.unwrap()
}

async fn accept(engine: &Engine, event: &Event) -> Appended {
    let appended = engine
        .store
        .append(NewEvent {
            source: "hr".into(),
            directory: "default".into(),
            event_id: event.id.clone(),
            received_at: engine.clock.now(),
            urgent: false,
            body: event.body().into_bytes(),
        })
        .await
        .unwrap();
    engine.accepted.notify_one();
    appended
}

async fn quiet(engine: &Engine, target: &str) {
    eventually("the backlog is empty", Duration::from_mins(2), async || {
        let status = engine.store.status().await.unwrap();
        let counts = &status.targets[target];
        let pending: u64 = counts.pending.iter().map(|lane| lane.rows).sum();
        (status.unprojected == 0 && pending == 0 && engine.targets[target].in_flight() == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companys_changes_reach_a_vendor_through_every_kind_of_fault() {
    let faults = ["503:0.03", "500-after:0.03", "lost:0.03", "edit:every=15", "429:every=97"];
    let sandbox = Sandbox::start(Behaviour::default(), &faults).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let engine = engine(&home).await;
    let events = company::generate(Shape { users: 100, groups: 8, changes: 600 }, 3);
    for event in &events {
        accept(&engine, event).await;
    }
    quiet(&engine, "acme").await;
    let parked = engine.store.parked("acme", None, 10).await.unwrap();
    assert_eq!(parked.items, []);
    // The proof is about what the vendor holds, not about reading through faults.
    sandbox.set_faults(&[]).await;
    let holdings = Holdings::read(&http_client(), sandbox.base_url(), TOKEN).await.unwrap();
    let differences: Vec<String> = holdings.differences(&company::directory(&events)).into_iter().collect();
    assert_eq!(differences, Vec::<String>::new());
    engine.stop().await;
}
