//! Lists and searches, RFC 7644 sections 3.4.2 and 3.4.3.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::sandbox::answer::{Answer, Refusal};
use crate::sandbox::endpoint::Kind;
use crate::sandbox::record::{Record, name_attribute};
use crate::sandbox::selection::Selection;
use crate::sandbox::settings::Behaviour;
use crate::sandbox::state::State;
use crate::scim::error::ScimType;
use crate::scim::filter::{self, Comparison, Filter};
use crate::scim::list::ListResponse;
use crate::scim::path::AttributePath;
use crate::scim::resource::{get, get_in};

/// What a list is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Which attributes the resources carry.
    pub selection: Selection,
    filter: Option<Filter>,
    sort_by: Option<AttributePath>,
    descending: bool,
    start_index: Option<i64>,
    count: Option<i64>,
}

impl Query {
    /// Reads a URL's query. Names are compared with case, as in the RFC; unknown ones are passed over.
    pub fn from_url(query: &str) -> Result<Self, Refusal> {
        let parameters: HashMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let text = |name: &str| parameters.get(name).map_or("", String::as_str);
        let number =
            |name: &str| match parameters.get(name) {
                Some(value) => value.trim().parse().map(Some).map_err(|_| {
                    Refusal::bad(ScimType::InvalidValue, format!("{name} is not a whole number"))
                }),
                None => Ok(None),
            };
        let selection = Selection::new(text("attributes").split(','), text("excludedAttributes").split(','))?;
        Self::new(
            selection,
            parameters.get("filter").map(String::as_str),
            parameters.get("sortBy").map(String::as_str),
            text("sortOrder"),
            number("startIndex")?,
            number("count")?,
        )
    }

    /// Reads a search request.
    pub fn from_body(body: &Value) -> Result<Self, Refusal> {
        let object = body
            .as_object()
            .ok_or_else(|| Refusal::bad(ScimType::InvalidSyntax, "the body is not an object"))?;
        let text = |name: &str| get_in(object, name).and_then(Value::as_str);
        let number = |name: &str| get_in(object, name).and_then(Value::as_i64);
        let names = |name: &str| {
            get_in(object, name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        };
        let selection = Selection::new(names("attributes"), names("excludedAttributes"))?;
        Self::new(
            selection,
            text("filter"),
            text("sortBy"),
            text("sortOrder").unwrap_or_default(),
            number("startIndex"),
            number("count"),
        )
    }

    fn new(
        selection: Selection,
        filter: Option<&str>,
        sort_by: Option<&str>,
        sort_order: &str,
        start_index: Option<i64>,
        count: Option<i64>,
    ) -> Result<Self, Refusal> {
        let path = |text: &str| {
            AttributePath::parse(text)
                .ok_or_else(|| Refusal::bad(ScimType::InvalidPath, "sortBy is not an attribute"))
        };
        Ok(Self {
            selection,
            filter: filter.map(filter::parse).transpose()?,
            sort_by: sort_by.map(path).transpose()?,
            descending: sort_order.eq_ignore_ascii_case("descending"),
            start_index,
            count,
        })
    }
}

impl Query {
    /// Whether everything is asked for, in the order in which it is kept.
    const fn wants_all(&self) -> bool {
        self.filter.is_none() && self.sort_by.is_none()
    }

