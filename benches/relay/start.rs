//! How long the program takes to start when it must learn a million ids of known events anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use scim_relay::clock::{Clock, SystemClock};
use scim_relay::directory::Change;
use scim_relay::store::{Appended, EventReader, NewEvent};
use tokio::task::JoinSet;

use crate::home::{Home, Kind};
use crate::program::{Program, TargetSetup};
use crate::report::{Figure, Goal};

const REMEMBERED: usize = 1_000_000;
/// Fewer than the writer's queue holds, and enough for large commits.
const TASKS: usize = 1_024;
const STARTS: usize = 5;
const PROJECTED_AT_ONCE: usize = 20_000;

/// Fills a store, then starts the program on it again and again.
pub async fn run() -> Vec<Figure> {
    let home = Home::new(Kind::Sqlite).await;
    fill(&home).await;
    let target = TargetSetup {
        base_url: "http://127.0.0.1:9/scim/v2".to_owned(),
        rate_per_second: 1.0,
        burst: 1,
        bulk: true,
    };
    let mut seconds = Vec::new();
    for _ in 0..STARTS {
        let relay = Program::start(&home, &target).await;
        seconds.push(relay.started_in.as_secs_f64());
        assert_eq!(relay.status().await["inbox"]["unprojected"], 0);
        relay.stop().await;
    }
    let note = format!("{STARTS} starts, the file in the system's cache");
    vec![Figure::of_rounds("start with 1,000,000 ids remembered, s", &seconds, Goal::AtMost(1.0), note)]
}

async fn fill(home: &Home) {
    let store = home.open().await;
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (store, next) = (Arc::clone(&store), Arc::clone(&next));
        tasks.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < REMEMBERED {
                let appended = store.append(event()).await.expect("room in the queue");
                assert_eq!(appended, Appended::New);
            }
        });
    }
    tasks.join_all().await;
    while store.project(&NothingNew, PROJECTED_AT_ONCE).await.expect("the store works").more {}
    // Closing waits for the disk.
    tokio::task::spawn_blocking(move || drop(store)).await.expect("the store closes");
}

fn event() -> NewEvent {
    NewEvent {
        source: "hr".to_owned(),
        directory: "default".to_owned(),
        event_id: uuid::Uuid::new_v4().to_string(),
        received_at: SystemClock.now(),
        urgent: false,
        body: b"{\"changes\":[]}".to_vec(),
    }
}

/// Reads every event as one without changes: only the ids matter here.
struct NothingNew;

impl EventReader for NothingNew {
    fn read(&self, _: &str, _: &[u8]) -> Result<Vec<Change>, String> {
        Ok(Vec::new())
    }
}
