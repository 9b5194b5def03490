//! How one page of a list leads to the next (pure).

use serde_json::Value;
use url::Url;

use crate::source::mapped::Pointer;

/// How one page leads to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paging {
    /// There is one page.
    None,
    /// A page names a cursor, which the next question repeats.
    Cursor {
        /// Where it stands in a page; absent, null or empty on the last.
        at: Pointer,
        /// The parameter that repeats it.
        parameter: String,
    },
    /// A page names the address of the next one, on the same host.
    Link {
        /// Where it stands in a page; `None`: in the header `Link`, as `rel="next"` (RFC 8288).
        at: Option<Pointer>,
    },
    /// Pages are numbered; an empty page is behind the last.
    Number {
        /// The parameter for the number.
        parameter: String,
        /// The number of the first page.
        first: u64,
    },
    /// Records are numbered from 0; an empty page is behind the last.
    Offset {
        /// The parameter for the number of the first record of a page.
        parameter: String,
    },
}

/// Where a list stands while it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The next page.
    pub url: Url,
    /// Pages that were read.
    pub pages: u64,
    /// Records that were read.
    pub records: u64,
}

/// What of a page says where the next one is.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The page.
    pub body: &'a Value,
    /// The address of `rel="next"` in its `Link` headers.
    pub link: Option<&'a str>,
    /// How many records it holds.
    pub records: u64,
}

/// Why a page does not lead on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Nothing that a source says may lead the relay, and its credentials, elsewhere.
    #[error("a page's link leads to another host")]
    Elsewhere,
    /// Neither an address nor a cursor.
    #[error("a page does not say in a known form where the next one is")]
    Unreadable,
    /// It would never end.
    #[error("a page leads to itself")]
    Circle,
}

impl Place {
    /// Before the first page of the list at `url`.
    pub fn first(url: Url, paging: &Paging) -> Self {
        let mut place = Self { url, pages: 0, records: 0 };
        match paging {
            Paging::Number { parameter, first } => place.set(parameter, &first.to_string()),
            Paging::None | Paging::Cursor { .. } | Paging::Link { .. } | Paging::Offset { .. } => {}
        }
        place
    }

    /// The place behind a page; `None` where that was the last.
    pub fn next(mut self, paging: &Paging, page: Page<'_>) -> Result<Option<Self>, PageError> {
        self.pages += 1;
        self.records += page.records;
        let before = self.url.clone();
        match paging {
            Paging::None => return Ok(None),
            Paging::Cursor { at, parameter } => match at.value(page.body) {
                None | Some(Value::Null) => return Ok(None),
                Some(Value::String(text)) if text.is_empty() => return Ok(None),
                Some(Value::String(text)) => self.set(parameter, text),
                Some(Value::Number(number)) => self.set(parameter, &number.to_string()),
                Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                    return Err(PageError::Unreadable);
                }
            },
            Paging::Link { at } => {
                let text = match at {
                    None => page.link,
                    Some(at) => match at.value(page.body) {
                        None | Some(Value::Null) => None,
                        Some(Value::String(text)) => Some(text.as_str()),
                        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                            return Err(PageError::Unreadable);
                        }
                    },
                };
                let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
                self.url = self.follow(text)?;
            }
            Paging::Number { .. } | Paging::Offset { .. } if page.records == 0 => return Ok(None),
            Paging::Number { parameter, first } => self.set(parameter, &(first + self.pages).to_string()),
            Paging::Offset { parameter } => self.set(parameter, &self.records.to_string()),
        }
        if self.url == before { Err(PageError::Circle) } else { Ok(Some(self)) }
    }

    fn follow(&self, link: &str) -> Result<Url, PageError> {
        let url = self.url.join(link).map_err(|_| PageError::Unreadable)?;
        let plain = url.username().is_empty() && url.password().is_none();
        if url.origin() == self.url.origin() && plain { Ok(url) } else { Err(PageError::Elsewhere) }
    }

    /// Sets a parameter that may stand there already.
    fn set(&mut self, parameter: &str, value: &str) {
        self.url = with(&self.url, parameter, value);
    }
}

