//! Writing a filter, for the client's side.

use serde_json::Value;

/// `attribute eq "value"`, with the value escaped as JSON so that no quote in it ends the string.
pub fn eq(attribute: &str, value: &str) -> String {
    format!("{attribute} eq {}", Value::from(value))
}

/// One of `filters` holds. Each side stands in parentheses: some services give `and` no precedence
/// over `or`. An empty list gives an empty filter, which matches everything, so do not send it.
pub fn any_of(filters: &[String]) -> String {
    match filters {
        [only] => only.clone(),
        filters => filters.iter().map(|filter| format!("({filter})")).collect::<Vec<_>>().join(" or "),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scim::filter::{Comparison, Filter, parse};
    use crate::scim::path::AttributePath;

    fn compare(name: &str, value: &str) -> Filter {
        Filter::Compare(AttributePath::parse(name).unwrap(), Comparison::Equal, value.into())
    }

    #[test]
    fn each_side_of_an_or_is_parenthesised() {
        let sides = [eq("id", "1"), eq("id", "2")];
        assert_eq!(any_of(&sides), r#"(id eq "1") or (id eq "2")"#);
        assert_eq!(any_of(&sides[..1]), r#"id eq "1""#);
    }

    proptest! {
        #[test]
        fn any_value_is_read_back_as_it_was(values in prop::collection::vec(any::<String>(), 2..5)) {
            let sides: Vec<String> = values.iter().map(|value| eq("userName", value)).collect();
            let expected = Filter::Or(values.iter().map(|value| compare("userName", value)).collect());
            prop_assert_eq!(parse(&any_of(&sides)).unwrap(), expected);
        }
    }
}
