//! Where a vendor departs from the RFC, played from the sections of a profile: each knob does here, on
//! the vendor's side, what it says that the vendor does.

use serde_json::{Map, Value};

use crate::sandbox::answer::Refusal;
use crate::sandbox::endpoint::Kind;
use crate::scim::error::ScimType;
use crate::scim::filter::{Comparison, Filter};
use crate::scim::patch::{Op, PatchOp, PatchRequest};
use crate::scim::resource::get_in;
use crate::target::Profile;
use crate::target::profile::{
    Deactivate, Errors, Filters, Groups, Lists, Members, MembersRead, OpCase, Patch, PathFilters, Pathless,
    RemoveForm, Users,
};

/// The sections of a profile that the sandbox plays beyond its own settings. The default has none.
#[derive(Clone, Debug, Default)]
pub struct Quirks {
    /// What PATCH must look like.
    pub patch: Patch,
    /// What groups can be.
    pub groups: Groups,
    /// How many members a group may begin with, and how many are shown.
    pub members: Option<Members>,
    /// What users must be.
    pub users: Users,
    /// What `active: false` does.
    pub deactivate: Deactivate,
    /// What can be asked for.
    pub filter: Filters,
    /// What lists show; none: all.
    pub list: Option<Lists>,
    /// What errors look like.
    pub errors: Errors,
}

impl From<&Profile> for Quirks {
    fn from(profile: &Profile) -> Self {
        Self {
            patch: profile.patch.clone(),
            groups: profile.groups.clone(),
            members: Some(profile.members.clone()),
            users: profile.users.clone(),
            deactivate: profile.deactivate,
            filter: profile.filter.clone(),
            list: Some(profile.list.clone()),
            errors: profile.errors,
        }
    }
}

impl Quirks {
    /// Refuses what the vendor has no endpoint for.
    pub fn check_endpoint(&self, kind: Kind, method: &str) -> Result<(), Refusal> {
        if kind == Kind::Group && !self.groups.supported {
            return Err(Refusal::new(404, "there is no such endpoint"));
        }
        let refused = (method == "PATCH" && !self.patch.supported)
            || (method == "POST" && kind == Kind::User && !self.users.create);
        if refused { Err(Refusal::method_not_allowed()) } else { Ok(()) }
    }

    /// Refuses a group's body that is larger than the vendor takes.
    pub fn check_size(&self, kind: Kind, bytes: usize) -> Result<(), Refusal> {
        let most = self.members.as_ref().and_then(|rules| rules.max_bytes).map(|most| size(most.get()));
        match most.filter(|most| kind == Kind::Group && bytes > *most) {
            Some(most) => Err(Refusal::new(413, format!("more than {most} bytes in one request"))),
            None => Ok(()),
        }
    }

    /// Whether a new group begins without the members that it was sent with.
    pub fn drops_first_members(&self) -> bool {
        !self.groups.create_with_members
    }

    /// Refuses a new resource that the vendor would not take.
    pub fn check_new(
        &self,
        kind: Kind,
        attributes: &Map<String, Value>,
        members: usize,
    ) -> Result<(), Refusal> {
        match kind {
            Kind::User => {
                if let Some(missing) = self.users.required.iter().find(|path| !holds(attributes, path)) {
                    return Err(Refusal::bad(ScimType::InvalidValue, format!("{missing} is required")));
                }
                self.check_values(attributes)
            }
            Kind::Group => {
                let most = self.members.as_ref().map_or(usize::MAX, |rules| size(rules.max_per_create));
                if members > most && !self.drops_first_members() {
                    return Err(Refusal::new(413, "too many members"));
                }
                attributes.keys().try_for_each(|name| self.check_group_attribute(name))
            }
        }
    }

    /// Refuses a change that the vendor would not take.
    pub fn check_changed(&self, kind: Kind, old: &Value, new: &Map<String, Value>) -> Result<(), Refusal> {
        if kind == Kind::Group {
            return Ok(());
        }
        let changed = |name: &&String| old.get(name.as_str()) != new.get(name.as_str());
        if let Some(name) = self.users.immutable.iter().find(changed) {
            return Err(Refusal::bad(ScimType::Mutability, format!("{name} cannot be changed")));
        }
        self.check_values(new)
    }

    /// Whether the vendor knows nobody any more who has these attributes.
    pub fn ends_the_account(&self, kind: Kind, attributes: &Map<String, Value>) -> bool {
        let inactive = attributes.get("active") == Some(&Value::Bool(false));
        kind == Kind::User && inactive && self.deactivate.effect.ends_the_account()
    }

