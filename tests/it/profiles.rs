//! The main job at every vendor that the relay knows: the sandbox plays the profile, the relay follows
//! it, and what the vendor can hold is equal to the directory at the end. A new profile is tested as
//! soon as its file is there.

use std::time::Duration;

use scim_relay::demo::company::{self, Event, Shape};
use scim_relay::demo::proof::Holdings;
use scim_relay::directory::Snapshot;
use scim_relay::sandbox::settings::Auth;
use scim_relay::sandbox::{Behaviour, Settings};
use scim_relay::target::Profile;
use scim_relay::target::profile::DeleteMode;
use serde_json::{Map, Value};

use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(4);
const SHAPE: Shape = Shape { users: 40, groups: 6, changes: 350 };
/// Calls that are refused, answers that are lost, resources that somebody else edits.
const FAULTS: [&str; 4] = ["503:every=40", "429:every=60", "lost:0.02", "edit:every=15"];

struct Vendor {
    profile: Profile,
    sandbox: Sandbox,
}

impl Vendor {
    async fn start(profile: Profile) -> Self {
        // How fast a vendor is has tests of its own; here it is as fast as the machine.
        let auth = Auth::Bearer(vec![TOKEN.into()]);
        let behaviour = Behaviour { auth, rate: None, ..Behaviour::from(&profile) };
        let by_hand = !profile.groups.create && profile.groups.supported;
        let groups =
            if by_hand { (0..SHAPE.groups).map(|n| format!("Team {n}")).collect() } else { Vec::new() };
        let settings = Settings { behaviour, groups, seed: 3, ..Settings::default() };
        Self { sandbox: Sandbox::start_with(settings, &FAULTS).await, profile }
    }

    fn setup(&self) -> TargetSetup {
        let delete = match self.profile.delete.mode {
            DeleteMode::Hard | DeleteMode::Deactivate | DeleteMode::Irreversible => "delete",
            DeleteMode::Unsupported => "deactivate",
        };
        let lines = format!(
            "limits = {{ rate_per_second = 2000, burst = 50, concurrency = 4 }}\nmax_attempts = 50\n\
             on_delete = \"{delete}\"\nallow_irreversible = true\nallow_simulation = true\n"
        );
        let name = &self.profile.name;
        TargetSetup::new(name, self.sandbox.base_url(), TOKEN).with_profile(name).with(&lines)
    }

    /// What differs from the directory in what this vendor can hold.
    async fn differences(&self, directory: &Snapshot) -> Vec<String> {
        let state = self.sandbox.look("state").await;
        let all = |what: &str| -> Vec<Map<String, Value>> {
            let resources = state[what].as_array().expect("a list").iter();
            resources.map(|resource| resource.as_object().expect("an object").clone()).collect()
        };
        let mut holdings = Holdings { users: all("users"), groups: all("groups") };
        if !self.profile.groups.supported {
            assert!(holdings.groups.is_empty());
        }
        let nameless = !self.profile.groups.writable_attributes.is_empty()
            && !self.profile.groups.writable_attributes.iter().any(|name| name == "externalId");
        if nameless {
            name_groups(&mut holdings.groups, directory);
        }
        let found = holdings.differences(directory);
        found
            .into_iter()
            .filter(|found| self.profile.groups.supported || !found.starts_with("group "))
            .collect()
    }
}

/// Gives groups that cannot hold an external id theirs, by their names.
fn name_groups(groups: &mut [Map<String, Value>], directory: &Snapshot) {
    for group in groups {
        let named = directory.groups().find(|(_, wanted)| {
            wanted
                .attributes
                .iter()
                .any(|(path, name)| path.as_str() == "displayName" && group.get("displayName") == Some(name))
        });
        if let Some((id, _)) = named {
            group.insert("externalId".to_owned(), id.as_str().into());
        }
    }
}

async fn deliver(relay: &Relay, events: &[Event]) {
    use futures_util::StreamExt as _;
    futures_util::stream::iter(events)
        .for_each_concurrent(8, |event| async move { relay.accept(&event.id, &event.body()).await })
        .await;
}

/// Users, groups, bursts, renames, leavers and people who come back, through refusals, lost answers and
/// the edits of others.
#[tokio::test(flavor = "multi_thread")]
async fn every_vendor_that_the_relay_knows_ends_equal_to_the_directory() {
    let profiles: Vec<Profile> =
        Profile::names().map(|name| Profile::builtin(name).expect("known")).collect();
    let mut vendors = Vec::new();
    for profile in profiles {
        vendors.push(Vendor::start(profile).await);
    }
    let setups: Vec<TargetSetup> = vendors.iter().map(Vendor::setup).collect();
    let home = Home::new(&setups);
    let relay = home.start().await;

    let events = company::generate(SHAPE, 11);
    // Where groups are made by hand they are found by their first names, and renamed afterwards.
    let made: Vec<Event> = (0..SHAPE.groups).filter_map(|n| first_of(&events, n)).collect();
    deliver(&relay, &made).await;
    for vendor in &vendors {
        relay.quiet(&vendor.profile.name, LIMIT).await;
    }
    deliver(&relay, &events).await;

    let directory = company::directory(&events);
    let mut wrong = Vec::new();
    for vendor in &vendors {
        let name = &vendor.profile.name;
        let status = relay.quiet(name, LIMIT).await;
        let counts = &status["targets"][name];
        if counts["parked"] != 0 {
            wrong.push(format!("{name}: parked {}", relay.admin(&format!("/targets/{name}/parked")).await));
        }
        for found in vendor.differences(&directory).await {
            wrong.push(format!("{name}: {found}"));
        }
        let calls = vendor.sandbox.total().await;
        println!("{name}: {calls} calls for {} events", events.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(relay.terminate().await, Some(0));
}

fn first_of(events: &[Event], group: usize) -> Option<Event> {
    let name = format!("Team {group}");
    events.iter().find(|event| event.changes[0]["attributes"]["displayName"] == name.as_str()).cloned()
}
