//! Kill -9 at random moments: every 202 is accounted for, the target converges, nobody exists twice.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::fault_proxy::{FaultProxy, Faults};
use crate::support::http_client;
use crate::support::relay::{Home, TargetSetup};
use crate::support::scim_server::ScimServer;
use scim_relay::demo::company::{self, Shape};
use scim_relay::demo::proof::Holdings;

/// How often the relay is killed; `SCIM_RELAY_TEST_KILLS` asks for more.
fn kills() -> usize {
    std::env::var("SCIM_RELAY_TEST_KILLS").ok().map_or(20, |kills| kills.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_killed_again_and_again_loses_nothing_and_makes_nobody_twice() {
    let kills = kills();
    let seed = 11;
    println!("{kills} kills, seed {seed}");
    let server = ScimServer::start().await;
    let faults = Faults { before: 0.01, after: 0.02, lost: 0.02, ..Faults::default() };
    let proxy = FaultProxy::start(server.origin.clone(), faults, seed).await;
    let home =
        Home::new(&[TargetSetup::new("strict", format!("http://{}/v2", proxy.addr), ScimServer::TOKEN)]);
    let mut chance = StdRng::seed_from_u64(seed);

    let events =
        company::generate(Shape { users: 20 * kills.min(50), groups: 10, changes: 80 * kills }, seed);
    let mut accepted = Vec::new();
    let mut pending = events.iter().peekable();
    for _ in 0..kills {
        let relay = home.start().await;
        let life = Duration::from_millis(chance.random_range(20..400));
        let death = tokio::time::sleep(life);
        tokio::pin!(death);
        loop {
            let Some(event) = pending.peek() else {
                (&mut death).await;
                break;
            };
            let body = event.body();
            tokio::select! {
                () = &mut death => break,
                answer = relay.post(&event.id, &body) => {
                    // No answer: the sender sends it again, to the next life.
                    if answer.is_ok_and(|answer| answer.status() == 202 || answer.status() == 200) {
                        accepted.push(event.id.clone());
                        pending.next();
                    }
                }
            }
        }
        relay.kill().await;
    }
    let relay = home.start().await;
    for event in pending {
        relay.accept(&event.id, &event.body()).await;
        accepted.push(event.id.clone());
    }
    let status = relay.quiet("strict", Duration::from_mins(5)).await;
    assert_eq!(status["targets"]["strict"]["parked"], 0, "{}", relay.admin("/targets/strict/parked").await);

    for id in &accepted {
        let event = relay.admin(&format!("/events/{id}")).await;
        assert_eq!(event["state"], "projected", "{event}");
    }
    let holdings = Holdings::read(&http_client(), &server.base_url(), ScimServer::TOKEN).await.unwrap();
    assert_eq!(holdings.differences(&company::directory(&events)), Vec::<String>::new());
    println!("{} events accepted over {kills} lives, {} calls", accepted.len(), proxy.calls());
}
