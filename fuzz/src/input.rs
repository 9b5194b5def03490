//! An input taken apart: a few bytes that choose, lines of text, and the rest as it is.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use scim_relay::source::parse_json;
use serde_json::Value;

/// Most headers that are read.
const HEADERS_MAX: usize = 32;

/// What is left of an input.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The whole of it.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte; 0 at the end.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of several, by the next byte.
    pub fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        &from[usize::from(self.byte()) % from.len()]
    }

    /// Any status that an answer can have, by two bytes.
    pub fn status(&mut self) -> StatusCode {
        let number = u16::from_be_bytes([self.byte(), self.byte()]);
        StatusCode::from_u16(100 + number % 900).expect("from 100 to 999 is a status")
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == b'\n').unwrap_or(self.0.len());
        let line = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        line
    }

    /// The next line as text; empty where it is none.
    pub fn text_line(&mut self) -> &'a str {
        std::str::from_utf8(self.line()).unwrap_or_default()
    }

    /// The values of these headers, a line each; an empty line leaves one out.
    pub fn values_of(&mut self, names: &[HeaderName]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in names {
            let line = self.line();
            if let Ok(value) = HeaderValue::from_bytes(line)
                && !line.is_empty()
            {
                headers.append(name.clone(), value);
            }
        }
        headers
    }

    /// Headers of any name as `name: value`, up to an empty line.
    pub fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for _ in 0..HEADERS_MAX {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let mut parts = line.splitn(2, |byte| *byte == b':');
            let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
            let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
            if let (Some(name), Some(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        headers
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// All that is left, as text.
    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// All that is left, as JSON.
    pub fn json(self) -> Option<Value> {
        parse_json(self.0).ok()
    }
}
