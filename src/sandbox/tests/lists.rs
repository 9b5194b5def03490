use super::*;
use crate::sandbox::settings::Paging;

async fn names(vendor: &Vendor, query: &str) -> Vec<String> {
    let list = vendor.get(&format!("/Users{query}")).await.json();
    let resources = list["Resources"].as_array().unwrap_or_else(|| panic!("{query}: {list}"));
    resources.iter().map(|user| user["userName"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn five() -> Vendor {
    let paging = Paging { count_default: 3, count_max: 4 };
    let vendor = Vendor::with(Behaviour { paging, ..Behaviour::default() }, &[]).await;
    for name in ["c", "a", "E", "b", "d"] {
        let body = json!({
            "schemas": [schema::USER], "userName": name, "externalId": format!("x-{name}"),
            "emails": [{"value": format!("{name}@x"), "type": "work"}]
        });
        assert_eq!(vendor.post("/Users", &body).await.status, 201);
    }
    vendor
}

#[tokio::test]
async fn a_page_is_never_larger_than_the_vendor_likes() {
    let vendor = five().await;
    for (query, expected) in [
        ("", vec!["c", "a", "E"]),
        ("?count=10", vec!["c", "a", "E", "b"]),
        ("?startIndex=4&count=10", vec!["b", "d"]),
        ("?startIndex=0&count=1", vec!["c"]),
        ("?startIndex=-7&count=1", vec!["c"]),
        ("?count=0", vec![]),
        ("?count=-1", vec![]),
        ("?startIndex=6", vec![]),
        ("?sortBy=userName&count=4", vec!["a", "b", "c", "d"]),
        ("?sortBy=emails.value&sortOrder=descending&count=2", vec!["E", "d"]),
        ("?filter=userName+gt+%22b%22&sortBy=userName", vec!["c", "d", "E"]),
    ] {
        assert_eq!(names(&vendor, query).await, expected, "{query}");
    }
    let list = vendor.get("/Users?startIndex=4&count=10").await.json();
    let numbers = ["totalResults", "startIndex", "itemsPerPage"].map(|key| list[key].as_u64().unwrap());
    assert_eq!(numbers, [5, 4, 2]);
    assert_eq!(vendor.get("/Users?count=many").await.status, 400);
}

#[tokio::test]
async fn filters_find_by_index_and_without() {
    let vendor = five().await;
    let id = vendor.get("/Users?filter=userName+eq+%22a%22").await.json()["Resources"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let group = vendor.group("g", &[&id]).await;
    for (filter, expected) in [
        (r#"userName eq "A""#.to_owned(), vec!["a"]),
        (r#"externalId eq "x-a""#.to_owned(), vec!["a"]),
        (r#"externalId eq "X-A""#.to_owned(), vec![]),
        (r#"(externalId eq "x-a") or (externalId eq "x-b")"#.to_owned(), vec!["a", "b"]),
        (r#"externalId eq "x-a" and userName eq "b""#.to_owned(), vec![]),
        (format!(r#"id eq "{id}""#), vec!["a"]),
        (r#"emails[type eq "work" and value sw "d"]"#.to_owned(), vec!["d"]),
        (format!(r#"groups.value eq "{group}""#), vec!["a"]),
        (r#"meta.version eq "W/\"1\"" and userName eq "c""#.to_owned(), vec!["c"]),
        (r#"not (externalId eq "x-a") and userName lt "c""#.to_owned(), vec!["b"]),
    ] {
        let query = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect::<String>();
        let mut found = names(&vendor, &format!("?filter={query}")).await;
        found.sort();
        assert_eq!(found, expected, "{filter}");
    }
    let probe = format!(r#"id eq "{group}" and members eq "{id}""#);
    let query = url::form_urlencoded::byte_serialize(probe.as_bytes()).collect::<String>();
    assert_eq!(vendor.get(&format!("/Groups?filter={query}")).await.json()["totalResults"], 1);
    let bad = vendor.get("/Users?filter=userName+is+1").await;
    assert_eq!((bad.status, bad.scim_type().as_str()), (400, "invalidFilter"));
}

#[tokio::test]
async fn attributes_are_chosen_in_lists_reads_and_searches() {
    let vendor = five().await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let list = vendor.get("/Users?attributes=userName&count=1").await.json();
    assert_eq!(keys(&list["Resources"][0]), ["id", "schemas", "userName"]);
    let id = list["Resources"][0]["id"].as_str().unwrap();
    let one = vendor.get(&format!("/Users/{id}?excludedAttributes=emails,meta,externalId")).await.json();
    assert_eq!(keys(&one), ["id", "schemas", "userName"]);
    let search = json!({
        "schemas": [schema::SEARCH_REQUEST], "attributes": ["userName"], "filter": "userName eq \"c\"",
        "startIndex": 1, "count": 10
    });
    for path in ["/Users/.search", "/.search"] {
        let found = vendor.post(path, &search).await.json();
        assert_eq!(
            (found["totalResults"].as_u64(), keys(&found["Resources"][0]).len()),
            (Some(1), 3),
            "{path}"
        );
    }
    assert_eq!(vendor.post("/Groups/.search", &search).await.json()["totalResults"], 0);
}

#[tokio::test]
async fn the_service_describes_itself() {
    let vendor = Vendor::strict().await;
    let config = vendor.get("/ServiceProviderConfig").await.json();
    assert_eq!((&config["patch"]["supported"], &config["bulk"]["supported"]), (&json!(true), &json!(false)));
    assert_eq!(config["filter"]["maxResults"], 1_000);
    let types = vendor.get("/ResourceTypes").await.json();
    assert_eq!(types["totalResults"], 2);
    let schemas = vendor.get("/Schemas").await.json();
    let ids: Vec<&str> =
        schemas["Resources"].as_array().unwrap().iter().filter_map(|s| s["id"].as_str()).collect();
    assert_eq!(ids, [schema::USER, schema::GROUP, schema::ENTERPRISE_USER]);
    assert_eq!(vendor.post("/Bulk", &json!({})).await.status, 501);
    assert_eq!(vendor.get("/Nothing").await.status, 404);
    assert_eq!(vendor.put("/Users", &json!({})).await.status, 405);
}
