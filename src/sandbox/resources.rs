//! Create, read, replace, change and delete users and groups.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::sandbox::answer::{Answer, Refusal};
use crate::sandbox::body::{self, Sent};
use crate::sandbox::conditions::{self, Conditions};
use crate::sandbox::endpoint::Kind;
use crate::sandbox::member_patch::{self, MemberEdit};
use crate::sandbox::members::Staged;
use crate::sandbox::record::Record;
use crate::sandbox::selection::Selection;
use crate::sandbox::settings::{Behaviour, DeleteUser, PatchAnswer, Support};
use crate::sandbox::state::{State, tag};
use crate::scim::patch::{self, PatchOp, PatchRequest};

/// POST to a collection.
pub fn create(
    state: &mut State,
    behaviour: &Behaviour,
    kind: Kind,
    body: &Value,
    selection: &Selection,
) -> Result<Answer, Refusal> {
    if kind == Kind::Group {
        supported(behaviour.groups.create)?;
    }
    let Sent { attributes, mut members } = body::read(behaviour, kind, body)?;
    behaviour.quirks.check_new(kind, &attributes, members.len())?;
    if behaviour.quirks.drops_first_members() {
        members.clear();
    }
    let staged = stage_all(state, behaviour, members)?;
    let attributes = Value::Object(attributes);
    state.check_unique(behaviour, kind, &attributes, None)?;
    let id = state.insert(behaviour, kind, into_map(attributes));
    state.memberships.commit(&id, staged);
    Ok(Answer {
        status: 201,
        location: Some(state.location(behaviour, kind, &id)),
        applied: true,
        ..whole(state, behaviour, find(state, kind, &id)?, selection)
    })
}

/// GET of one resource.
pub fn read(
    state: &State,
    behaviour: &Behaviour,
    kind: Kind,
    id: &str,
    conditions: &Conditions,
    selection: &Selection,
) -> Result<Answer, Refusal> {
    let record = find(state, kind, id)?;
    if conditions.unchanged(behaviour, record.version) {
        return Ok(Answer { etag: etag(behaviour, record), ..Answer::empty(304) });
    }
    Ok(whole(state, behaviour, record, selection))
}

/// PUT: what is not sent is gone.
pub fn replace(
    state: &mut State,
    behaviour: &Behaviour,
    kind: Kind,
    id: &str,
    conditions: &Conditions,
    body: &Value,
    selection: &Selection,
) -> Result<Answer, Refusal> {
    conditions::check_write(behaviour, conditions, find(state, kind, id)?.version)?;
    let Sent { attributes, members } = body::read(behaviour, kind, body)?;
    behaviour.quirks.check_changed(kind, &find(state, kind, id)?.value, &attributes)?;
    let ends = behaviour.quirks.ends_the_account(kind, &attributes);
    let staged = stage_all(state, behaviour, members)?;
    let attributes = Value::Object(attributes);
    state.check_unique(behaviour, kind, &attributes, Some(id))?;
    state.update(kind, id, into_map(attributes));
    if kind == Kind::Group {
        state.commit_members(id, staged);
    }
    let answer = Answer { applied: true, ..whole(state, behaviour, find(state, kind, id)?, selection) };
    if ends {
        state.remove(kind, id);
    }
    Ok(answer)
}

/// PATCH: all operations or none.
pub fn change(
    state: &mut State,
    behaviour: &Behaviour,
    kind: Kind,
    id: &str,
    conditions: &Conditions,
    body: &Value,
    selection: &Selection,
) -> Result<Answer, Refusal> {
    let record = find(state, kind, id)?;
    conditions::check_write(behaviour, conditions, record.version)?;
    let request = behaviour.quirks.read_patch(kind, body)?;
    Refusal::over(behaviour.patch_operations_max, request.operations.len(), "operations")?;
    let mut attributes = record.value.clone();
    let mut staged = Staged::default();
    match kind {
        Kind::User => {
            patch::apply(&mut attributes, &request, kind.rules())?;
        }
        Kind::Group => change_group(state, behaviour, id, &request, &mut attributes, &mut staged)?,
    }
    let attributes = own_attributes(attributes);
    body::check_required(kind, &attributes)?;
    behaviour.quirks.check_changed(kind, &record.value, &attributes)?;
    let ends = behaviour.quirks.ends_the_account(kind, &attributes);
    let attributes = Value::Object(attributes);
    state.check_unique(behaviour, kind, &attributes, Some(id))?;
    state.update(kind, id, into_map(attributes));
    state.commit_members(id, staged);
    let record = find(state, kind, id)?;
    let answer = if behaviour.patch_answer == PatchAnswer::NoContent && !selection.names_any() {
        Answer { etag: etag(behaviour, record), applied: true, ..Answer::empty(204) }
    } else {
        Answer { applied: true, ..whole(state, behaviour, record, selection) }
    };
    if ends {
        state.remove(kind, id);
    }
    Ok(answer)
}

