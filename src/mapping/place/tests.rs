use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn a_path_is_written_as_the_schema_spells_it() {
    let enterprise = schema::ENTERPRISE_USER;
    for (text, expected) in [
        ("USERNAME".to_owned(), "userName".to_owned()),
        ("name.givenname".to_owned(), "name.givenName".to_owned()),
        (format!("{}:title", schema::USER), "title".to_owned()),
        (format!("{enterprise}:Department"), format!("{enterprise}:department")),
        (format!("{enterprise}:manager"), format!("{enterprise}:manager")),
        (format!("{enterprise}:manager.value"), format!("{enterprise}:manager")),
        ("emails".to_owned(), "emails".to_owned()),
        ("Emails[TYPE eq \"work\"].VALUE".to_owned(), "emails[type eq \"work\"].value".to_owned()),
        ("emails[primary eq true].value".to_owned(), "emails[primary eq true].value".to_owned()),
        (
            "addresses[type eq \"a.b]\"].streetAddress".to_owned(),
            "addresses[type eq \"a.b]\"].streetAddress".to_owned(),
        ),
        ("urn:example:ext:1.0:User:badge".to_owned(), "urn:example:ext:1.0:User:badge".to_owned()),
    ] {
        assert_eq!(Place::parse(&text).map(|place| place.to_string()), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_place_says_why_and_what_to_write() {
    let enterprise = schema::ENTERPRISE_USER;
    for (text, reason, remedy) in [
        ("emails[0].value", "is not a SCIM path", "emails[type eq"),
        ("shoeSize", "is not an attribute of a SCIM user", "with its URN"),
        ("department", "is not an attribute of a SCIM user", "with its URN"),
        ("id", "the vendor gives it", "remove it"),
        ("externalId", "always the directory's id", "remove it"),
        ("password", "passwords are not relayed", "remove it"),
        ("groups", "memberships are changed at the groups", "remove it"),
        ("name", "has parts", "name.formatted"),
        (enterprise, "has parts", ":employeeNumber"),
        ("emails.value", "does not say which element is meant", "emails[type eq \"work\"].value"),
        ("emails[type eq \"work\"]", "which part of the element", ".value"),
        ("emails[type eq \"work\"].type", "sets what the element is picked by", ".value"),
        ("emails[type ne \"work\"].value", "by more than one eq", "type eq"),
        ("emails[primary eq \"true\"].value", "a value of the wrong type", "type eq"),
        ("emails[colour eq \"red\"].value", "by what it does not have", "type eq"),
        ("title[type eq \"work\"]", "an element of what is not a list", "remove the brackets"),
        ("urn:example:ext:1.0:User:badge.number", "reaches into an extension", "map the whole"),
    ] {
        let fault = Place::parse(text).unwrap_err();
        assert!(fault.reason.contains(reason) && fault.remedy.contains(remedy), "{text}: {fault:?}");
    }
}

#[test]
fn a_value_fits_or_says_what_is_needed() {
    for (path, value, expected) in [
        ("title", json!("Lead"), Ok(json!("Lead"))),
        ("title", json!(7), Ok(json!("7"))),
        ("title", json!(null), Ok(json!(null))),
        ("title", json!(true), Err("a text")),
        ("title", json!(["Lead"]), Err("a text")),
        ("active", json!(true), Ok(json!(true))),
        ("active", json!("true"), Err("true or false")),
        ("emails", json!([{"value": "x"}]), Ok(json!([{"value": "x"}]))),
        ("emails", json!(["x"]), Err("a list of objects")),
        ("emails", json!("x"), Err("a list of objects")),
        ("emails[type eq \"work\"].primary", json!(true), Ok(json!(true))),
        ("urn:example:ext:1.0:User:badge", json!([1]), Ok(json!([1]))),
    ] {
        assert_eq!(Place::parse(path).unwrap().fit(value.clone()), expected, "{path} = {value}");
    }
}

proptest! {
    #[test]
    fn no_path_makes_the_reader_panic(text in "\\PC{0,40}|(emails|name|urn:a:b:c)[.\\[][a-z \".=\\]]{0,20}") {
        if let Ok(place) = Place::parse(&text) {
            prop_assert_eq!(Place::parse(&place.to_string()), Ok(place));
        }
    }
}
