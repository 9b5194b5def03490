//! What the vendor remembers. Only handlers touch it, so that HTTP is the only way in.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use crate::clock::{Clock, SystemClock};
use crate::sandbox::answer::Refusal;
use crate::sandbox::endpoint::Kind;
use crate::sandbox::members::{Memberships, Staged};
use crate::sandbox::record::{Record, name_attribute, seal};
use crate::sandbox::selection::Selection;
use crate::sandbox::settings::{Behaviour, ETagForm};
use crate::sandbox::table::Table;

/// All resources and memberships.
#[derive(Debug)]
pub struct State {
    users: Table,
    groups: Table,
    /// Who is in which group.
    pub memberships: Memberships,
    /// Operations of bulk requests so far.
    pub bulk_operations: u64,
    ids: StdRng,
    next_sequence: u64,
    base_url: String,
}

impl State {
    /// Nothing yet. `base_url` is where clients reach the SCIM service, for locations.
    pub fn new(seed: u64, base_url: String) -> Self {
        Self {
            users: Table::default(),
            groups: Table::default(),
            memberships: Memberships::default(),
            bulk_operations: 0,
            // A stream of its own, so that more faults do not mean other ids.
            ids: StdRng::seed_from_u64(seed ^ 0x1d50_f2e5),
            next_sequence: 1,
            base_url,
        }
    }

    /// The resources of a kind.
    pub fn table(&self, kind: Kind) -> &Table {
        match kind {
            Kind::User => &self.users,
            Kind::Group => &self.groups,
        }
    }

    fn table_mut(&mut self, kind: Kind) -> &mut Table {
        match kind {
            Kind::User => &mut self.users,
            Kind::Group => &mut self.groups,
        }
    }

    /// What an id is, if it is anyone's.
    pub fn kind_of(&self, id: &str) -> Option<Kind> {
        [Kind::User, Kind::Group].into_iter().find(|kind| self.table(*kind).get(id).is_some())
    }

    /// Where a resource is read.
    pub fn location(&self, behaviour: &Behaviour, kind: Kind, id: &str) -> String {
        format!("{}/{}/{id}", self.base_url, kind.path(behaviour))
    }

    /// Where the SCIM service is.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Refuses attributes whose unique values another resource than `own` holds.
    pub fn check_unique(
        &self,
        behaviour: &Behaviour,
        kind: Kind,
        attributes: &Value,
        own: Option<&str>,
    ) -> Result<(), Refusal> {
        let (name_unique, external_id_unique) = match kind {
            Kind::User => (true, behaviour.users.external_id_unique),
            Kind::Group => (behaviour.groups.display_name_unique, behaviour.groups.external_id_unique),
        };
        let table = self.table(kind);
        let text = |name: &str| attributes.get(name).and_then(Value::as_str);
        let name = name_attribute(kind);
        let taken = |attribute: &str, holder: &str| {
            Refusal::taken(attribute, behaviour.holder, self.location(behaviour, kind, holder))
        };
        if name_unique
            && let Some(value) = text(name)
            && let Some(holder) = table.named(value).find(|id| Some(*id) != own)
        {
            return Err(taken(name, holder));
        }
        if external_id_unique
            && let Some(value) = text("externalId")
            && let Some(holder) = table.with_external_id(value).find(|id| Some(*id) != own)
        {
            return Err(taken("externalId", holder));
        }
        Ok(())
    }

    /// Stores a new resource and gives its id.
    pub fn insert(&mut self, behaviour: &Behaviour, kind: Kind, attributes: Map<String, Value>) -> String {
        let id = uuid::Builder::from_random_bytes(self.ids.random()).into_uuid().to_string();
        let now = now();
        let location = self.location(behaviour, kind, &id);
        let value = seal(kind, attributes, &id, &location, &now, &now);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.table_mut(kind).put(Record { kind, sequence, version: 1, value });
        id
    }

