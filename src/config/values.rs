//! Values with a form and bounds: numbers, spans of time, sizes, choices, URLs.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use http::HeaderName;
use url::Url;

use super::problem::Problem;
use super::reader::{Section, one_of, scalar};

impl Section<'_> {
    /// Yes or no.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.raw(key)?;
        if value.as_bool().is_none() {
            self.wrong_type(key, value, "true or false", "write true or false, without quotes");
        }
        value.as_bool()
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, key: &'static str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let value = self.raw(key)?;
        let Some(number) = value.as_integer() else {
            self.wrong_type(key, value, "a whole number", &between(&bounds));
            return None;
        };
        let number = u32::try_from(number).ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            self.reject(key, value, "is out of range", between(&bounds));
        }
        number
    }

    /// A whole number from 1 to a bound.
    pub fn positive(&mut self, key: &'static str, most: NonZeroU32) -> Option<NonZeroU32> {
        NonZeroU32::new(self.integer(key, 1..=most.get())?)
    }

    /// A number, whole or not, within bounds.
    pub fn number(&mut self, key: &'static str, bounds: RangeInclusive<f64>) -> Option<f64> {
        let value = self.raw(key)?;
        // Whole numbers that a rate or a percentage may have are exact as floats.
        #[expect(clippy::cast_precision_loss, reason = "bounds keep the number far below 2^52")]
        let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let Some(number) = number else {
            self.wrong_type(key, value, "a number", &between(&bounds));
            return None;
        };
        if !bounds.contains(&number) {
            self.reject(key, value, "is out of range", between(&bounds));
            return None;
        }
        Some(number)
    }

    /// A span of time such as `"30s"`, within bounds.
    pub fn duration(&mut self, key: &'static str, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        let remedy = format!(
            "write a span from \"{}\" to \"{}\"",
            humantime::format_duration(*bounds.start()),
            humantime::format_duration(*bounds.end()),
        );
        let value = self.raw(key)?;
        let Some(text) = value.as_str() else {
            self.wrong_type(key, value, "a span of time such as \"30s\"", &remedy);
            return None;
        };
        match humantime::parse_duration(text) {
            Ok(span) if bounds.contains(&span) => Some(span),
            Ok(_) => {
                self.reject(key, text, "is out of range", remedy);
                None
            }
            Err(error) => {
                self.reject(key, text, format!("is not a span of time: {error}"), remedy);
                None
            }
        }
    }

    /// A size in bytes: a whole number, or a text such as `"1MiB"`; within bounds.
    pub fn size(&mut self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<usize> {
        let remedy = format!(
            "write a size from \"{}\" to \"{}\"",
            ByteSize(*bounds.start()).display().iec(),
            ByteSize(*bounds.end()).display().iec(),
        );
        let value = self.raw(key)?;
        let size = match (value.as_integer(), value.as_str()) {
            (Some(bytes), _) => u64::try_from(bytes).ok(),
            (None, Some(text)) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
            (None, None) => None,
        };
        match size {
            Some(size) if bounds.contains(&size) => usize::try_from(size).ok(),
            Some(_) => {
                self.reject(key, scalar(value), "is out of range", remedy);
                None
            }
            None => {
                self.wrong_type(key, value, "a size such as \"1MiB\"", &remedy);
                None
            }
        }
    }

    /// One of a few words. `choices` pairs each word with what it stands for.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let word = self.text(key)?;
        let found = choices.iter().find(|(name, _)| *name == word).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.reject(key, &word, "is not one of the choices", format!("write {}", one_of(&words)));
        }
        found
    }

    /// The name of a header that the relay does not set itself.
    pub fn header_name(&mut self, key: &'static str) -> Option<HeaderName> {
        let text = self.text(key)?;
        let taken = [
            "accept",
            "connection",
            "content-length",
            "content-type",
            "host",
            "if-match",
            "transfer-encoding",
        ];
        match HeaderName::try_from(&text) {
            Ok(name) if !taken.contains(&name.as_str()) => Some(name),
            Ok(_) => {
                self.reject(
                    key,
                    &text,
                    "is a header that the relay sets itself",
                    "name the vendor's own header",
                );
                None
            }
            Err(_) => {
                self.reject(key, &text, "is not a header's name", "use letters, digits and hyphens");
                None
            }
        }
    }

    /// An `http` or `https` URL that bears no credentials, query or fragment.
    pub fn url(&mut self, key: &'static str) -> Option<Url> {
        let text = self.text(key)?;
        let remedy = "write an absolute URL such as \"https://vendor.example/scim/v2\"";
        let fault = match Url::parse(&text) {
            Err(error) => format!("is not a URL: {error}"),
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                format!("has the scheme `{}`, not https", url.scheme())
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                // Nothing of the value is repeated: it holds a password.
                self.add(Problem::error(
                    self.path_of(key),
                    "holds a user name or a password",
                    "take them out of the URL and put them under `auth`",
                ));
                return None;
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                "holds a query or a fragment".to_owned()
            }
            Ok(_) if text.contains(['{', '}', '<', '>']) => "holds a placeholder".to_owned(),
            Ok(url) => return Some(url),
        };
        self.reject(key, without_user_info(&text), fault, remedy);
        None
    }
}

fn between<T: Display>(bounds: &RangeInclusive<T>) -> String {
    format!("write a number from {} to {}", bounds.start(), bounds.end())
}

/// Leaves out what may be a password: everything from the scheme to the last `@`.
pub fn without_user_info(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        (None, Some((_, rest))) => format!("…@{rest}"),
        (_, None) => url.to_owned(),
    }
}
