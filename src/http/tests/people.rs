use serde_json::{Value, json};

use super::fixture::{Served, VIEWER, served};
use crate::store::Store as _;

/// Has the source say these users, and merges what it said.
async fn say(served: &Served, users: &[(&str, Value)]) {
    let changes: Vec<Value> = users
        .iter()
        .map(|(id, attributes)| json!({"op": "user.upsert", "id": id, "attributes": attributes}))
        .collect();
    let body = json!({ "changes": changes }).to_string().into_bytes();
    assert_eq!(served.hook("of-people", &body).await.status, 202);
    let store = &served.parts.store;
    store.project(&*served.parts.relay.sources, 10).await.unwrap();
}

async fn find(served: &Served, word: &str, cursor: &Value) -> (Vec<(String, String)>, Value) {
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let cursor = cursor.as_str().map(|cursor| format!("&cursor={}", encoded(cursor))).unwrap_or_default();
    let answer = served.admin("GET", &format!("/people?q={}{cursor}", encoded(word)), VIEWER).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let text = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
    let items =
        answer["items"].as_array().unwrap().iter().map(|item| (text(item, "id"), text(item, "found_by")));
    (items.collect(), answer["next_cursor"].clone())
}

#[tokio::test]
async fn somebody_is_found_by_id_at_once_and_by_name_or_address_in_any_case() {
    let served = served().await;
    let jane = json!({"userName": "Jane@Example.com", "displayName": "Jane",
        "emails": [{"value": "J.Doe@example.com", "type": "work"}]});
    say(&served, &[("u-1", jane), ("u-2", json!({"userName": "bob"}))]).await;
    let found = |id: &str, by: &str| vec![(id.to_owned(), by.to_owned())];

    let (ids, next) = find(&served, "u-1", &Value::Null).await;
    assert_eq!((ids, next.is_string()), (found("u-1", "id"), true));
    for (word, expected) in [
        ("jane@example.COM", found("u-1", "user_name")),
        (" j.doe@example.com ", found("u-1", "email")),
        ("BOB", found("u-2", "user_name")),
        ("bo", vec![]),
        ("u-1", vec![]),
    ] {
        let (names, end) = find(&served, word, &next).await;
        assert_eq!((names, end), (expected, Value::Null), "{word}");
    }
    assert_eq!(find(&served, "nobody", &Value::Null).await.0, vec![]);
    assert_eq!(served.admin("GET", "/people?q=a&cursor=7", VIEWER).await.status, 400);
}
