//! The disk is full: the relay lives, tells senders to come again, and goes on as soon as there is room.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use scim_relay::sandbox::Behaviour;

use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::{eventually, http_client};

const LIMIT: Duration = Duration::from_mins(1);
/// Mounts a small file system that the relay alone sees, then becomes the relay.
const ON_A_SMALL_DISK: [&str; 7] = [
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs -o size=3m tmpfs \"$0\" && exec \"$@\"",
];

/// A file that leaves no room, as somebody else's log would.
struct Filler(PathBuf);

impl Filler {
    /// Takes all that is left of the disk that a process sees at `disk`.
    fn take_all(pid: u32, disk: &Path) -> Self {
        let seen = Path::new("/proc").join(pid.to_string()).join("root");
        let path = seen.join(disk.strip_prefix("/").expect("absolute")).join("filler");
        let mut filler = std::fs::File::create(&path).expect("the relay's disk");
        let full = loop {
            if let Err(error) = std::io::Write::write_all(&mut filler, &[0; 4_096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
        Self(path)
    }

    fn go(self) {
        std::fs::remove_file(self.0).expect("made above");
    }
}

fn hire(number: usize) -> String {
    let attributes = json!({
        "userName": format!("u{number}@example.com"), "active": true, "title": "t".repeat(2_000)
    });
    json!({"changes": [{"op": "user.upsert", "id": format!("u{number}"), "attributes": attributes}]})
        .to_string()
}

async fn answers(relay: &Relay, path: &str, status: u16) {
    let url = format!("{}{path}", relay.url);
    let is_so = async || (http_client().get(&url).send().await.unwrap().status() == status).then_some(());
    eventually(&format!("{path} answers {status}"), LIMIT, is_so).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_senders_are_told_to_come_again_and_nothing_accepted_is_lost() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let disk = tempfile::tempdir().unwrap();
    let store = format!("sqlite://{}", disk.path().join("relay.db").display());
    let home = Home::on(&store, &[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let before: Vec<&str> = ON_A_SMALL_DISK.into_iter().chain(disk.path().to_str()).collect();
    let relay = home.start_by(&before).await;

    let mut accepted = Vec::new();
    for round in 0..3 {
        let filler = Filler::take_all(relay.pid(), disk.path());
        let mut refused = None;
        for number in (round * 1_000)..(round * 1_000 + 1_000) {
            let answer = relay.post(&format!("evt-{number}"), &hire(number)).await.unwrap();
            match answer.status().as_u16() {
                202 => accepted.push(number),
                503 => {
                    assert!(answer.headers().contains_key("retry-after"));
                    refused = Some(number);
                    break;
                }
                other => panic!("evt-{number} was answered {other}"),
            }
        }
        let refused = refused.expect("2 MB do not fit");
        answers(&relay, "/readyz", 503).await;
        answers(&relay, "/healthz", 200).await;
        filler.go();
        answers(&relay, "/readyz", 200).await;
        relay.accept(&format!("evt-{refused}"), &hire(refused)).await;
        accepted.push(refused);
    }
    relay.quiet("acme", LIMIT).await;
    let mut expected: Vec<String> = accepted.iter().map(|number| format!("u{number}")).collect();
    let id = |user: Value| user["externalId"].as_str().expect("the relay sends one").to_owned();
    let mut held: Vec<String> = sandbox.users().await.into_iter().map(id).collect();
    expected.sort();
    held.sort();
    assert_eq!(held, expected);
    println!("{} events were accepted around a full disk", accepted.len());
    assert_eq!(relay.terminate().await, Some(0));
}
