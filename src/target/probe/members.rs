//! What a vendor does with members: how they are added, removed and read, and how many at once.

use super::ProbeError;
use super::groups::Group;
use super::session::{Session, said};
use crate::scim::resource;
use crate::target::call::Answer;
use crate::target::profile::{AddForm, RemoveForm};
use crate::target::requests::{self, Kind, MemberRef};

/// The most members that are tried in one PATCH.
const MEMBERS_MAX: usize = 1_024;

/// Asks all there is to ask; the group ends with or without members.
pub(super) async fn ask(session: &mut Session, group: &Group, users: [&str; 2]) -> Result<(), ProbeError> {
    if !adds(session, group, users).await? {
        return Ok(());
    }
    let Some(present) = members(session, group).await? else {
        session.findings.found("members are read", "nowhere", vec![("members.read", "none".into())]);
        return most_at_once(session, group, users).await;
    };
    let whole = users.iter().all(|user| present.iter().any(|id| id == user));
    session.findings.found(
        "members are read",
        if whole { "in the group" } else { "in the group, not all of them" },
        vec![("members.read", "get".into())],
    );
    in_lists(session, group).await?;
    if whole {
        removes(session, group, users).await?;
    }
    most_at_once(session, group, users).await
}

/// Adds both users; whether that worked.
async fn adds(session: &mut Session, group: &Group, users: [&str; 2]) -> Result<bool, ProbeError> {
    let question = "members are added by";
    for (form, name, text) in [
        (AddForm::Array, "array", "one operation for all"),
        (AddForm::OnePerOperation, "one_per_operation", "an operation for each"),
    ] {
        session.profile.members.add_form = form;
        if add(session, group, &users).await?.status.is_success() {
            session.findings.found(question, text, vec![("members.add_form", name.into())]);
            return Ok(true);
        }
    }
    session.findings.know(question, "neither one operation for all nor one for each");
    Ok(false)
}

/// Tries each form of removal on one of two members, and looks who is left.
async fn removes(session: &mut Session, group: &Group, [one, two]: [&str; 2]) -> Result<(), ProbeError> {
    let mut works: Option<(RemoveForm, &'static str)> = None;
    for (form, name, question) in [
        (RemoveForm::PathFilter, "path_filter", "remove at members[value eq …]"),
        (RemoveForm::PathFilterOr, "path_filter_or", "remove at members[… or …]"),
        (RemoveForm::ValueArray, "value_array", "remove at members with a value"),
    ] {
        session.profile.members.remove_form = form;
        // A filter without an `or` would try nothing new.
        let gone: &[&str] = if form == RemoveForm::PathFilterOr { &[one, two] } else { &[two] };
        let answer = remove(session, group, gone).await?;
        let left = members(session, group).await?.unwrap_or_default();
        let wanted = if gone.len() == 2 { Vec::new() } else { vec![one.to_owned()] };
        let text = if !answer.status.is_success() {
            format!("is refused: {}", said(&answer))
        } else if left == wanted {
            works = works.or(Some((form, name)));
            "removes those".to_owned()
        } else if left.is_empty() {
            "EMPTIES THE GROUP".to_owned()
        } else {
            "removes nobody".to_owned()
        };
        session.findings.know(question, text);
        add(session, group, &[one, two]).await?;
    }
    let Some((form, name)) = works else {
        session.findings.know("members are removed by", "none of the forms that were tried");
        return Ok(());
    };
    session.profile.members.remove_form = form;
    session.findings.found("members are removed by", name, vec![("members.remove_form", name.into())]);
    remove(session, group, &[two]).await?;
    let absent = remove(session, group, &[two]).await?;
    let (text, value) =
        if absent.status.is_success() { ("success".to_owned(), "ok") } else { (said(&absent), "error") };
    session.findings.found(
        "removing an absent member gets",
        text,
        vec![("members.remove_absent", value.into())],
    );
    Ok(())
}

/// Whether lists carry members, too.
async fn in_lists(session: &mut Session, group: &Group) -> Result<(), ProbeError> {
    let lookup = requests::lookup(&session.profile, Kind::Group, &[("displayName", &group.name)]);
    let Some(lookup) = lookup else { return Ok(()) };
    let page = session.list("look up a group", lookup).await?;
    let found = page.as_ref().and_then(|page| page.resources.first());
    if let Some(found) = found {
        let carried = resource::member_ids(found).is_some_and(|members| !members.is_empty());
        let text = if carried { "carry members" } else { "leave members out" };
        session.findings.know("lists of groups", text);
    }
    Ok(())
}

/// How many values one PATCH may hold: doubles until it is refused, then narrows it down. The two
/// users are named over and over, since a limit counts what is named.
async fn most_at_once(session: &mut Session, group: &Group, users: [&str; 2]) -> Result<(), ProbeError> {
    let question = "members in one PATCH, at most";
    let (mut taken, mut refused) = (0, None);
    let mut next = 4;
    while next <= MEMBERS_MAX && refused.is_none() {
        if takes(session, group, users, next).await? {
            taken = next;
        } else {
            refused = Some(next);
        }
        next *= 2;
    }
    let Some(mut refused) = refused else {
        session.findings.know(question, format!("over {MEMBERS_MAX}"));
        return Ok(());
    };
    if taken == 0 {
        session.findings.know(question, "could not be told: naming a member twice is refused");
        return Ok(());
    }
    while refused - taken > 1 {
        let middle = taken.midpoint(refused);
        if takes(session, group, users, middle).await? {
            taken = middle;
        } else {
            refused = middle;
        }
    }
    let most = i64::try_from(taken).unwrap_or(i64::MAX);
    session.findings.found(question, taken.to_string(), vec![("members.max_per_request", most.into())]);
    Ok(())
}

async fn takes(
    session: &mut Session,
    group: &Group,
    users: [&str; 2],
    count: usize,
) -> Result<bool, ProbeError> {
    let named: Vec<&str> = users.into_iter().cycle().take(count).collect();
    Ok(add(session, group, &named).await?.status.is_success())
}

async fn add(session: &mut Session, group: &Group, users: &[&str]) -> Result<Answer, ProbeError> {
    let adds: Vec<_> = users.iter().map(|user| MemberRef { vendor_id: (*user).to_owned() }).collect();
    let request = requests::member_patch(&session.profile, &adds, &[]);
    session.patch("add members", (Kind::Group, &group.id), &request).await
}

async fn remove(session: &mut Session, group: &Group, users: &[&str]) -> Result<Answer, ProbeError> {
    let removes: Vec<_> = users.iter().map(|user| (*user).to_owned()).collect();
    let request = requests::member_patch(&session.profile, &[], &removes);
    session.patch("remove members", (Kind::Group, &group.id), &request).await
}

/// The members that the group is read to have; `None` where it cannot be told.
async fn members(session: &mut Session, group: &Group) -> Result<Option<Vec<String>>, ProbeError> {
    let (_, body) = session.fetch("read a group", (Kind::Group, &group.id)).await?;
    Ok(resource::member_ids(&body))
}
