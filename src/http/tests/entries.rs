use serde_json::{Value, json};

use super::fixture::{NOW, Served, VIEWER, served};
use crate::directory::{ExternalId, Kind};
use crate::store::{NewResync, Part, ResyncRow, Step, Store as _};
use crate::sync::drift::{Class, Finding};
use crate::sync::resync::{Mode, Progress, Scope};

fn row(finding: &Finding) -> ResyncRow {
    ResyncRow {
        part: Part::Finding,
        name: finding.name(),
        external_id: None,
        match_value: None,
        claimed: false,
        holder: None,
        body: json!(finding),
    }
}

fn differing(id: &str, attributes: &[&str]) -> ResyncRow {
    let id = ExternalId::parse(id).unwrap();
    let attributes = attributes.iter().map(|&attribute| attribute.to_owned()).collect();
    row(&Finding { attributes, ..Finding::new(Class::Differs, Kind::User, Some(id), None) })
}

/// The ids on one page, and the cursor of the next.
async fn page(served: &Served, query: &str) -> (Vec<String>, Value) {
    let answer = served.admin("GET", &format!("/resyncs/r-1/entries?{query}"), VIEWER).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let ids = answer["items"].as_array().unwrap().iter();
    (
        ids.map(|item| item["external_id"].as_str().unwrap().to_owned()).collect(),
        answer["next_cursor"].clone(),
    )
}

#[tokio::test]
async fn a_report_is_read_a_page_at_a_time_by_class_kind_and_attribute() {
    let served = served().await;
    let store = served.parts.store.resyncs();
    let progress = Progress::new(Mode::Report, Scope::All, "ops".to_owned());
    let new = NewResync {
        id: "r-1".to_owned(),
        target: "genesys".to_owned(),
        at: NOW,
        by: None,
        body: json!(progress),
    };
    assert!(store.begin_resync(&new).await.unwrap());
    let group = Finding::new(Class::Missing, Kind::Group, Some(ExternalId::parse("g-1").unwrap()), None);
    let rows = [differing("u-1", &["title"]), differing("u-2", &["title", "active"]), row(&group)];
    store.keep_resync("r-1", Step::rows(rows.to_vec()), &new.body).await.unwrap();

    for (query, expected) in [
        ("", &["g-1", "u-1", "u-2"][..]),
        ("drift=differs", &["u-1", "u-2"]),
        ("drift=extra", &[]),
        ("kind=group", &["g-1"]),
        ("kind=member", &[]),
        ("attribute=active", &["u-2"]),
    ] {
        let (mut ids, next) = page(&served, query).await;
        ids.sort();
        assert_eq!((ids, next), (expected.iter().map(|&id| id.to_owned()).collect(), Value::Null), "{query}");
    }
    let (first, next) = page(&served, "drift=differs&limit=1").await;
    let cursor = next.as_str().unwrap();
    let cursor = percent_encoding::utf8_percent_encode(cursor, percent_encoding::NON_ALPHANUMERIC);
    let (second, next) = page(&served, &format!("drift=differs&limit=1&cursor={cursor}")).await;
    assert_eq!((first.as_slice(), second.as_slice()), (&["u-1".to_owned()][..], &["u-2".to_owned()][..]));
    assert_eq!(next, Value::Null);
}
