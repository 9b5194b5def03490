use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::sandbox::conditions::Conditions;
use crate::sandbox::endpoint::Kind;
use crate::sandbox::members::Staged;
use crate::sandbox::resources;
use crate::sandbox::selection::Selection;
use crate::sandbox::state::State;

/// Fast even without optimisation where each change costs what it changes; hours where it costs the
/// whole group.
#[test]
fn a_change_to_a_large_group_costs_what_it_changes() {
    const MEMBERS: usize = 100_000;
    let behaviour = Behaviour::default();
    let mut state = State::new(1, "http://vendor".to_owned());
    let mut staged = Staged::default();
    let named = |name: String| serde_json::Map::from_iter([("userName".to_owned(), Value::from(name))]);
    let ids: Vec<String> =
        (0..MEMBERS).map(|n| state.insert(&behaviour, Kind::User, named(format!("u{n}")))).collect();
    for id in &ids {
        staged.add(id.clone(), Kind::User);
    }
    let attributes = serde_json::Map::from_iter([("displayName".to_owned(), Value::from("all"))]);
    let group = state.insert(&behaviour, Kind::Group, attributes);
    state.commit_members(&group, staged);

    let without_members = Selection::new([], ["members"]).unwrap();
    let begun = Instant::now();
    for id in ids.iter().take(2_000) {
        let path = format!("members[value eq \"{id}\"]");
        let body = json!({"schemas": [schema::PATCH_OP], "Operations": [{"op": "remove", "path": path}]});
        let conditions = Conditions::default();
        let answer = resources::change(
            &mut state,
            &behaviour,
            Kind::Group,
            &group,
            &conditions,
            &body,
            &without_members,
        );
        assert!(answer.unwrap().applied);
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(state.memberships.of_group(&group).count(), MEMBERS - 2_000);
}
