//! Headers with parts of a signature: read once, and with a limit.

use http::HeaderMap;

use crate::source::Refusal;

/// The header's value, if it is there once, and neither empty nor longer than `bytes_max`.
pub fn only<'a>(headers: &'a HeaderMap, name: &str, bytes_max: usize) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() && value.len() <= bytes_max => {
            value.to_str().map_err(|_| Refusal::unreadable(name.to_owned()))
        }
        _ => Err(Refusal::unreadable(name.to_owned())),
    }
}