/// An address with a parameter in place of any of that name.
pub fn with(url: &Url, parameter: &str, value: &str) -> Url {
    let others: Vec<(String, String)> =
        url.query_pairs().filter(|(name, _)| name != parameter).map(|(n, v)| (n.into(), v.into())).collect();
    let mut url = url.clone();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(parameter, value);
    url
}

/// The address of `rel="next"` in a `Link` header (RFC 8288).
pub fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (address, after) = after.split_once('>')?;
        let parameters = after.split('<').next().unwrap_or_default();
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && value.split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(address);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn pointer(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    fn step(paging: &Paging, from: &str, body: &Value, records: u64) -> Result<Option<String>, PageError> {
        let place = Place::first(url(from), paging);
        let next = place.next(paging, Page { body, link: None, records })?;
        Ok(next.map(|place| place.url.to_string()))
    }

    #[test]
    fn a_cursor_is_repeated_until_there_is_none() {
        let paging = Paging::Cursor { at: pointer("/next"), parameter: "cursor".to_owned() };
        let from = "https://hr.example/people?limit=2&cursor=a";
        for (body, expected) in [
            (json!({"next": "b c"}), Ok(Some("https://hr.example/people?limit=2&cursor=b+c".to_owned()))),
            (json!({"next": 7}), Ok(Some("https://hr.example/people?limit=2&cursor=7".to_owned()))),
            (json!({"next": null}), Ok(None)),
            (json!({"next": ""}), Ok(None)),
            (json!({}), Ok(None)),
            (json!({"next": "a"}), Err(PageError::Circle)),
            (json!({"next": {}}), Err(PageError::Unreadable)),
        ] {
            assert_eq!(step(&paging, from, &body, 2), expected, "{body}");
        }
    }

    #[test]
    fn a_link_leads_nowhere_but_to_the_same_host() {
        let paging = Paging::Link { at: Some(pointer("/next")) };
        let from = "https://hr.example/v1/people";
        for (link, expected) in [
            (
                "https://hr.example/v1/people?page=2",
                Ok(Some("https://hr.example/v1/people?page=2".to_owned())),
            ),
            ("/v1/people?page=2", Ok(Some("https://hr.example/v1/people?page=2".to_owned()))),
            ("?page=2", Ok(Some("https://hr.example/v1/people?page=2".to_owned()))),
            ("https://other.example/v1/people?page=2", Err(PageError::Elsewhere)),
            ("//other.example/x", Err(PageError::Elsewhere)),
            ("http://hr.example/v1/people?page=2", Err(PageError::Elsewhere)),
            ("https://hr.example:8443/v1/people", Err(PageError::Elsewhere)),
            ("https://user@hr.example/v1/people?page=2", Err(PageError::Elsewhere)),
            ("https://hr.example/v1/people", Err(PageError::Circle)),
            ("", Ok(None)),
        ] {
            assert_eq!(step(&paging, from, &json!({"next": link}), 2), expected, "{link}");
        }
    }

    #[test]
    fn numbered_pages_end_behind_an_empty_one() {
        let pages = Paging::Number { parameter: "page".to_owned(), first: 1 };
        let place = Place::first(url("https://hr.example/p"), &pages);
        assert_eq!(place.url.as_str(), "https://hr.example/p?page=1");
        let page = |records| Page { body: &Value::Null, link: None, records };
        let second = place.next(&pages, page(50)).unwrap().unwrap();
        assert_eq!(second.url.as_str(), "https://hr.example/p?page=2");
        assert_eq!(second.next(&pages, page(0)), Ok(None));

        let offset = Paging::Offset { parameter: "offset".to_owned() };
        let place = Place::first(url("https://hr.example/p"), &offset).next(&offset, page(50)).unwrap();
        let place = place.unwrap().next(&offset, page(50)).unwrap().unwrap();
        assert_eq!(place.url.as_str(), "https://hr.example/p?offset=100");
    }

    #[test]
    fn the_next_page_is_found_among_other_links() {
        for (header, expected) in [
            ("<https://x.example/?p=2>; rel=\"next\"", Some("https://x.example/?p=2")),
            ("<a>; rel=\"self\", <b?x=1,2>; title=\"t\"; rel=next", Some("b?x=1,2")),
            ("<a>; rel=\"prev next\"", Some("a")),
            ("<a>; rel=\"last\"", None),
            ("<a", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), expected, "{header}");
        }
    }
}
