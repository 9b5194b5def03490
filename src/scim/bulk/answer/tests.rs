use proptest::prelude::*;
use serde_json::json;

use super::*;

fn operation(method: &str, path: &str, bulk_id: &str) -> Operation {
    Operation {
        method: method.parse().unwrap(),
        path: path.to_owned(),
        bulk_id: bulk_id.to_owned(),
        version: None,
        data: None,
    }
}

/// A creation, two changes, a deletion.
fn sent() -> Vec<Operation> {
    vec![
        operation("POST", "Users", "a"),
        operation("PATCH", "Users/7", "b"),
        operation("PATCH", "Groups/a%2Fb", "c"),
        operation("DELETE", "Users/8", "d"),
    ]
}

fn statuses(answer: &Value) -> Vec<Option<u16>> {
    let entries = parse(answer.to_string().as_bytes()).unwrap();
    correlate(&sent(), entries).into_iter().map(|entry| entry.and_then(|entry| entry.status)).collect()
}

#[test]
fn the_list_and_the_statuses_are_read_in_every_dialect() {
    let in_form = |form: fn(u16) -> Value| {
        let entries = [("a", 201), ("b", 200), ("c", 412), ("d", 204)]
            .map(|(name, status)| json!({"bulkId": name, "status": form(status)}));
        json!(entries)
    };
    let forms: [fn(u16) -> Value; 5] = [
        |status| json!(status.to_string()),
        |status| json!(status),
        |status| json!({ "code": status.to_string() }),
        |status| json!({ "code": status }),
        |status| json!(format!("{status} as the phrase says")),
    ];
    for form in forms {
        for key in ["Operations", "operations", "responses", "Responses"] {
            let mut answer = Map::new();
            answer.insert(key.to_owned(), in_form(form));
            let answer = Value::Object(answer);
            assert_eq!(statuses(&answer), [Some(201), Some(200), Some(412), Some(204)], "{answer}");
        }
    }
}

