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
        return most_at_once(session, group, &[Fill::Repeated(users)]).await;
    };
    let whole = users.iter().all(|user| present.iter().any(|id| id == user));
    session.findings.found(
        "members are read",
        if whole { "in the group" } else { "in the group, not all of them" },
        vec![("members.read", "get".into())],
    );
    in_lists(session, group).await?;
    let may_be_absent = whole && removes(session, group, users).await?;
    let fills = [Fill::Nobody, Fill::Repeated(users)];
    most_at_once(session, group, if may_be_absent { &fills } else { &fills[1..] }).await
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

/// Tries each form of removal on one of two members, and looks who is left. Answers whether those who
/// are no members may be removed.
async fn removes(session: &mut Session, group: &Group, [one, two]: [&str; 2]) -> Result<bool, ProbeError> {
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
        return Ok(false);
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
    Ok(absent.status.is_success())
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

/// Whose names fill a PATCH until the vendor refuses it.
#[derive(Clone, Copy, Debug)]
enum Fill<'a> {
    /// Members to remove who are nobody.
    Nobody,
    /// These two to add, over and over. Proves less: a vendor may count each only once.
    Repeated([&'a str; 2]),
}

/// How many members one PATCH may name: doubles until it is refused, then narrows it down.
async fn most_at_once(session: &mut Session, group: &Group, fills: &[Fill<'_>]) -> Result<(), ProbeError> {
    let question = "members in one PATCH, at most";
    for fill in fills {
        let (taken, refused) = bounds(session, group, *fill).await?;
        match refused {
            None => {
                session.findings.know(question, format!("no limit found up to {MEMBERS_MAX}"));
                return Ok(());
            }
            // That few are refused has another reason than their number.
            Some(_) if taken == 0 => {}
            Some(_) => {
                let most = i64::try_from(taken).unwrap_or(i64::MAX);
                let values = vec![("members.max_per_request", most.into())];
                session.findings.found(question, taken.to_string(), values);
                return Ok(());
            }
        }
    }
    session.findings.know(question, "could not be told");
    Ok(())
}

/// The most that was taken and the least that was refused; they are neighbours, unless all or none was.
async fn bounds(
    session: &mut Session,
    group: &Group,
    fill: Fill<'_>,
) -> Result<(usize, Option<usize>), ProbeError> {
    let (mut taken, mut next) = (0, 4);
    while takes(session, group, fill, next).await? {
        taken = next;
        next *= 2;
        if next > MEMBERS_MAX {
            return Ok((taken, None));
        }
    }
    let mut refused = next;
    while taken > 0 && refused - taken > 1 {
        let middle = taken.midpoint(refused);
        if takes(session, group, fill, middle).await? {
            taken = middle;
        } else {
            refused = middle;
        }
    }
    Ok((taken, Some(refused)))
}

async fn takes(
    session: &mut Session,
    group: &Group,
    fill: Fill<'_>,
    count: usize,
) -> Result<bool, ProbeError> {
    let answer = match fill {
        Fill::Nobody => {
            let names: Vec<_> =
                (0..count).map(|number| format!("{}-nobody-{number}", session.unique)).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            remove(session, group, &names).await?
        }
        Fill::Repeated(users) => {
            let names: Vec<_> = users.into_iter().cycle().take(count).collect();
            add(session, group, &names).await?
        }
    };
    Ok(answer.status.is_success())
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
