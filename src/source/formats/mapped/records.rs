//! Records that are fetched or dropped, one by one: what each means, in the words of a mapping.

use serde_json::Value;

use super::{Effect, Pointer, Rule, text_of};
use crate::clock::Timestamp;
use crate::directory::{Change, Operation};
use crate::source::json::Malformed;
use crate::source::signature::time::Format;

/// What the configuration says of a feed's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// Where, in a record, its type or state stands; `None`: all are of one type, which is empty.
    pub record_type: Option<Pointer>,
    /// Where, in a record, the time of its last change stands, and how it is written.
    pub changed_at: Option<(Pointer, Format)>,
    /// What records mean; the first rule that knows the type counts.
    pub rules: Vec<Rule>,
}

impl Records {
    /// What a record says; `None` where it means nothing to a directory.
    pub fn read(&self, record: &Value) -> Result<Option<Change>, Malformed> {
        let found = self.record_type.as_ref().and_then(|pointer| pointer.value(record));
        let kind = found.and_then(text_of).unwrap_or_default();
        let knows = |rule: &&Rule| rule.types.iter().any(|known| *known == kind || known == "*");
        let Some(rule) = self.rules.iter().find(knows) else { return Ok(None) };
        let reading = rule.read(record, self.time(record)?)?;
        Ok(reading.changes.into_iter().next())
    }

    /// Whether a rule can be followed without asking anybody, and says all of its record.
    pub fn can_follow(effect: &Effect) -> bool {
        match effect {
            Effect::Upsert(..) | Effect::Deactivate | Effect::Delete(_) | Effect::MemberSet(_) => true,
            Effect::Members { .. } | Effect::Read(_) => false,
        }
    }

    fn time(&self, record: &Value) -> Result<Option<Timestamp>, Malformed> {
        let Some((pointer, format)) = &self.changed_at else { return Ok(None) };
        let Some(value) = pointer.value(record).filter(|value| !value.is_null()) else { return Ok(None) };
        match text_of(value).and_then(|text| format.read(&text)) {
            Some(time) => Ok(Some(time)),
            None => Err(Malformed::new(pointer.as_str(), "is not a time of the form that is configured")),
        }
    }
}

/// Whether a change says that its user, group or membership list is there.
pub fn is_there(operation: &Operation) -> bool {
    match operation {
        Operation::UserUpsert { .. }
        | Operation::UserDeactivate { .. }
        | Operation::GroupUpsert { .. }
        | Operation::GroupMembers { .. } => true,
        Operation::UserDelete { .. } | Operation::GroupDelete { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::directory::Kind;

    fn rule(types: &[&str], effect: Effect) -> Rule {
        Rule {
            types: types.iter().map(|text| (*text).to_owned()).collect(),
            id: Pointer::parse("/id").unwrap(),
            effect,
        }
    }

    fn records(changed_at: Option<&str>) -> Records {
        Records {
            record_type: Some(Pointer::parse("/status").unwrap()),
            changed_at: changed_at.map(|at| (Pointer::parse(at).unwrap(), Format::Rfc3339)),
            rules: vec![
                rule(&["terminated"], Effect::Delete(Kind::User)),
                rule(&["*"], Effect::Upsert(Kind::User, Vec::new())),
            ],
        }
    }

    #[test]
    fn a_records_state_decides_what_it_means() {
        let read = |record: Value| records(None).read(&record).map(|change| change.unwrap().operation.name());
        assert_eq!(read(json!({"id": 7, "status": "terminated"})), Ok("user.delete"));
        assert_eq!(read(json!({"id": 7, "status": "active"})), Ok("user.upsert"));
        assert_eq!(read(json!({"id": 7})), Ok("user.upsert"), "a state that is absent is no state");
        assert!(read(json!({"status": "active"})).unwrap_err().to_string().contains("/id"));
    }

    #[test]
    fn a_record_of_no_known_state_means_nothing() {
        let mut records = records(None);
        records.rules.pop();
        assert_eq!(records.read(&json!({"id": 7, "status": "on leave"})), Ok(None));
    }

    #[test]
    fn a_records_own_time_dates_its_change() {
        let read = |at: Value| records(Some("/at")).read(&json!({"id": 7, "at": at}));
        let change = read(json!("2026-11-20T10:00:00Z")).unwrap().unwrap();
        assert_eq!(change.occurred_at, Timestamp::parse_rfc3339("2026-11-20T10:00:00Z"));
        assert_eq!(read(Value::Null).unwrap().unwrap().occurred_at, None);
        assert!(read(json!("yesterday")).is_err());
    }
}
