use serde_json::json;

use super::admin::park;
use super::fixture::{OPERATOR, VIEWER, served};

#[tokio::test]
async fn a_story_is_told_from_either_end_and_says_why() {
    let served = served().await;
    park(&served, &["u-1", "u-2"]).await;
    let path = "/directories/corp/users/u-1/timeline";
    let story = served.admin("GET", path, VIEWER).await.json();
    let whats: Vec<_> = story["items"].as_array().unwrap().iter().map(|item| item["what"].clone()).collect();
    assert_eq!(whats, ["action", "change"]);
    let standing = &story["present"]["targets"]["genesys"];
    assert_eq!(standing["work"], "parked");
    assert!(standing["words"].as_str().unwrap().ends_with("the vendor does not like it"), "{standing}");

    let first = served.admin("GET", &format!("{path}?order=oldest&limit=1"), VIEWER).await.json();
    assert_eq!(first["items"][0]["words"], "hr said user.delete: merged");
    assert_eq!(first["items"][0]["event_id"], "of-u-1");
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = served.admin("GET", &format!("{path}?order=oldest&cursor={cursor}"), VIEWER).await.json();
    assert_eq!((&rest["items"][0]["outcome"], &rest["next_cursor"]), (&json!("refused"), &json!(null)));
}

#[tokio::test]
async fn a_story_that_nobody_has_told_is_refused_in_words() {
    let served = served().await;
    for (path, status) in [
        ("/directories/corp/users/u-1/timeline", 404),
        ("/directories/other/groups/g/timeline", 404),
        ("/directories/corp/users/u-1/timeline?cursor=7", 400),
        ("/directories/corp/users/u-1/timeline?order=sideways", 400),
    ] {
        let answer = served.admin("GET", path, VIEWER).await;
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test]
async fn an_export_without_a_limit_is_everything() {
    let served = served().await;
    park(&served, &["=u-1", "u-2"]).await;
    let export = served.admin_with("GET", "/ledger", VIEWER, &[("accept", "text/csv")]).await;
    assert_eq!(export.header("content-type"), Some("text/csv; charset=utf-8"));
    let mut rows = csv::Reader::from_reader(export.body.as_bytes());
    let ids: Vec<_> = rows.records().map(|row| row.unwrap()[4].to_owned()).collect();
    assert_eq!(ids, ["u-2", "'=u-1"]);
    let lines = served
        .admin_with("GET", "/ledger?operation=delete", VIEWER, &[("accept", "application/x-ndjson")])
        .await;
    assert_eq!(lines.body.lines().count(), 2);
    assert_eq!(served.admin("GET", "/ledger?operation=create", VIEWER).await.json()["items"], json!([]));
}

#[tokio::test]
async fn an_order_is_refused_where_nothing_could_come_of_it() {
    let served = served().await;
    park(&served, &["u-1"]).await;
    for (path, key, status) in [
        ("/targets/genesys/users/u-1/sync", VIEWER, 403),
        ("/targets/other/users/u-1/sync", OPERATOR, 404),
        ("/targets/genesys/users/u-9/sync", OPERATOR, 404),
        ("/targets/genesys/groups/u-1/sync", OPERATOR, 404),
    ] {
        assert_eq!(served.admin("POST", path, key).await.status, status, "{path}");
    }
    assert_eq!(served.admin("POST", "/targets/genesys/pause", OPERATOR).await.status, 200);
    let paused = served.admin("POST", "/targets/genesys/users/u-1/sync", OPERATOR).await;
    assert_eq!(paused.status, 409);
    assert!(paused.detail().contains("paused by ops"), "{}", paused.detail());
    let path = "/directories/corp/users/u-1/timeline";
    let story = served.admin("GET", path, VIEWER).await.json();
    assert_eq!(story["present"]["targets"]["genesys"]["work"], "parked", "nothing was touched");
}
