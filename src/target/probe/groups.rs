//! What a vendor does with groups.

use serde_json::json;

use super::ProbeError;
use super::session::{Session, id_of, said};
use super::users::yes;
use crate::scim::{resource, schema};
use crate::target::requests::{self, Kind};

/// A group of the probe's.
pub(super) struct Group {
    pub(super) id: String,
    pub(super) name: String,
}

/// Creates a group without members; `None` where groups cannot be created.
pub(super) async fn create(session: &mut Session) -> Result<Option<Group>, ProbeError> {
    let name = format!("{}-group", session.unique);
    let body = json!({"schemas": [schema::GROUP], "displayName": name, "externalId": name});
    let answer = session.create("create a group", Kind::Group, &name, &body).await?;
    let id = id_of(&answer).filter(|_| answer.status.is_success());
    let text = if id.is_some() { "yes".to_owned() } else { format!("no: {}", said(&answer)) };
    let values = vec![("groups.create", id.is_some().into())];
    session.findings.found("groups can be created", text, values);
    Ok(id.map(|id| Group { id, name }))
}

/// Whether a group is found by its name.
pub(super) async fn filters(session: &mut Session, group: &Group) -> Result<(), ProbeError> {
    let lookup = requests::lookup(&session.profile, Kind::Group, &[("displayName", &group.name)]);
    let Some(lookup) = lookup else { return Ok(()) };
    let page = session.list("look up a group", lookup).await?;
    let ids = page.map(|page| page.resources.iter().filter_map(resource::id).collect::<Vec<_>>());
    let found = ids.is_some_and(|ids| ids == [group.id.clone()]);
    session.findings.know("groups are found by displayName", yes(found));
    Ok(())
}

/// Whether groups can be deleted.
pub(super) async fn delete(session: &mut Session, group: &Group) -> Result<(), ProbeError> {
    let status = session.delete("delete a group", (Kind::Group, &group.id)).await?;
    let (read, _) = session.fetch("read a deleted group", (Kind::Group, &group.id)).await?;
    let gone = status.is_success() && matches!(read.status.as_u16(), 404 | 410);
    if gone {
        session.is_gone(&group.id);
    }
    let text = if gone { "yes".to_owned() } else { format!("no: {}", status.as_u16()) };
    session.findings.found("groups can be deleted", text, vec![("groups.delete", gone.into())]);
    Ok(())
}
