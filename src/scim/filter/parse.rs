//! Reading a filter: recursive descent with bounded depth. `and` binds tighter than `or`.

use serde_json::Value;

use super::{BYTES_MAX, Comparison, DEPTH_MAX, Filter, FilterError};
use crate::scim::path::AttributePath;

/// Reads a whole filter.
pub fn parse(text: &str) -> Result<Filter, FilterError> {
    read(text, false)
}

/// Reads the filter between the brackets of a value path. It may not hold a value path itself.
pub fn parse_value_filter(text: &str) -> Result<Filter, FilterError> {
    read(text, true)
}

fn read(text: &str, in_value: bool) -> Result<Filter, FilterError> {
    if text.len() > BYTES_MAX {
        return Err(FilterError::TooLong);
    }
    let mut parser = Parser { text, at: 0, in_value };
    let filter = parser.or(0)?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.expected("`and`, `or` or the end"));
    }
    Ok(filter)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    in_value: bool,
}

impl<'a> Parser<'a> {
    fn or(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut sides = vec![self.and(depth)?];
        while self.take_keyword("or") {
            sides.push(self.and(depth)?);
        }
        Ok(single(sides, Filter::Or))
    }

    fn and(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut sides = vec![self.term(depth)?];
        while self.take_keyword("and") {
            sides.push(self.term(depth)?);
        }
        Ok(single(sides, Filter::And))
    }

    fn term(&mut self, depth: usize) -> Result<Filter, FilterError> {
        if depth >= DEPTH_MAX {
            return Err(FilterError::TooDeep);
        }
        if self.take('(') {
            return self.group(depth);
        }
        let before = self.at;
        if self.take_keyword("not") {
            if self.take('(') {
                return Ok(Filter::Not(Box::new(self.group(depth)?)));
            }
            self.at = before;
        }
        self.expression(depth)
    }

    /// What follows an opening parenthesis, up to and with the closing one.
    fn group(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let inner = self.or(depth + 1)?;
        if self.take(')') { Ok(inner) } else { Err(self.expected("`)`")) }
    }

    fn expression(&mut self, depth: usize) -> Result<Filter, FilterError> {
        self.skip_space();
        let start = self.at;
        let Some(path) = AttributePath::parse(self.word()) else {
            self.at = start;
            return Err(self.expected("an attribute"));
        };
        if self.text[self.at..].starts_with('[') {
            return self.value_path(path, depth);
        }
        self.skip_space();
        let start = self.at;
        let operator = self.word();
        if operator.eq_ignore_ascii_case("pr") {
            return Ok(Filter::Present(path));
        }
        let Some(comparison) = comparison(operator) else {
            self.at = start;
            return Err(self.expected("an operator"));
        };
        let literal = self.literal()?;
        Ok(Filter::Compare(path, comparison, literal))
    }

    fn value_path(&mut self, path: AttributePath, depth: usize) -> Result<Filter, FilterError> {
        if self.in_value {
            return Err(self.expected("an operator"));
        }
        self.at += 1;
        self.in_value = true;
        let inner = self.or(depth + 1)?;
        self.in_value = false;
        if self.take(']') { Ok(Filter::Values(path, Box::new(inner))) } else { Err(self.expected("`]`")) }
    }

    /// A JSON string, number, `true`, `false` or `null`.
    fn literal(&mut self) -> Result<Value, FilterError> {
        self.skip_space();
        let start = self.at;
        let raw = if self.text[start..].starts_with('"') { self.quoted() } else { self.word() };
        match serde_json::from_str(raw) {
            Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))) => Ok(value),
            Ok(Value::Array(_) | Value::Object(_)) | Err(_) => {
                self.at = start;
                Err(self.expected("a quoted string, a number, true, false or null"))
            }
        }
    }

    /// From the opening quote to the closing one, or to the end when there is none.
    fn quoted(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|&(_, c)| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let end = end.map_or(rest.len(), |(at, _)| at + 1);
        self.at += end;
        &rest[..end]
    }

    /// Everything up to a space, bracket, parenthesis or quote.
    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let stops = |c: char| c.is_ascii_whitespace() || matches!(c, '(' | ')' | '[' | ']' | '"');
        let end = rest.find(stops).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let before = self.at;
        self.skip_space();
        let taken = self.word().eq_ignore_ascii_case(keyword);
        if !taken {
            self.at = before;
        }
        taken
    }

    fn take(&mut self, symbol: char) -> bool {
        self.skip_space();
        let taken = self.text[self.at..].starts_with(symbol);
        if taken {
            self.at += symbol.len_utf8();
        }
        taken
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_ascii_start().len();
    }

    fn expected(&self, expected: &'static str) -> FilterError {
        FilterError::Syntax { at: self.at, expected }
    }
}