#[test]
fn what_is_no_list_of_operations_says_nothing() {
    for body in ["", "[]", "{}", "<html>", r#"{"Operations":{}}"#, r#"{"responses":"ok"}"#] {
        assert_eq!(parse(body.as_bytes()), Err(NoBulkAnswer), "{body}");
    }
    assert_eq!(parse(br#"{"Operations":[]}"#), Ok(vec![]));
}

#[test]
fn an_entry_says_where_the_resource_is_and_in_which_version() {
    let entries = parse(
        json!({"Operations": [
            {"method": "post", "bulkId": "a", "status": "201", "location": "https://x/Users/9", "version": "W/\"1\"", "response": {"id": "9"}},
            {"bulkId": "b", "status": "409", "response": "Conflict", "location": ""},
        ]})
        .to_string()
        .as_bytes(),
    )
    .unwrap();
    assert_eq!(entries[0].method.as_deref(), Some("POST"));
    assert_eq!(entries[0].location.as_deref(), Some("https://x/Users/9"));
    assert_eq!(entries[0].version.as_ref().unwrap().as_str(), "W/\"1\"");
    assert_eq!(entries[0].response, Some(json!({"id": "9"})));
    assert_eq!((&entries[1].location, &entries[1].response), (&None, &Some(json!("Conflict"))));
}

/// Each case: the answer, and what is then known of the four operations.
#[test]
fn operations_and_entries_belong_together_only_where_that_is_certain() {
    for (what, answer, expected) in [
        (
            "by name, in any order",
            json!([{"bulkId": "d", "status": 204}, {"bulkId": "a", "status": 201}, {"bulkId": "c", "status": 200}, {"bulkId": "b", "status": 404}]),
            [Some(201), Some(404), Some(200), Some(204)],
        ),
        (
            "by method and location, in any order; a creation's place is not known before",
            json!([
                {"method": "DELETE", "location": "https://x/v2/Users/8", "status": 204},
                {"method": "PATCH", "location": "/Groups/a%2fb/", "status": 200},
                {"method": "PATCH", "location": "https://x/v2/Users/7?a=b", "status": 412},
            ]),
            [None, Some(412), Some(200), Some(204)],
        ),
        (
            "by position, but no creation",
            json!([{"status": 201}, {"status": 200}, {"status": 412}, {"status": 204}]),
            [None, Some(200), Some(412), Some(204)],
        ),
        ("by position only where the counts match", json!([{"status": 200}, {"status": 412}]), [None; 4]),
        (
            "by position only where no method is out of place",
            json!([{"status": 201}, {"status": 200, "method": "DELETE"}, {"status": 412}, {"status": 204}]),
            [None; 4],
        ),
        (
            "by position only where no name is out of place",
            json!([{"status": 201}, {"status": 200}, {"status": 412}, {"status": 204, "bulkId": "b"}]),
            [None, Some(204), None, None],
        ),
        (
            "a place with the other's method or another id is nobody's",
            json!([
                {"method": "DELETE", "location": "https://x/Users/7", "status": 204},
                {"method": "PATCH", "location": "https://x/Users/17", "status": 200},
            ]),
            [None; 4],
        ),
        (
            "a place alone will do, and the position does not count against it",
            json!([
                {"location": "https://x/Users/8", "status": 204},
                {"location": "https://x/Users/9", "status": 200},
                {"location": "https://x/Users/10", "status": 200},
                {"location": "https://x/Users/7", "status": 200},
            ]),
            [None, Some(200), None, Some(204)],
        ),
        (
            "a name that was not given is nobody's",
            json!([{"bulkId": "z", "status": 200, "method": "PATCH", "location": "https://x/Users/7"}]),
            [None; 4],
        ),
        (
            "two entries that disagree are both not believed, two that agree are one",
            json!([{"bulkId": "a", "status": 201}, {"bulkId": "a", "status": 409}, {"bulkId": "b", "status": 200}, {"bulkId": "b", "status": "200"}]),
            [None, Some(200), None, None],
        ),
        (
            "a status that is none is no answer",
            json!([{"bulkId": "a", "status": "ok"}, {"bulkId": "b"}, {"bulkId": "c", "status": 102}, {"bulkId": "d", "status": {"code": {}}}]),
            [None; 4],
        ),
        ("what is no object", json!(["a", null, 7]), [None; 4]),
        ("nothing", json!([]), [None; 4]),
    ] {
        assert_eq!(statuses(&json!({ "Operations": answer })), expected, "{what}");
    }
}

proptest! {
    /// A service that names its entries may reorder them and leave some out.
    #[test]
    fn by_name_nobody_gets_what_is_anothers(
        answers in prop::collection::vec((200..600u16, any::<bool>()), 0..20),
        rotation in 0..20usize,
    ) {
        let sent: Vec<_> = (0..answers.len())
            .map(|number| operation(["POST", "PATCH", "DELETE"][number % 3], &format!("Users/{number}"), &format!("op{number}")))
            .collect();
        let mut entries: Vec<_> = answers
            .iter()
            .enumerate()
            .filter(|(_, (_, answered))| *answered)
            .map(|(number, (status, _))| json!({"bulkId": format!("op{number}"), "status": status}))
            .collect();
        if !entries.is_empty() {
            let by = rotation % entries.len();
            entries.rotate_left(by);
        }
        let found = correlate(&sent, parse(json!({ "Operations": entries }).to_string().as_bytes()).unwrap());
        let found: Vec<_> = found.into_iter().map(|entry| entry.and_then(|entry| entry.status)).collect();
        let expected: Vec<_> = answers.iter().map(|(status, answered)| answered.then_some(*status)).collect();
        prop_assert_eq!(found, expected);
    }

    /// Whatever a service sends, there is at most one entry for each operation and no panic.
    #[test]
    fn any_answer_is_read(names in prop::collection::vec(prop::option::of("[a-e]"), 0..8), status in any::<u16>()) {
        let entries: Vec<_> = names.iter().map(|name| json!({"bulkId": name, "status": status})).collect();
        let entries = parse(json!({ "responses": entries }).to_string().as_bytes()).unwrap();
        prop_assert_eq!(correlate(&sent(), entries).len(), 4);
    }
}
