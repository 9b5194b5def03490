//! Which bytes are signed, as a template: `{timestamp}.{body}`.

use http::HeaderName;

use crate::source::Delivery;

/// Longest header that may be a part of what is signed, and longest template.
const BYTES_MAX: usize = 1024;

/// What is signed: parts in a row, without anything between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Body,
    Timestamp,
    Id,
    Header(HeaderName),
}

/// Why a template cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Whoever has one signature could send any body.
    #[error("does not hold {{body}}")]
    NoBody,
    /// A brace without its partner, or a name that is not known.
    #[error("holds what is not one of {{body}}, {{timestamp}}, {{id}} and {{header:NAME}}")]
    UnknownPart,
    /// Longer than anybody needs.
    #[error("is longer than {BYTES_MAX} bytes")]
    TooLong,
}

impl Template {
    /// The body alone.
    pub fn body() -> Self {
        Self(vec![Part::Body])
    }

    /// The time of signing, a dot, and the body.
    pub fn timestamp_dot_body() -> Self {
        Self(vec![Part::Timestamp, Part::Literal(".".to_owned()), Part::Body])
    }

    /// The body, and the time of signing right behind it.
    pub fn body_timestamp() -> Self {
        Self(vec![Part::Body, Part::Timestamp])
    }

    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > BYTES_MAX {
            return Err(TemplateError::TooLong);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, tail) = rest.split_at(open);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let inner = tail.strip_prefix('{').and_then(|tail| tail.split_once('}'));
            let (name, tail) = inner.ok_or(TemplateError::UnknownPart)?;
            parts.push(Part::named(name).ok_or(TemplateError::UnknownPart)?);
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        if parts.contains(&Part::Body) { Ok(Self(parts)) } else { Err(TemplateError::NoBody) }
    }

    /// Whether the time of signing is signed.
    pub fn has_timestamp(&self) -> bool {
        self.0.contains(&Part::Timestamp)
    }

    /// Whether the event's id is signed.
    pub fn has_id(&self) -> bool {
        self.0.contains(&Part::Id)
    }

    /// The bytes, part by part; `None` when a part is not there.
    pub fn fill<'a>(
        &'a self,
        delivery: &Delivery<'a>,
        time: Option<&'a str>,
        id: Option<&'a str>,
    ) -> Option<Vec<&'a [u8]>> {
        let part = |part: &'a Part| match part {
            Part::Literal(text) => Some(text.as_bytes()),
            Part::Body => Some(delivery.body),
            Part::Timestamp => time.map(str::as_bytes),
            Part::Id => id.map(str::as_bytes),
            Part::Header(name) => {
                let value = delivery.headers.get(name).map(http::HeaderValue::as_bytes);
                value.filter(|value| value.len() <= BYTES_MAX)
            }
        };
        self.0.iter().map(part).collect()
    }
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        match name {
            "body" => Some(Self::Body),
            "timestamp" => Some(Self::Timestamp),
            "id" => Some(Self::Id),
            other => other.strip_prefix("header:").and_then(|name| name.parse().ok()).map(Self::Header),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_template_is_filled_part_by_part() {
        let headers = HeaderMap::from_iter([("x-host".parse().unwrap(), "acme".parse().unwrap())]);
        let delivery = Delivery { headers: &headers, query: "", body: b"{}" };
        for (template, expected) in [
            ("{body}", Some("{}")),
            ("{timestamp}.{body}", Some("7.{}")),
            ("{body}{timestamp}", Some("{}7")),
            ("v0:{id}.{timestamp}.{body}!", Some("v0:e.7.{}!")),
            ("{header:X-Host}\n{body}", Some("acme\n{}")),
            ("{header:x-none}{body}", None),
        ] {
            let filled = Template::parse(template).unwrap();
            let filled = filled.fill(&delivery, Some("7"), Some("e")).map(|parts| parts.concat());
            assert_eq!(filled.as_deref(), expected.map(str::as_bytes), "{template}");
        }
    }

    #[test]
    fn a_template_without_the_body_or_with_an_unknown_part_is_refused() {
        for (template, expected) in [
            ("", TemplateError::NoBody),
            ("{timestamp}", TemplateError::NoBody),
            ("{body}{path}", TemplateError::UnknownPart),
            ("{body", TemplateError::UnknownPart),
            ("body}", TemplateError::UnknownPart),
            ("{header:a b}{body}", TemplateError::UnknownPart),
        ] {
            assert_eq!(Template::parse(template), Err(expected), "{template}");
        }
        assert_eq!(Template::parse(&format!("{{body}}{}", "x".repeat(1024))), Err(TemplateError::TooLong));
    }
}