    /// Refuses a PATCH in another spelling than the vendor's, and brings it into the RFC's. Operations
    /// whose path the vendor does not understand have no effect.
    pub fn read_patch(&self, kind: Kind, body: &Value) -> Result<PatchRequest, Refusal> {
        self.check_spelling(body)?;
        let mut request = PatchRequest::parse(body)?;
        if kind == Kind::User && self.patch.path_filters != PathFilters::Full {
            request.operations.retain(|operation| !has_filter(operation));
        }
        for operation in &mut request.operations {
            self.check_operation(kind, operation)?;
            if self.patch.bool_as_string {
                read_bools(operation)?;
            }
        }
        Ok(request)
    }

    /// Refuses a filter that the vendor does not understand.
    pub fn check_filter(&self, kind: Kind, filter: &Filter) -> Result<(), Refusal> {
        let refused = || Refusal::bad(ScimType::InvalidFilter, "the filter is not supported");
        let attributes = match kind {
            Kind::User => &self.filter.attributes,
            Kind::Group => self.filter.group_attributes.as_ref().unwrap_or(&self.filter.attributes),
        };
        match filter {
            Filter::Or(sides) if self.filter.or => {
                sides.iter().try_for_each(|side| self.check_filter(kind, side))
            }
            Filter::Or(_) => Err(refused()),
            Filter::Compare(path, Comparison::Equal, _) => {
                let known = attributes.is_empty()
                    || attributes.iter().any(|name| name.eq_ignore_ascii_case(&path.name));
                if known { Ok(()) } else { Err(refused()) }
            }
            Filter::And(_)
            | Filter::Not(_)
            | Filter::Present(_)
            | Filter::Compare(..)
            | Filter::Values(..) => {
                if attributes.is_empty() {
                    Ok(())
                } else {
                    Err(refused())
                }
            }
        }
    }

    /// Whether the members of a group are shown below it.
    pub fn pages_members(&self) -> bool {
        self.members.as_ref().is_some_and(|rules| rules.read == MembersRead::SubEndpoint)
    }

    /// The group and the member of whom a filter asks, at a vendor that tells only so who is in a group.
    pub fn asked_member<'a>(&self, filter: &'a Filter) -> Option<(&'a str, &'a str)> {
        self.members.as_ref().filter(|rules| rules.read == MembersRead::FilterProbe)?;
        let Filter::And(sides) = filter else { return None };
        let side = |name: &str| {
            sides.iter().find_map(|side| match side {
                Filter::Compare(path, Comparison::Equal, Value::String(value)) if path.name == name => {
                    Some(value.as_str())
                }
                Filter::Compare(..)
                | Filter::And(_)
                | Filter::Or(_)
                | Filter::Not(_)
                | Filter::Present(_)
                | Filter::Values(..) => None,
            })
        };
        Some((side("id")?, side("members")?)).filter(|_| sides.len() == 2)
    }

    /// Whether a list shows the members of its groups.
    pub fn lists_members(&self) -> bool {
        self.list.as_ref().is_none_or(|list| list.includes_members)
    }

    /// The most members that a group shows.
    pub fn members_shown_max(&self) -> usize {
        let cap = self.members.as_ref().and_then(|members| members.read_cap);
        cap.map_or(usize::MAX, |cap| size(cap.get()))
    }

    fn check_values(&self, attributes: &Map<String, Value>) -> Result<(), Refusal> {
        let several = |value: &Value| value.as_array().is_some_and(|values| values.len() > 1);
        if let Some((name, _)) =
            attributes.iter().find(|(_, value)| !self.users.multi_valued && several(value))
        {
            return Err(Refusal::bad(ScimType::InvalidValue, format!("{name} takes one value")));
        }
        let name = attributes.get("userName").and_then(Value::as_str).unwrap_or_default();
        if self.users.username_is_email && !name.contains('@') {
            return Err(Refusal::bad(ScimType::InvalidValue, "userName is not a mail address"));
        }
        Ok(())
    }

    fn check_group_attribute(&self, name: &str) -> Result<(), Refusal> {
        let known = &self.groups.writable_attributes;
        let taken = known.is_empty() || known.iter().any(|known| known.eq_ignore_ascii_case(name));
        if taken {
            Ok(())
        } else {
            Err(Refusal::bad(ScimType::InvalidPath, format!("{name} is not supported")))
        }
    }

    fn check_spelling(&self, body: &Value) -> Result<(), Refusal> {
        let operations =
            body.as_object().and_then(|body| get_in(body, "Operations")).and_then(Value::as_array);
        for operation in operations.into_iter().flatten().filter_map(Value::as_object) {
            let word = get_in(operation, "op").and_then(Value::as_str).unwrap_or_default();
            let fits = match self.patch.op_case {
                OpCase::Lower => true,
                OpCase::Capital => word.starts_with(|first: char| first.is_ascii_uppercase()),
            };
            if !fits {
                return Err(Refusal::bad(ScimType::InvalidSyntax, format!("op {word:?} is not known")));
            }
        }
        Ok(())
    }

    fn check_operation(&self, kind: Kind, operation: &PatchOp) -> Result<(), Refusal> {
        let path = operation.path.as_deref().unwrap_or_default();
        let named_where_it_must_not = operation.op == Op::Replace
            && match self.patch.pathless {
                Pathless::None => false,
                Pathless::Active => path == "active",
                Pathless::All => !path.is_empty() && path != "members" && !has_filter(operation),
            };
        if named_where_it_must_not {
            return Err(Refusal::bad(ScimType::InvalidPath, "a replacement takes no path"));
        }
        if kind == Kind::Group {
            let by_value =
                self.members.as_ref().is_some_and(|rules| rules.remove_form == RemoveForm::ValueArray);
            if has_filter(operation) && (by_value || self.patch.path_filters == PathFilters::None) {
                return Err(Refusal::bad(ScimType::InvalidPath, "a path takes no filter"));
            }
            let named = path.split(['[', '.']).next().filter(|name| !name.is_empty() && *name != "members");
            named.map_or(Ok(()), |name| self.check_group_attribute(name))?;
        }
        Ok(())
    }
}

