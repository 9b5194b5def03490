//! PATCH of a group's members, without building the whole group: a group may have 100,000 of them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::sandbox::answer::Refusal;
use crate::sandbox::body::read_members;
use crate::sandbox::endpoint::Kind;
use crate::sandbox::members::Staged;
use crate::sandbox::settings::{AbsentMember, Behaviour, RemoveWithValue, UnknownMember};
use crate::sandbox::state::State;
use crate::scim::error::ScimType;
use crate::scim::filter::{self, Comparison, Filter};
use crate::scim::patch::{Op, PatchError, PatchOp};
use crate::scim::path::PatchPath;
use crate::scim::schema;

/// What one operation does to the members.
#[derive(Debug, PartialEq)]
pub enum MemberEdit {
    /// These come in.
    Add(BTreeMap<String, Kind>),
    /// These are the members now.
    Replace(BTreeMap<String, Kind>),
    /// Nobody is.
    RemoveAll,
    /// These go.
    Remove(Vec<String>),
    /// Those whom the filter picks go.
    RemovePicked(Filter),
}

impl MemberEdit {
    /// How many members it is about, for the vendor's cap.
    pub fn count(&self) -> usize {
        match self {
            Self::Add(members) | Self::Replace(members) => members.len(),
            Self::Remove(ids) => ids.len(),
            Self::RemoveAll | Self::RemovePicked(_) => 1,
        }
    }
}

/// Splits an operation into what is about the other attributes and what is about members.
pub fn split(
    behaviour: &Behaviour,
    operation: &PatchOp,
) -> Result<(Option<PatchOp>, Option<MemberEdit>), Refusal> {
    let Some(text) = &operation.path else {
        return split_pathless(behaviour, operation);
    };
    match PatchPath::parse(text).filter(names_members) {
        Some(path) => read_edit(behaviour, operation, text, path).map(|edit| (None, Some(edit))),
        None => Ok((Some(operation.clone()), None)),
    }
}

/// Stages an edit, by the vendor's rules for members that are unknown, absent or refused.
pub fn stage(
    state: &State,
    behaviour: &Behaviour,
    group: &str,
    edit: MemberEdit,
    staged: &mut Staged,
) -> Result<(), Refusal> {
    match edit {
        MemberEdit::Add(members) => add(state, behaviour, members, staged),
        MemberEdit::Replace(members) => {
            staged.empty();
            add(state, behaviour, members, staged)
        }
        MemberEdit::RemoveAll => {
            staged.empty();
            Ok(())
        }
        MemberEdit::Remove(ids) => {
            for id in ids {
                if !staged.contains(group, &id, &state.memberships) {
                    absent(behaviour.groups.absent_member)?;
                }
                refuse_poison(state, behaviour, &id)?;
                staged.remove(id);
            }
            Ok(())
        }
        MemberEdit::RemovePicked(filter) => {
            let members = staged.members(group, &state.memberships);
            let picked: Vec<String> = members
                .into_iter()
                .filter(|(id, kind)| filter::matches(&filter, &state.render_member(behaviour, id, *kind)))
                .map(|(id, _)| id)
                .collect();
            if picked.is_empty() {
                absent(behaviour.groups.absent_member)?;
            }
            for id in picked {
                staged.remove(id);
            }
            Ok(())
        }
    }
}

/// Whether the vendor takes someone as a member, and as what.
pub fn admit(state: &State, behaviour: &Behaviour, id: &str, claimed: Kind) -> Result<Kind, Refusal> {
    refuse_poison(state, behaviour, id)?;
    match (state.kind_of(id), behaviour.groups.unknown_member) {
        (Some(kind), _) => Ok(kind),
        (None, UnknownMember::Accepted) => Ok(claimed),
        (None, UnknownMember::InvalidValue) => Err(refused()),
        (None, UnknownMember::NotFound) => Err(Refusal::not_found()),
    }
}

fn add(
    state: &State,
    behaviour: &Behaviour,
    members: BTreeMap<String, Kind>,
    staged: &mut Staged,
) -> Result<(), Refusal> {
    for (id, claimed) in members {
        let kind = admit(state, behaviour, &id, claimed)?;
        staged.add(id, kind);
    }
    Ok(())
}

fn refuse_poison(state: &State, behaviour: &Behaviour, id: &str) -> Result<(), Refusal> {
    let poison = &behaviour.groups.poison_members;
    if poison.is_empty() {
        return Ok(());
    }
    let record = state.kind_of(id).and_then(|kind| state.table(kind).get(id));
    let names =
        record.map(|record| [Some(record.name()), record.external_id()]).into_iter().flatten().flatten();
    if names.chain([id]).any(|name| poison.contains(name)) { Err(refused()) } else { Ok(()) }
}