    /// Stores other attributes for a resource. The version moves only when they differ.
    pub fn update(&mut self, kind: Kind, id: &str, attributes: Map<String, Value>) {
        let Some(old) = self.table(kind).get(id) else { return };
        let text = |name: &str| old.value["meta"][name].as_str().unwrap_or_default().to_owned();
        let (location, created, modified) = (text("location"), text("created"), text("lastModified"));
        let changes_password = attributes.contains_key("password");
        let same = seal(kind, attributes.clone(), id, &location, &created, &modified);
        if same == old.value && !changes_password {
            return;
        }
        let value = seal(kind, attributes, id, &location, &created, &now());
        let record = Record { version: old.version + 1, value, ..old.clone() };
        self.table_mut(kind).put(record);
    }

    /// Makes staged changes to a group's members; its version moves only when something is different.
    pub fn commit_members(&mut self, group: &str, staged: Staged) {
        if self.memberships.commit(group, staged) {
            self.touch(group);
        }
    }

    /// Removes a resource; whatever group it was in changes with it.
    pub fn remove(&mut self, kind: Kind, id: &str) {
        if self.table_mut(kind).take(id).is_some() {
            for group in self.memberships.forget(id) {
                self.touch(&group);
            }
        }
    }

    fn touch(&mut self, group: &str) {
        let Some(mut record) = self.groups.take(group) else { return };
        record.version += 1;
        record.value["meta"]["lastModified"] = now().into();
        self.groups.put(record);
    }

    /// A resource as a client sees it. What the selection leaves out is not even put together.
    pub fn render(&self, behaviour: &Behaviour, record: &Record, selection: &Selection) -> Value {
        let mut value = record.value.clone();
        if behaviour.etag.meta_version {
            value["meta"]["version"] = tag(behaviour, record.version).into();
        }
        match record.kind {
            Kind::User if selection.wants("groups") => self.add_groups(behaviour, record.id(), &mut value),
            Kind::Group if selection.wants("members") && behaviour.groups.members_returned => {
                self.add_members(behaviour, record.id(), &mut value);
            }
            Kind::User | Kind::Group => {}
        }
        selection.project(value)
    }

    fn add_groups(&self, behaviour: &Behaviour, id: &str, value: &mut Value) {
        let groups: Vec<Value> = self
            .memberships
            .of_member(id)
            .map(|group| {
                let display = self.groups.get(group).map_or("", Record::display);
                json!({
                    "value": group,
                    "$ref": self.location(behaviour, Kind::Group, group),
                    "display": display,
                    "type": "direct"
                })
            })
            .collect();
        if !groups.is_empty() {
            value["groups"] = groups.into();
        }
    }

    fn add_members(&self, behaviour: &Behaviour, id: &str, value: &mut Value) {
        let members: Vec<Value> = self
            .memberships
            .of_group(id)
            .take(behaviour.quirks.members_shown_max())
            .map(|(member, kind)| self.render_member(behaviour, member, kind))
            .collect();
        if !members.is_empty() {
            value["members"] = members.into();
        }
    }

    /// A member as it stands in a group.
    pub fn render_member(&self, behaviour: &Behaviour, id: &str, kind: Kind) -> Value {
        let mut member = json!({
            "value": id,
            "$ref": self.location(behaviour, kind, id),
            "type": kind.rules().name
        });
        if behaviour.groups.members_display
            && let Some(record) = self.table(kind).get(id)
        {
            member["display"] = record.display().into();
        }
        member
    }
}

/// A version as the vendor writes it.
pub fn tag(behaviour: &Behaviour, version: u64) -> String {
    match behaviour.etag.form {
        ETagForm::Strong => format!("\"{version}\""),
        ETagForm::Weak => format!("W/\"{version}\""),
    }
}

/// The time now, to the millisecond, as `dateTime` has it.
fn now() -> String {
    let now = SystemClock.now().as_micros() / 1_000;
    jiff::Timestamp::from_millisecond(now).map_or_else(|_| String::new(), |now| format!("{now:.3}"))
}
