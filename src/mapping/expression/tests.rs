use std::ops::Add;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::mapping::fixture::subject;

fn jane() -> Subject {
    subject(&json!({
        "userName": "jane@example.com",
        "name": {"givenName": "Jane", "familyName": "Doe"},
        "emails": [
            {"value": "jane@example.com", "type": "work", "primary": true},
            {"value": "jane@home.example", "type": "home"},
        ],
        "department": "SUPPORT", "manager": "u-7", "title": null,
        "urn:example:ext:1.0:User": {"badge": 7, "remote": false},
    }))
}

fn evaluate(source: &str, subject: &Subject) -> Result<Value, String> {
    let expression = Expression::compile(source).map_err(|faults| format!("{faults:?}"))?;
    expression.evaluate(subject).map_err(|error| error.to_string())
}

#[test]
fn a_user_is_a_plain_object_under_scims_names() {
    for (source, expected) in [
        ("user.id", json!("u-1")),
        ("user.active", json!(true)),
        ("user.userName", json!("jane@example.com")),
        ("user.name.givenName + ' ' + user.name.familyName", json!("Jane Doe")),
        ("user.department", json!("SUPPORT")),
        ("user.manager", json!("u-7")),
        (
            r#"user["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"].department"#,
            json!("SUPPORT"),
        ),
        (r#"user["urn:example:ext:1.0:User"].badge + 1"#, json!(8)),
        ("user.emails.filter(e, e.type == 'home')[0].value", json!("jane@home.example")),
        ("user.emails.map(e, e.value)", json!(["jane@example.com", "jane@home.example"])),
        ("{'value': user.userName, 'primary': true}", json!({"value": "jane@example.com", "primary": true})),
        ("user.department in ['SUPPORT', 'SALES']", json!(true)),
        ("user.userName.split('@')[1]", json!("example.com")),
        ("user.userName.matches('^[a-z]+@example[.]com$')", json!(true)),
    ] {
        assert_eq!(evaluate(source, &jane()), Ok(expected), "{source}");
    }
}

#[test]
fn what_is_absent_is_null_and_null_answers_no() {
    let nobody = subject(&json!({}));
    for (source, expected) in [
        ("user.department == 'SUPPORT'", json!(false)),
        ("user.department != 'SUPPORT'", json!(true)),
        ("'SUPPORT' == user.department", json!(false)),
        ("user.department in ['SUPPORT', 'SALES']", json!(false)),
        ("user.department == null && null == user.department", json!(true)),
        ("has(user.department)", json!(false)),
        ("has(user.name.givenName)", json!(false)),
        ("user.name.givenName", json!(null)),
        ("user.emails.exists(e, e.type == 'work')", json!(false)),
        ("user.emails.all(e, e.type == 'work')", json!(true)),
        ("user.emails.filter(e, e.type == 'work')[0].value", json!(null)),
        ("user.emails[0].value", json!(null)),
        ("'admin' in user.entitlements", json!(false)),
        ("size(user.emails) + user.roles.size()", json!(0)),
        (
            "user.title.contains('Lead') || user.title.startsWith('L') || user.title.endsWith('d')",
            json!(false),
        ),
        ("user.title.matches('.*')", json!(false)),
        ("user.title.lowerAscii() == 'lead'", json!(false)),
        (r#"user["urn:example:none"].badge == 7"#, json!(false)),
        ("has(user.nickName) ? user.nickName : user.id", json!("u-1")),
        ("user.active", json!(true)),
    ] {
        assert_eq!(evaluate(source, &nobody), Ok(expected), "{source}");
    }
    assert_eq!(evaluate("has(user.title)", &jane()), Ok(json!(false)), "null is absent");
    assert_eq!(evaluate("user.emails.exists(e, has(e.primary))", &jane()), Ok(json!(true)));
}

#[test]
fn an_error_names_types_and_never_values() {
    for (source, expected) in [
        ("user.userName + 1", "`add` cannot be applied to a text and a number"),
        ("user.title + 'x'", "`add` cannot be applied to null and a text"),
        ("user.userName.title", "`_[_]` cannot be applied to (string, string)"),
        ("user.userName && true", "`_&&_` cannot be applied to (string, bool)"),
        ("user.department < 3", "`_<_` cannot be applied to (string, int)"),
        ("user.title < 'a'", "an absent attribute is null_type"),
        ("int(user.userName)", "`int` fails on its arguments"),
        ("1 / (user.emails.size() - 2)", "division by zero"),
        ("9223372036854775807 + user.emails.size()", "leaves the range of numbers"),
        ("user.emails['x']", "is needed where string is given"),
        ("b'bytes'", "the result is bytes, where a JSON value is needed"),
        ("optional.of(1)", "the result is an optional value, where a JSON value is needed"),
    ] {
        let error = evaluate(source, &jane()).unwrap_err();
        assert!(error.contains(expected), "{source}: {error}");
        for value in ["jane", "SUPPORT", "Doe"] {
            assert!(!error.contains(value), "{source}: {error}");
        }
    }
}

#[test]
fn a_condition_is_true_or_false_and_nothing_else() {
    let holds = |source: &str| Expression::compile(source).unwrap().holds(&jane());
    assert_eq!(holds("user.active"), Ok(true));
    let wanted = "true or false";
    assert_eq!(holds("user.userName"), Err(EvaluationError::Result { given: "a text", wanted }));
    assert_eq!(holds("user.title"), Err(EvaluationError::Result { given: "null", wanted }));
}

#[test]
fn every_fault_of_a_text_is_told_at_its_place() {
    for (source, expected) in [
        ("", vec![(1, 1, "")]),
        ("user.department ==", vec![(1, 19, "")]),
        ("user.department == SUPPORT", vec![(1, 20, "there is no variable `SUPPORT`")]),
        (
            "departement == 'A' ||\n  size(users) > 1",
            vec![(1, 1, "no variable `departement`"), (2, 8, "no variable `users`")],
        ),
        ("lower(user.userName)", vec![(1, 1, "there is no function `lower`")]),
        ("user.userName.lower() == 'x'", vec![(1, 15, "there is no function `lower`")]),
        ("user.emails.exists(e, e.value == f)", vec![(1, 34, "there is no variable `f`")]),
        ("Email{value: 'x'}", vec![(1, 1, "there is no type `Email`")]),
    ] {
        let faults = Expression::compile(source).unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| (fault.line, fault.column)).collect();
        let wanted: Vec<_> = expected.iter().map(|(line, column, _)| (*line, *column)).collect();
        assert_eq!(places, wanted, "{source}: {faults:?}");
        for (fault, (.., reason)) in faults.iter().zip(&expected) {
            assert!(fault.reason.contains(reason), "{source}: {faults:?}");
            assert!(!fault.remedy.is_empty(), "{source}");
        }
    }
}

#[test]
fn what_would_run_long_is_refused() {
    let long = subject(&json!({"emails": vec![json!({"value": "x"}); 501]}));
    let error = evaluate("user.emails.size()", &long).unwrap_err();
    assert_eq!(error, "emails has over 500 elements");
    let deep = |depth| Expression::compile(&("(".repeat(depth) + "1" + &")".repeat(depth)));
    assert!(deep(2_000).is_ok());
    assert!(Expression::compile(&"1+".repeat(20).add("1")).is_ok());
    assert!(Expression::compile(&"1+".repeat(30).add("1")).is_err());
    assert!(Expression::compile(&"x".repeat(4_097)).is_err());
    for chain in ["1+", "true&&", "true?1:", "!", "-", "user."] {
        let source = chain.repeat((4_096 - 4) / chain.len()) + "true";
        if let Ok(expression) = Expression::compile(&source) {
            let _ = expression.evaluate(&jane());
        }
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("value|type|primary|[a-z]{1,3}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Expressions that touch attributes in every way that the language has.
const PROBES: &[&str] = &[
    "user.title",
    "user.title == 'x' || user.nickName.contains('a')",
    "user.title < user.nickName",
    "user.title + user.nickName",
    "user.title * 2 - 1",
    "-user.title",
    "user.title / user.nickName",
    "user.title % user.nickName",
    "user.title[user.nickName]",
    "user.title[0].value.type",
    "user.title in user.nickName",
    "has(user.title.value.type)",
    "user.title.exists(x, x.value == user.nickName)",
    "user.title.map(x, x + x)",
    "user.title.matches(user.nickName)",
    "user.title.replace(user.nickName, 'b')",
    "user.title.substring(user.nickName)",
    "user.title.substring(1, 3)",
    "user.title.charAt(user.nickName)",
    "user.title.indexOf(user.nickName)",
    "user.title.split(user.nickName)",
    "user.title.join(user.nickName)",
    "user.title.format([user.nickName])",
    "'%s %d %f'.format([user.title, user.nickName, user.title])",
    "int(user.title) + uint(user.nickName)",
    "double(user.title)",
    "string(user.title) + type(user.nickName)",
    "{user.title: user.nickName}",
    "user.title ? 1 : 2",
    "!user.title",
    "user.title.lowerAscii().trim().reverse()",
];

proptest! {
    #[test]
    fn no_attribute_makes_an_expression_panic(title in anything(), nick in anything()) {
        let subject = subject(&json!({"title": title, "nickName": nick}));
        for source in PROBES {
            let expression = Expression::compile(source);
            prop_assert!(expression.is_ok(), "{source}: {expression:?}");
            let _ = expression.unwrap().evaluate(&subject);
        }
    }
}