fn has_filter(operation: &PatchOp) -> bool {
    operation.path.as_deref().is_some_and(|path| path.contains('['))
}

/// `"true"` and `"false"` as what they mean; a real boolean is refused.
fn read_bools(operation: &mut PatchOp) -> Result<(), Refusal> {
    let is_active = operation.path.as_deref() == Some("active");
    match &mut operation.value {
        Some(Value::Object(parts)) if operation.path.is_none() => {
            parts.get_mut("active").map_or(Ok(()), read_bool)
        }
        Some(value) if is_active => read_bool(value),
        Some(_) | None => Ok(()),
    }
}

fn read_bool(value: &mut Value) -> Result<(), Refusal> {
    match value.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("true") => *value = Value::Bool(true),
        Some("false") => *value = Value::Bool(false),
        Some(_) | None => return Err(Refusal::bad(ScimType::InvalidValue, "active is not a string")),
    }
    Ok(())
}

fn holds(attributes: &Map<String, Value>, path: &str) -> bool {
    let mut parts = path.split('.');
    let first = parts.next().and_then(|name| attributes.get(name));
    let value = parts.fold(first, |value, name| value.and_then(|value| value.get(name)));
    match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(values)) => !values.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => true,
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::{filter, schema};

    const HEAD: &str = "name = \"v\"\nevidence = \"partial\"\nsources = [\"d\"]\nas_of = \"2026-11-20\"\n";

    fn quirks(text: &str) -> Quirks {
        Quirks::from(&Profile::parse(&format!("{HEAD}{text}")).unwrap())
    }

    fn patch(operation: &Value) -> Value {
        json!({ "schemas": [schema::PATCH_OP], "Operations": [operation] })
    }

    #[test]
    fn a_patch_must_be_spelled_as_the_knobs_say() {
        for (text, taken, refused) in [
            (
                "[patch]\nop_case = \"capital\"",
                json!({"op": "Replace", "path": "title", "value": "t"}),
                json!({"op": "replace", "path": "title", "value": "t"}),
            ),
            (
                "[patch]\nbool_as_string = true",
                json!({"op": "replace", "path": "active", "value": "false"}),
                json!({"op": "replace", "path": "active", "value": false}),
            ),
            (
                "[patch]\npathless = \"active\"",
                json!({"op": "replace", "value": {"active": false}}),
                json!({"op": "replace", "path": "active", "value": false}),
            ),
            (
                "[patch]\npathless = \"all\"",
                json!({"op": "replace", "value": {"title": "t"}}),
                json!({"op": "replace", "path": "title", "value": "t"}),
            ),
        ] {
            let quirks = quirks(text);
            assert!(quirks.read_patch(Kind::User, &patch(&taken)).is_ok(), "{text}");
            assert_eq!(quirks.read_patch(Kind::User, &patch(&refused)).unwrap_err().status, 400, "{text}");
            assert!(Quirks::default().read_patch(Kind::User, &patch(&refused)).is_ok());
        }
    }

    #[test]
    fn path_filters_have_no_effect_on_users_where_the_vendor_does_not_understand_them() {
        let operation = json!({"op": "replace", "path": "emails[type eq \"work\"].value", "value": "a@x"});
        let left = |text| quirks(text).read_patch(Kind::User, &patch(&operation)).unwrap().operations.len();
        assert_eq!((left(""), left("[patch]\npath_filters = \"members\"")), (1, 0));
    }

    #[test]
    fn a_user_that_the_vendor_cannot_hold_is_refused() {
        let user = json!({"userName": "a", "emails": [{"value": "a@x"}, {"value": "b@x"}]});
        for (text, taken) in [
            ("", true),
            ("[users]\nrequired = [\"emails\"]", true),
            ("[users]\nrequired = [\"name.givenName\"]", false),
            ("[users]\nmulti_valued = false", false),
            ("[users]\nusername_is_email = true", false),
        ] {
            let outcome = quirks(text).check_new(Kind::User, user.as_object().unwrap(), 0);
            assert_eq!(outcome.is_ok(), taken, "{text}");
        }
        let immutable = quirks("[users]\nimmutable = [\"userName\"]");
        let renamed = json!({"userName": "b"});
        assert!(immutable.check_changed(Kind::User, &user, renamed.as_object().unwrap()).is_err());
        assert!(immutable.check_changed(Kind::User, &user, user.as_object().unwrap()).is_ok());
    }

    #[test]
    fn a_filter_that_the_vendor_does_not_understand_is_refused() {
        let narrow =
            "[filter]\nor = false\nattributes = [\"userName\"]\ngroup_attributes = [\"displayName\"]";
        for (kind, text, taken) in [
            (Kind::User, "userName eq \"a\"", true),
            (Kind::User, "externalId eq \"a\"", false),
            (Kind::User, "userName eq \"a\" or userName eq \"b\"", false),
            (Kind::User, "userName sw \"a\"", false),
            (Kind::Group, "displayName eq \"a\"", true),
            (Kind::Group, "userName eq \"a\"", false),
        ] {
            let filter = filter::parse(text).unwrap();
            assert_eq!(quirks(narrow).check_filter(kind, &filter).is_ok(), taken, "{text}");
            assert!(Quirks::default().check_filter(kind, &filter).is_ok());
        }
    }

    #[test]
    fn a_groups_body_is_taken_up_to_its_last_byte() {
        let capped = quirks("[members]\nmax_bytes = 500");
        for (kind, bytes, expected) in
            [(Kind::Group, 500, None), (Kind::Group, 501, Some(413)), (Kind::User, 501, None)]
        {
            let status = capped.check_size(kind, bytes).err().map(|refusal| refusal.status);
            assert_eq!(status, expected, "{kind:?} {bytes}");
        }
        assert!(Quirks::default().check_size(Kind::Group, usize::MAX).is_ok());
    }

    #[test]
    fn one_member_is_asked_for_by_a_filter_where_the_knob_says_so() {
        let filter = filter::parse("id eq \"g\" and members eq \"u\"").unwrap();
        let probed = quirks("[members]\nread = \"filter_probe\"");
        assert_eq!(probed.asked_member(&filter), Some(("g", "u")));
        assert_eq!(quirks("").asked_member(&filter), None);
        assert_eq!(probed.asked_member(&filter::parse("id eq \"g\"").unwrap()), None);
    }

    #[test]
    fn endpoints_that_the_vendor_lacks_are_not_there() {
        let status = |text, kind, method| {
            quirks(text).check_endpoint(kind, method).err().map(|refusal| refusal.status)
        };
        assert_eq!(status("[groups]\nsupported = false", Kind::Group, "GET"), Some(404));
        assert_eq!(status("[users]\ncreate = false", Kind::User, "POST"), Some(405));
        assert_eq!(status("[patch]\nsupported = false", Kind::User, "PATCH"), Some(405));
        assert_eq!(status("", Kind::User, "PATCH"), None);
    }
}