fn single(mut sides: Vec<Filter>, join: fn(Vec<Filter>) -> Filter) -> Filter {
    match sides.pop() {
        Some(only) if sides.is_empty() => only,
        Some(last) => {
            sides.push(last);
            join(sides)
        }
        None => join(sides),
    }
}

fn comparison(word: &str) -> Option<Comparison> {
    const WORDS: [(&str, Comparison); 9] = [
        ("eq", Comparison::Equal),
        ("ne", Comparison::NotEqual),
        ("co", Comparison::Contains),
        ("sw", Comparison::StartsWith),
        ("ew", Comparison::EndsWith),
        ("gt", Comparison::Greater),
        ("ge", Comparison::GreaterOrEqual),
        ("lt", Comparison::Less),
        ("le", Comparison::LessOrEqual),
    ];
    WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, comparison)| *comparison)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn equal(name: &str, value: Value) -> Filter {
        Filter::Compare(AttributePath::parse(name).unwrap(), Comparison::Equal, value)
    }

    #[test]
    fn and_binds_tighter_than_or_and_parentheses_tighter_still() {
        let [a, b, c] = ["a", "b", "c"].map(|name| equal(name, json!(1)));
        assert_eq!(
            parse("a eq 1 or b eq 1 and c eq 1").unwrap(),
            Filter::Or(vec![a.clone(), Filter::And(vec![b.clone(), c.clone()])])
        );
        assert_eq!(
            parse("(a eq 1 OR b eq 1) And c eq 1").unwrap(),
            Filter::And(vec![Filter::Or(vec![a, b]), c])
        );
    }

    #[test]
    fn literals_are_json() {
        for (text, value) in [
            (r#""a \"b\" \\ é""#, json!("a \"b\" \\ é")),
            ("true", json!(true)),
            ("null", Value::Null),
            ("-1.5", json!(-1.5)),
        ] {
            assert_eq!(parse(&format!("x eq {text}")).unwrap(), equal("x", value), "{text}");
        }
    }

    #[test]
    fn not_needs_a_group_and_is_else_an_attribute() {
        assert_eq!(parse("not(a eq 1)").unwrap(), Filter::Not(Box::new(equal("a", json!(1)))));
        assert_eq!(parse("not  (a eq 1)").unwrap(), Filter::Not(Box::new(equal("a", json!(1)))));
        assert_eq!(parse("not eq 1").unwrap(), equal("not", json!(1)));
    }

    #[test]
    fn a_value_path_holds_a_filter_of_its_own() {
        let filter = parse("emails[type eq \"work\" and value co \"@x\"] and active eq true").unwrap();
        let Filter::And(sides) = filter else { panic!("an and was expected") };
        assert!(matches!(&sides[0], Filter::Values(path, _) if path.name == "emails"));
    }

    #[test]
    fn what_is_not_in_the_grammar_is_refused_with_its_place() {
        for (text, at) in [
            ("", 0),
            ("userName", 8),
            ("userName eq", 11),
            ("userName is \"a\"", 9),
            ("userName eq a", 12),
            ("userName eq 'a'", 12),
            ("userName eq \"a", 12),
            ("userName eq [1]", 12),
            ("userName eq \"a\" and", 19),
            ("userName eq \"a\" xor b pr", 16),
            ("(userName pr", 12),
            ("userName pr)", 11),
            ("emails[type eq \"a\"", 18),
            ("emails[type[a pr]]", 11),
            ("[type pr]", 0),
        ] {
            let Err(FilterError::Syntax { at: found, .. }) = parse(text) else { panic!("{text} was read") };
            assert_eq!(found, at, "{text}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |depth: usize| format!("{}a pr{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse(&nested(DEPTH_MAX - 1)).is_ok());
        assert_eq!(parse(&nested(DEPTH_MAX)), Err(FilterError::TooDeep));
        assert_eq!(parse(&nested(20_000)), Err(FilterError::TooDeep));
        assert_eq!(parse(&nested(BYTES_MAX)), Err(FilterError::TooLong));
    }

    #[test]
    fn a_long_chain_is_flat() {
        let sides = vec!["(id eq \"a\")"; 1_000].join(" or ");
        let Filter::Or(sides) = parse(&sides).unwrap() else { panic!("an or was expected") };
        assert_eq!(sides.len(), 1_000);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_mix_of_words_makes_the_parser_panic(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "emails", "[", "]", "(", ")", "not", "and", "or", "eq", "pr", "\"", "\\", "\"x\"", "1", "é", " ",
                ]),
                0..30,
            )
        ) {
            let _ = parse(&words.concat());
            let _ = parse(&words.join(" "));
        }
    }
}