/// DELETE.
pub fn delete(
    state: &mut State,
    behaviour: &Behaviour,
    kind: Kind,
    id: &str,
    conditions: &Conditions,
) -> Result<Answer, Refusal> {
    let deactivate = match kind {
        Kind::Group => {
            supported(behaviour.groups.delete)?;
            false
        }
        Kind::User => match behaviour.users.delete {
            DeleteUser::Remove => false,
            DeleteUser::Deactivate => true,
            DeleteUser::Refused => return Err(Refusal::method_not_allowed()),
        },
    };
    let record = find(state, kind, id)?;
    conditions::check_write(behaviour, conditions, record.version)?;
    if deactivate {
        let mut attributes = own_attributes(record.value.clone());
        attributes.insert("active".to_owned(), false.into());
        state.update(kind, id, attributes);
    } else {
        state.remove(kind, id);
    }
    Ok(Answer { applied: true, ..Answer::empty(204) })
}

fn change_group(
    state: &State,
    behaviour: &Behaviour,
    group: &str,
    request: &PatchRequest,
    attributes: &mut Value,
    staged: &mut Staged,
) -> Result<(), Refusal> {
    let mut parts = Vec::with_capacity(request.operations.len());
    for operation in &request.operations {
        parts.push(member_patch::split(behaviour, operation)?);
    }
    let edits = || parts.iter().filter_map(|part| part.1.as_ref());
    Refusal::over(behaviour.groups.members_max, edits().map(MemberEdit::count).sum(), "members")?;
    for (rest, edit) in parts {
        if let Some(operation) = rest {
            apply_one(attributes, operation)?;
        }
        if let Some(edit) = edit {
            member_patch::stage(state, behaviour, group, edit, staged)?;
        }
    }
    Ok(())
}

fn apply_one(attributes: &mut Value, operation: PatchOp) -> Result<(), Refusal> {
    let request = PatchRequest { operations: vec![operation] };
    patch::apply(attributes, &request, Kind::Group.rules())?;
    Ok(())
}

/// Stages a group that has exactly these members.
fn stage_all(
    state: &State,
    behaviour: &Behaviour,
    members: BTreeMap<String, Kind>,
) -> Result<Staged, Refusal> {
    let mut staged = Staged::default();
    staged.empty();
    for (id, claimed) in members {
        let kind = member_patch::admit(state, behaviour, &id, claimed)?;
        staged.add(id, kind);
    }
    Ok(staged)
}

fn find<'a>(state: &'a State, kind: Kind, id: &str) -> Result<&'a Record, Refusal> {
    state.table(kind).get(id).ok_or_else(Refusal::not_found)
}

fn whole(state: &State, behaviour: &Behaviour, record: &Record, selection: &Selection) -> Answer {
    Answer {
        etag: etag(behaviour, record),
        location: record.value["meta"]["location"].as_str().map(str::to_owned),
        ..Answer::ok(state.render(behaviour, record, selection))
    }
}

fn etag(behaviour: &Behaviour, record: &Record) -> Option<String> {
    behaviour.etag.header.then(|| tag(behaviour, record.version))
}

fn supported(support: Support) -> Result<(), Refusal> {
    match support {
        Support::Yes => Ok(()),
        Support::MethodNotAllowed => Err(Refusal::method_not_allowed()),
        Support::NotImplemented => Err(Refusal::new(501, "the vendor has no such operation")),
    }
}

/// Without what the service sets itself.
fn own_attributes(resource: Value) -> Map<String, Value> {
    let mut attributes = into_map(resource);
    for name in ["schemas", "id", "meta"] {
        attributes.remove(name);
    }
    attributes
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}