/// Says that a member is refused and not which one: that is how vendors do it.
fn refused() -> Refusal {
    Refusal::bad(ScimType::InvalidValue, "a member could not be resolved")
}

fn absent(rule: AbsentMember) -> Result<(), Refusal> {
    match rule {
        AbsentMember::Accepted => Ok(()),
        AbsentMember::NoTarget => Err(Refusal::bad(ScimType::NoTarget, "no such member")),
        AbsentMember::NotFound => Err(Refusal::not_found()),
        AbsentMember::Unprocessable => Err(Refusal::new(422, "no such member")),
    }
}

fn split_pathless(
    behaviour: &Behaviour,
    operation: &PatchOp,
) -> Result<(Option<PatchOp>, Option<MemberEdit>), Refusal> {
    let Some(Value::Object(attributes)) = &operation.value else {
        return Ok((Some(operation.clone()), None));
    };
    let Some(key) =
        attributes.keys().find(|key| PatchPath::parse(key).is_some_and(|path| names_members(&path)))
    else {
        return Ok((Some(operation.clone()), None));
    };
    let members =
        PatchOp { value: attributes.get(key).cloned(), path: Some(key.clone()), ..operation.clone() };
    let mut others = attributes.clone();
    others.remove(key);
    let rest = PatchOp { value: Some(Value::Object(others)), ..operation.clone() };
    let path = PatchPath::parse(key).ok_or_else(|| PatchError::InvalidPath(key.clone()))?;
    Ok((Some(rest), Some(read_edit(behaviour, &members, key, path)?)))
}

fn names_members(path: &PatchPath) -> bool {
    let core = path.attribute.urn.as_deref().is_none_or(|urn| urn.eq_ignore_ascii_case(schema::GROUP));
    core && path.attribute.name.eq_ignore_ascii_case("members")
}

fn read_edit(
    behaviour: &Behaviour,
    operation: &PatchOp,
    text: &str,
    path: PatchPath,
) -> Result<MemberEdit, Refusal> {
    if path.attribute.sub.is_some() {
        return Err(PatchError::Mutability(text.to_owned()).into());
    }
    match (operation.op, path.filter, &operation.value) {
        (Op::Add, None, Some(value)) => Ok(MemberEdit::Add(read_members(value)?)),
        (Op::Replace, None, Some(Value::Null)) => replaced(behaviour, BTreeMap::new()),
        (Op::Replace, None, Some(value)) => replaced(behaviour, read_members(value)?),
        (Op::Add | Op::Replace, Some(_), Some(_)) => Err(PatchError::Mutability(text.to_owned()).into()),
        (Op::Add | Op::Replace, _, None) => {
            Err(Refusal::bad(ScimType::InvalidValue, "the operation needs a value"))
        }
        (Op::Remove, None, None) => Ok(MemberEdit::RemoveAll),
        (Op::Remove, Some(filter), None) => {
            Ok(named_ids(&filter).map_or(MemberEdit::RemovePicked(filter), MemberEdit::Remove))
        }
        (Op::Remove, _, Some(value)) => match behaviour.groups.remove_with_value {
            RemoveWithValue::Refused => {
                Err(Refusal::bad(ScimType::InvalidValue, "a remove operation takes no value"))
            }
            RemoveWithValue::RemovesThose => {
                Ok(MemberEdit::Remove(read_members(value)?.into_keys().collect()))
            }
            RemoveWithValue::EmptiesGroup => Ok(MemberEdit::RemoveAll),
        },
    }
}

fn replaced(behaviour: &Behaviour, members: BTreeMap<String, Kind>) -> Result<MemberEdit, Refusal> {
    if behaviour.groups.members_replace {
        Ok(MemberEdit::Replace(members))
    } else {
        Err(Refusal::bad(ScimType::InvalidValue, "members cannot be replaced"))
    }
}

/// The ids of `value eq "a" or value eq "b" …`, which need no look at the members.
fn named_ids(filter: &Filter) -> Option<Vec<String>> {
    match filter {
        Filter::Compare(path, Comparison::Equal, Value::String(id))
            if path.urn.is_none() && path.sub.is_none() && path.name.eq_ignore_ascii_case("value") =>
        {
            Some(vec![id.clone()])
        }
        Filter::Or(sides) => {
            let ids: Option<Vec<Vec<String>>> = sides.iter().map(named_ids).collect();
            Some(ids?.concat())
        }
        Filter::Compare(..) | Filter::And(_) | Filter::Not(_) | Filter::Present(_) | Filter::Values(..) => {
            None
        }
    }
}
