//! Query parameters and pages.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::Problem;
use crate::store::Page;

/// The query, read strictly: a type that denies unknown fields makes a mistyped parameter an error.
pub struct Params<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
}

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// `next_cursor` of the page before; absent: the first page.
    pub cursor: Option<String>,
    /// Most items of a page.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Limit,
}

/// How many items a page has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(usize);

impl Limit {
    const MAX: usize = 1_000;

    /// As a number.
    pub fn get(self) -> usize {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse() {
            Ok(limit) if (1..=Self::MAX).contains(&limit) => Ok(Self(limit)),
            Ok(_) | Err(_) => Err(format!("a number from 1 to {} is expected", Self::MAX)),
        }
    }
}

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub struct Listing<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to pass as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

impl<T> Listing<T> {
    /// A page of the store, each item as it is shown.
    pub fn of<R: Into<T>>(page: Page<R>) -> Self {
        Self { items: page.items.into_iter().map(Into::into).collect(), next_cursor: page.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<(Option<String>, usize), String> {
        let uri = format!("/events?{query}").parse().unwrap();
        match Query::<PageQuery>::try_from_uri(&uri) {
            Ok(Query(page)) => Ok((page.cursor, page.limit.get())),
            Err(rejection) => Err(rejection.body_text()),
        }
    }

    #[test]
    fn a_page_has_a_limit_from_1_to_1000() {
        assert_eq!(read(""), Ok((None, 100)));
        assert_eq!(read("limit=1&cursor=a%20b"), Ok((Some("a b".to_owned()), 1)));
        assert_eq!(read("limit=1000"), Ok((None, 1000)));
        for odd in ["0", "1001", "-1", "ten", "", "1e3", "99999999999999999999"] {
            let error = read(&format!("limit={odd}")).unwrap_err();
            assert!(error.contains("a number from 1 to 1000 is expected"), "{odd}: {error}");
        }
    }

    #[test]
    fn a_parameter_that_is_unknown_or_given_twice_is_an_error() {
        assert!(read("limt=5").unwrap_err().contains("unknown field `limt`"));
        assert!(read("limit=5&limit=6").unwrap_err().contains("duplicate field `limit`"));
    }
}
