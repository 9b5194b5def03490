use serde_json::{Value, json};

use super::admin::park;
use super::fixture::{VIEWER, served};

#[tokio::test]
async fn the_ledger_is_filtered_by_each_of_its_filters() {
    let served = served().await;
    park(&served, &["u-1", "u-2"]).await;
    for (query, expected) in [
        ("", &["u-2", "u-1"][..]),
        ("target=genesys", &["u-2", "u-1"]),
        ("target=other", &[]),
        ("resource=user:u-1", &["u-1"]),
        ("resource=group:u-1", &[]),
        ("kind=user&id=u-2", &["u-2"]),
        ("outcome=refused", &["u-2", "u-1"]),
        ("outcome=applied", &[]),
        ("from=2026-11-20T10:00:01Z", &["u-2"]),
        ("until=2026-11-20T11:00:01%2B01:00", &["u-1"]),
        ("limit=1", &["u-2"]),
    ] {
        let page = served.admin("GET", &format!("/ledger?{query}"), VIEWER).await.json();
        let ids: Vec<_> = page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        assert_eq!(ids, expected, "{query}");
    }
}

#[tokio::test]
async fn the_ledger_is_written_as_the_caller_likes() {
    let served = served().await;
    park(&served, &["u-1", "u-2"]).await;
    let get = async |accept| served.admin_with("GET", "/ledger?limit=1", VIEWER, &[("accept", accept)]).await;
    let entry = json!({
        "sequence": 2, "at": "2026-11-20T10:00:01Z", "target": "genesys", "kind": "user", "id": "u-2",
        "generation": 1, "operation": "delete", "call": "DELETE Users/{id}", "status": 400,
        "outcome": "refused", "etag_before": "W/\"1\"", "etag_after": null, "elapsed_us": 1500,
        "detail": "the vendor, \"Acme\", does not like it", "events": ["of-u-2"],
        "actor": null,
    });

    let as_json = get("application/json").await;
    let mut listed = as_json.json()["items"][0].clone();
    listed["generation"] = json!(1);
    assert_eq!(listed, entry);
    let cursor = as_json.json()["next_cursor"].as_str().unwrap().to_owned();
    let link = format!("</admin/v1/ledger?limit=1&cursor={cursor}>; rel=\"next\"");
    assert_eq!(as_json.header("link"), Some(link.as_str()));

    let as_lines = get("application/x-ndjson").await;
    assert_eq!(as_lines.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(as_lines.header("link"), Some(link.as_str()));
    let lines: Vec<Value> = as_lines.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [as_json.json()["items"][0].clone()]);

    let as_rows = get("text/csv").await;
    assert_eq!(as_rows.header("content-type"), Some("text/csv; charset=utf-8"));
    let mut rows = csv::Reader::from_reader(as_rows.body.as_bytes());
    let heading = rows.headers().unwrap().clone();
    let row = rows.records().next().unwrap().unwrap();
    let mut names: Vec<_> = heading.iter().collect();
    names.sort_unstable();
    assert_eq!(names, entry.as_object().unwrap().keys().collect::<Vec<_>>());
    let column = |name| row[heading.iter().position(|own| own == name).unwrap()].to_owned();
    assert_eq!(column("detail"), "the vendor, \"Acme\", does not like it");
    assert_eq!((column("etag_after"), column("events")), (String::new(), "of-u-2".to_owned()));

    let neither = get("text/html").await;
    assert_eq!(neither.status, 406);
    assert!(neither.detail().contains("text/csv"));
    let last = served.admin("GET", &format!("/ledger?limit=1&cursor={cursor}"), VIEWER).await;
    assert_eq!((last.json()["items"][0]["id"].as_str(), last.header("link")), (Some("u-1"), None));
}