    /// The 1-based index of the first resource of the page, and how many there may be on it.
    fn window(&self, behaviour: &Behaviour) -> (usize, usize) {
        let start = usize::try_from(self.start_index.unwrap_or(1).max(1)).unwrap_or(usize::MAX);
        let default = behaviour.paging.count_default;
        let asked = self.count.map_or(default, |count| usize::try_from(count.max(0)).unwrap_or(usize::MAX));
        (start, asked.min(behaviour.paging.count_max))
    }
}

/// One page of what matches, over one kind of resource or all of them.
pub fn list(state: &State, behaviour: &Behaviour, kinds: &[Kind], query: &Query) -> Result<Answer, Refusal> {
    if let [kind] = kinds
        && query.wants_all()
        && !hides(behaviour, *kind)
    {
        return list_all(state, behaviour, *kind, query);
    }
    let mut found: Vec<&Record> = Vec::new();
    for kind in kinds {
        if let Some(filter) = &query.filter {
            if let Some((group, member)) =
                behaviour.quirks.asked_member(filter).filter(|_| *kind == Kind::Group)
            {
                let is_in = state.memberships.contains(group, member);
                found.extend(state.table(Kind::Group).get(group).filter(|_| is_in));
                continue;
            }
            behaviour.quirks.check_filter(*kind, filter)?;
        }
        found.extend(matching(state, behaviour, *kind, query.filter.as_ref()));
    }
    if let Some(path) = &query.sort_by {
        sort(&mut found, path, query.descending);
    }
    let (start, count) = query.window(behaviour);
    let page: Vec<Value> = found
        .iter()
        .skip(start - 1)
        .take(count)
        .map(|record| listed(state, behaviour, record, &query.selection))
        .collect();
    answer(found.len(), start, page)
}

/// One page of everything of a kind: a large directory is not gone through for each of its pages.
fn list_all(state: &State, behaviour: &Behaviour, kind: Kind, query: &Query) -> Result<Answer, Refusal> {
    let (start, count) = query.window(behaviour);
    let table = state.table(kind);
    let page = table.page(start - 1, count);
    let page = page.map(|record| listed(state, behaviour, record, &query.selection)).collect();
    answer(table.len(), start, page)
}

/// One page of a group's members.
pub fn members(state: &State, behaviour: &Behaviour, group: &str, query: &Query) -> Result<Answer, Refusal> {
    if state.table(Kind::Group).get(group).is_none() {
        return Err(Refusal::not_found());
    }
    let (start, count) = query.window(behaviour);
    let all: Vec<_> = state.memberships.of_group(group).collect();
    let page = all.iter().skip(start - 1).take(count);
    let page = page.map(|(id, kind)| state.render_member(behaviour, id, *kind)).collect();
    answer(all.len(), start, page)
}

fn answer(found: usize, start: usize, page: Vec<Value>) -> Result<Answer, Refusal> {
    let list = ListResponse {
        total_results: Some(found as u64),
        items_per_page: Some(page.len() as u64),
        start_index: Some(start as u64),
        next_cursor: None,
        resources: page,
    };
    let body = serde_json::to_value(list).map_err(|_| Refusal::new(500, "the list could not be written"))?;
    Ok(Answer::ok(body))
}

/// A resource as it stands in a list.
fn listed(state: &State, behaviour: &Behaviour, record: &Record, selection: &Selection) -> Value {
    let mut value = state.render(behaviour, record, selection);
    if record.kind == Kind::Group && !behaviour.quirks.lists_members() {
        value["members"] = Value::Array(Vec::new());
    }
    value
}

/// Whether lists leave out who is inactive.
fn hides(behaviour: &Behaviour, kind: Kind) -> bool {
    kind == Kind::User && behaviour.users.hide_inactive
}

fn matching<'a>(
    state: &'a State,
    behaviour: &Behaviour,
    kind: Kind,
    filter: Option<&Filter>,
) -> Vec<&'a Record> {
    let table = state.table(kind);
    let users = kind == Kind::User;
    let Some(filter) = filter else {
        let hide = hides(behaviour, kind);
        return table.iter().filter(|record| !hide || record.is_active()).collect();
    };
    let pass = users && behaviour.users.filters_pass_inactive;
    let derived = mentions_derived(filter);
    let holds = |record: &&Record| {
        if pass && !record.is_active() {
            return false;
        }
        if derived {
            filter::matches(filter, &state.render(behaviour, record, &Selection::default()))
        } else {
            filter::matches(filter, &record.value)
        }
    };
    match candidates(state, kind, filter) {
        Some(ids) => ids.iter().filter_map(|id| table.get(id)).filter(holds).collect(),
        None => table.iter().filter(holds).collect(),
    }
}

/// The ids among which all matches are, where an indexed attribute tells.
fn candidates(state: &State, kind: Kind, filter: &Filter) -> Option<BTreeSet<String>> {
    match filter {
        Filter::Compare(path, Comparison::Equal, Value::String(value)) if path.sub.is_none() => {
            let table = state.table(kind);
            let is = |name: &str| path.name.eq_ignore_ascii_case(name);
            if is("id") {
                Some(BTreeSet::from([value.clone()]))
            } else if is("externalId") {
                Some(table.with_external_id(value).map(str::to_owned).collect())
            } else if is(name_attribute(kind)) {
                Some(table.named(value).map(str::to_owned).collect())
            } else {
                None
            }
        }
        Filter::And(sides) => sides.iter().find_map(|side| candidates(state, kind, side)),
        Filter::Or(sides) => {
            let ids: Option<Vec<BTreeSet<String>>> =
                sides.iter().map(|side| candidates(state, kind, side)).collect();
            Some(ids?.into_iter().flatten().collect())
        }
        Filter::Compare(..) | Filter::Not(_) | Filter::Present(_) | Filter::Values(..) => None,
    }
}

/// Whether a filter asks for what is not stored in the record itself.
fn mentions_derived(filter: &Filter) -> bool {
    let derived = |path: &AttributePath| {
        let is = |name: &str| path.name.eq_ignore_ascii_case(name);
        is("members")
            || is("groups")
            || (is("meta") && path.sub.as_deref().is_some_and(|sub| sub.eq_ignore_ascii_case("version")))
    };
    match filter {
        Filter::And(sides) | Filter::Or(sides) => sides.iter().any(mentions_derived),
        Filter::Not(inner) => mentions_derived(inner),
        Filter::Present(path) | Filter::Compare(path, ..) | Filter::Values(path, _) => derived(path),
    }
}

/// Sorts without case; resources without the attribute come last in ascending order (RFC 7644 3.4.2.3).
fn sort(found: &mut [&Record], path: &AttributePath, descending: bool) {
    found.sort_by(|a, b| {
        let order = match (sort_key(&a.value, path), sort_key(&b.value, path)) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        if descending { order.reverse() } else { order }
    });
}

/// The text to sort by: of a multi-valued attribute its primary or first value.
fn sort_key(resource: &Value, path: &AttributePath) -> Option<String> {
    let holder = match &path.urn {
        Some(urn) => get(resource, urn).unwrap_or(resource),
        None => resource,
    };
    let value = match get(holder, &path.name)? {
        Value::Array(values) => values
            .iter()
            .find(|value| value.get("primary") == Some(&Value::Bool(true)))
            .or_else(|| values.first())?,
        single @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            single
        }
    };
    let value = match (&path.sub, value) {
        (Some(sub), value) => get(value, sub)?,
        (None, Value::Object(_)) => get(value, "value")?,
        (None, value) => value,
    };
    match value {
        Value::String(text) => Some(text.to_lowercase()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
