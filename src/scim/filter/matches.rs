//! Does a resource meet a filter?

use std::cmp::Ordering;

use serde_json::Value;

use super::{Comparison, Filter};
use crate::scim::path::AttributePath;
use crate::scim::resource::get;
use crate::scim::schema;

/// Attributes and sub-attributes that compare case-exactly (`caseExact` in RFC 7643 sections 3.1, 4
/// and 8.7). All other text compares without case.
const CASE_EXACT: [&str; 5] = ["id", "externalId", "version", "resourceType", "$ref"];

/// Whether `resource` meets `filter`. A multi-valued attribute meets a comparison when one of its
/// values does; `ne` is the opposite of `eq`, so an absent attribute is not equal to anything.
pub fn matches(filter: &Filter, resource: &Value) -> bool {
    match filter {
        Filter::And(sides) => sides.iter().all(|side| matches(side, resource)),
        Filter::Or(sides) => sides.iter().any(|side| matches(side, resource)),
        Filter::Not(inner) => !matches(inner, resource),
        Filter::Present(path) => candidates(path, resource).into_iter().any(is_present),
        Filter::Compare(path, comparison, literal) => compare(path, *comparison, literal, resource),
        Filter::Values(path, inner) => values(path, resource).into_iter().any(|value| matches(inner, value)),
    }
}

fn compare(path: &AttributePath, comparison: Comparison, literal: &Value, resource: &Value) -> bool {
    let exact = CASE_EXACT.iter().any(|name| {
        let last = path.sub.as_deref().unwrap_or(&path.name);
        name.eq_ignore_ascii_case(last)
    });
    let candidates = candidates(path, resource);
    let equal = || match literal {
        Value::Null => !candidates.iter().any(|value| is_present(value)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            candidates.iter().any(|value| order(value, literal, exact) == Some(Ordering::Equal))
        }
    };
    let ordered = |meets: fn(Ordering) -> bool| {
        candidates.iter().any(|value| order(value, literal, exact).is_some_and(meets))
    };
    let text = |meets: fn(&str, &str) -> bool| {
        candidates.iter().any(|value| text_meets(value, literal, exact, meets))
    };
    match comparison {
        Comparison::Equal => equal(),
        Comparison::NotEqual => !equal(),
        Comparison::Contains => text(|value, part| value.contains(part)),
        Comparison::StartsWith => text(|value, part| value.starts_with(part)),
        Comparison::EndsWith => text(|value, part| value.ends_with(part)),
        Comparison::Greater => ordered(Ordering::is_gt),
        Comparison::GreaterOrEqual => ordered(Ordering::is_ge),
        Comparison::Less => ordered(Ordering::is_lt),
        Comparison::LessOrEqual => ordered(Ordering::is_le),
    }
}

/// The values that a comparison looks at: of a complex attribute without a named sub-attribute, `value`.
fn candidates<'a>(path: &AttributePath, resource: &'a Value) -> Vec<&'a Value> {
    let values = values(path, resource);
    let sub = path.sub.as_deref();
    values
        .into_iter()
        .flat_map(|value| {
            let inner = match (sub, value) {
                (Some(sub), _) => get(value, sub),
                (None, Value::Object(_)) => get(value, "value").or(Some(value)),
                (None, _) => Some(value),
            };
            inner.into_iter().flat_map(each)
        })
        .collect()
}

/// The values of an attribute, one for each element when it is multi-valued.
fn values<'a>(path: &AttributePath, resource: &'a Value) -> Vec<&'a Value> {
    attribute(path, resource).into_iter().flat_map(each).collect()
}

fn attribute<'a>(path: &AttributePath, resource: &'a Value) -> Option<&'a Value> {
    let Some(urn) = &path.urn else {
        return get(resource, &path.name);
    };
    if [schema::USER, schema::GROUP].iter().any(|core| core.eq_ignore_ascii_case(urn)) {
        return get(resource, &path.name);
    }
    match get(resource, urn) {
        Some(extension) => get(extension, &path.name),
        None => get(resource, &path.whole()),
    }
}

fn each(value: &Value) -> std::slice::Iter<'_, Value> {
    match value {
        Value::Array(values) => values.iter(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            std::slice::from_ref(value).iter()
        }
    }
}

fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// `None` when the two are not comparable: of different types, or booleans that differ.
fn order(value: &Value, literal: &Value, exact: bool) -> Option<Ordering> {
    match (value, literal) {
        (Value::String(value), Value::String(literal)) => Some(order_text(value, literal, exact)),
        (Value::Number(value), Value::Number(literal)) => value.as_f64()?.partial_cmp(&literal.as_f64()?),
        (Value::Bool(value), Value::Bool(literal)) => (value == literal).then_some(Ordering::Equal),
        _ => None,
    }
}

/// Two dates compare as moments, whatever their offsets; all else as text.
fn order_text(value: &str, literal: &str, exact: bool) -> Ordering {
    if let (Some(value), Some(literal)) = (moment(value), moment(literal)) {
        return value.cmp(&literal);
    }
    if exact { value.cmp(literal) } else { value.to_lowercase().cmp(&literal.to_lowercase()) }
}

fn moment(text: &str) -> Option<jiff::Timestamp> {
    let like_a_date = text.len() >= 20 && text.as_bytes()[4] == b'-' && text.as_bytes()[10] == b'T';
    if like_a_date { text.parse().ok() } else { None }
}

fn text_meets(value: &Value, literal: &Value, exact: bool, meets: fn(&str, &str) -> bool) -> bool {
    let (Some(value), Some(literal)) = (value.as_str(), literal.as_str()) else { return false };
    if exact { meets(value, literal) } else { meets(&value.to_lowercase(), &literal.to_lowercase()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::filter::parse;

    fn jane() -> Value {
        json!({
            "id": "Ab1", "externalId": "HR-7", "userName": "Jane@Example.com", "active": true, "age": 41,
            "name": {"familyName": "O'Malley"}, "nickName": "",
            "emails": [{"value": "jane@example.com", "type": "work"}, {"value": "j@home.org", "type": "home"}],
            "groups": [],
            "meta": {"lastModified": "2026-05-13T04:42:34Z"},
            schema::ENTERPRISE_USER: {"department": "Support", "manager": {"value": "Bo"}}
        })
    }

    #[test]
    fn a_filter_holds_or_does_not() {
        let urn = schema::ENTERPRISE_USER;
        for (filter, expected) in [
            (r#"userName eq "jane@EXAMPLE.com""#.to_owned(), true),
            (r#"USERNAME Eq "jane@example.com""#.to_owned(), true),
            (r#"id eq "ab1""#.to_owned(), false),
            (r#"id eq "Ab1""#.to_owned(), true),
            (r#"externalId eq "hr-7""#.to_owned(), false),
            (r#"name.familyName co "malley""#.to_owned(), true),
            (r#"userName sw "jane""#.to_owned(), true),
            (r#"userName ew ".ORG""#.to_owned(), false),
            ("active eq true".to_owned(), true),
            ("active ne true".to_owned(), false),
            (r#"active eq "true""#.to_owned(), false),
            ("age gt 40 and age le 41".to_owned(), true),
            ("age lt 41".to_owned(), false),
            ("title pr".to_owned(), false),
            ("nickName pr".to_owned(), false),
            ("groups pr".to_owned(), false),
            ("emails pr".to_owned(), true),
            (r#"title ne "x""#.to_owned(), true),
            ("title eq null".to_owned(), true),
            ("userName ne null".to_owned(), true),
            (r#"emails eq "j@home.org""#.to_owned(), true),
            (r#"emails.type eq "home""#.to_owned(), true),
            (r#"emails[type eq "work" and value ew "home.org"]"#.to_owned(), false),
            (r#"emails.type eq "work" and emails.value ew "home.org""#.to_owned(), true),
            (r#"not (emails[type eq "other"])"#.to_owned(), true),
            (r#"meta.lastModified ge "2026-05-13T06:42:34+02:00""#.to_owned(), true),
            (r#"meta.lastModified gt "2026-05-13T06:42:34+02:00""#.to_owned(), false),
            (format!(r#"{urn}:department eq "support""#), true),
            (format!(r#"{}:department eq "support""#, urn.to_uppercase()), true),
            (format!(r#"{urn}:manager.value eq "bo""#), true),
            (format!("{urn} pr"), true),
            (format!(r#"{}:userName sw "j""#, schema::USER), true),
            ("urn:example:2.0:User:x pr".to_owned(), false),
        ] {
            assert_eq!(matches(&parse(&filter).unwrap(), &jane()), expected, "{filter}");
        }
    }
}
