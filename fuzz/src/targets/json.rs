//! JSON, read strictly: what it takes, everybody reads the same.

use scim_relay::source::parse_json;
use serde_json::Value;

use super::texts;

pub fn parse(input: &[u8]) {
    if let Ok(value) = parse_json(input) {
        let plain: Value = serde_json::from_slice(input).expect("what is strictly JSON is JSON");
        assert_eq!(plain, value, "both readers see the same");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"a":[1,-2.5e3,true,null,"\u00e9\ud83d\ude00"],"b":{"c":{}}}"#,
        "[[[[[]]]]]",
        r#"{"a":1,"a":2}"#,
        "18446744073709551616",
    ])
}
