//! Someone at the vendor's console: edits a resource right before a client's write reaches it.

use serde_json::{Map, Value};

use crate::sandbox::endpoint::{Endpoint, Kind};
use crate::sandbox::members::Staged;
use crate::sandbox::settings::Behaviour;
use crate::sandbox::state::State;

/// The start of the `userName` of everyone whom the console adds to a group.
pub const CONSOLE_USER: &str = "console-";

/// Edits what a write is addressed to: of a user the `nickName`, to a group it adds a member of its
/// own. Either moves the version. Nothing happens when there is no such resource.
pub fn behind_the_back(state: &mut State, behaviour: &Behaviour, endpoint: &Endpoint) {
    match endpoint {
        Endpoint::Resource(Kind::User, id) => edit_user(state, id),
        Endpoint::Resource(Kind::Group, id) => edit_group(state, behaviour, id),
        Endpoint::Root
        | Endpoint::Collection(_)
        | Endpoint::Members(_)
        | Endpoint::Search(_)
        | Endpoint::ServiceProviderConfig
        | Endpoint::ResourceTypes(_)
        | Endpoint::Schemas(_)
        | Endpoint::Bulk
        | Endpoint::Token
        | Endpoint::Unknown => {}
    }
}

fn edit_user(state: &mut State, id: &str) {
    let Some(record) = state.table(Kind::User).get(id) else { return };
    let nick_name = format!("edited in version {}", record.version);
    let Value::Object(mut attributes) = record.value.clone() else { return };
    attributes.insert("nickName".to_owned(), nick_name.into());
    state.update(Kind::User, id, attributes);
}

fn edit_group(state: &mut State, behaviour: &Behaviour, id: &str) {
    if state.table(Kind::Group).get(id).is_none() {
        return;
    }
    let mut number = 1;
    let mut member = console_user(state, behaviour, number);
    while state.memberships.contains(id, &member) {
        number += 1;
        member = console_user(state, behaviour, number);
    }
    let mut staged = Staged::default();
    staged.add(member, Kind::User);
    state.commit_members(id, staged);
}

fn console_user(state: &mut State, behaviour: &Behaviour, number: u64) -> String {
    let name = format!("{CONSOLE_USER}{number}");
    if let Some(id) = state.table(Kind::User).named(&name).next() {
        return id.to_owned();
    }
    state.insert(behaviour, Kind::User, Map::from_iter([("userName".to_owned(), name.into())]))
}
