//! Values as servers write them: booleans and numbers as text, texts of any length.

use serde_json::Value;

/// Longest text that is kept, in bytes; URNs and names are far shorter.
const TEXT_BYTES_MAX: usize = 256;

/// True or false, also as text or as 1 and 0.
pub fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        Value::Number(number) => match number.as_u64() {
            Some(1) => Some(true),
            Some(0) => Some(false),
            Some(_) | None => None,
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number over zero, also as text, at most `most`. Zero and less say nothing: servers write them
/// for "unlimited" as well as for "unsupported".
pub fn count(value: &Value, most: u32) -> Option<u32> {
    let number = match value {
        Value::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().filter(|number| *number >= 1.0).map(saturate))
        }
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let number = number.filter(|number| *number > 0)?;
    Some(u32::try_from(number).unwrap_or(u32::MAX).min(most))
}

/// A text without control characters, trimmed; `None` when it is empty or longer than any name.
pub fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    let fits = !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn saturate(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_boolean_is_read_in_every_dialect_and_never_guessed() {
        for (value, expected) in [
            (json!(true), Some(true)),
            (json!("True"), Some(true)),
            (json!(" false "), Some(false)),
            (json!(1), Some(true)),
            (json!("0"), Some(false)),
            (json!(2), None),
            (json!("yes please"), None),
            (json!(null), None),
            (json!([true]), None),
        ] {
            assert_eq!(flag(&value), expected, "{value}");
        }
    }

    #[test]
    fn a_number_is_clamped_and_nothing_is_not_a_limit() {
        for (value, expected) in [
            (json!(10), Some(10)),
            (json!("10"), Some(10)),
            (json!(10.0), Some(10)),
            (json!(0), None),
            (json!(-5), None),
            (json!(0.5), None),
            (json!(1e300), Some(1_000)),
            (json!(u64::MAX), Some(1_000)),
            (json!("99999999999999999999999"), None),
            (json!("many"), None),
            (json!({}), None),
        ] {
            assert_eq!(count(&value, 1_000), expected, "{value}");
        }
    }

    #[test]
    fn a_text_that_is_no_name_is_left_out() {
        assert_eq!(text(&json!(" User ")).as_deref(), Some("User"));
        for value in [json!(""), json!("  "), json!("a\u{1b}[31m"), json!("x".repeat(257)), json!(7)] {
            assert_eq!(text(&value), None, "{value}");
        }
    }
}
