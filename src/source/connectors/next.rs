//! Where a list goes on: a link of the provider's, which is followed only to the provider.

use http::HeaderMap;
use http::header::LINK;
use url::Url;

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// At an address that the provider gave.
    Link(String),
    /// At a path below the base URL.
    Path(String),
}

/// The address below which a provider is asked.
#[derive(Clone, Debug)]
pub struct Base(Url);

/// A link that does not lead below the base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("follow a link that leads elsewhere than below `base_url`")]
pub struct Elsewhere;

impl Base {
    /// An absolute URL without query.
    pub fn new(url: Url) -> Self {
        Self(url)
    }

    /// The path below the base to which `next` leads. Credentials go with each call, so that a link to
    /// another host, port, scheme or a path beside the base is refused.
    pub fn below(&self, next: Next) -> Result<String, Elsewhere> {
        let link = match next {
            Next::Path(path) => return Ok(path),
            Next::Link(link) => link,
        };
        let url = self.0.join(&link).map_err(|_| Elsewhere)?;
        let base = self.0.path().trim_end_matches('/');
        let path = url.path().strip_prefix(base).and_then(|path| path.strip_prefix('/'));
        let plain = url.username().is_empty() && url.password().is_none();
        let path = path.filter(|_| plain && url.origin() == self.0.origin()).ok_or(Elsewhere)?;
        Ok(match url.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        })
    }
}

impl Next {
    /// The `next` link of a header (RFC 8288).
    pub fn of_header(headers: &HeaderMap) -> Option<Self> {
        let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let mut links = links.flat_map(|value| value.split(','));
        links.find_map(|link| {
            let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let is_next = |parameter: &str| {
                let (name, value) = parameter.split_once('=')?;
                Some(name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next")
            };
            let found = parameters.split(';').any(|parameter| is_next(parameter) == Some(true));
            found.then(|| Self::Link(target.to_owned()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(link: &str) -> Option<String> {
        let base = Base::new("https://idp.example/api/v1".parse().unwrap());
        base.below(Next::Link(link.to_owned())).ok()
    }

    #[test]
    fn a_link_is_followed_only_below_the_base() {
        for (link, path) in [
            ("https://idp.example/api/v1/users?after=a%2Fb", Some("users?after=a%2Fb")),
            ("https://idp.example:443/api/v1/users", Some("users")),
            ("/api/v1/users?page=2", Some("users?page=2")),
            ("https://evil.example/api/v1/users", None),
            ("https://idp.example.evil.example/api/v1/users", None),
            ("//evil.example/api/v1/users", None),
            ("http://idp.example/api/v1/users", None),
            ("https://idp.example:8443/api/v1/users", None),
            ("https://user@idp.example/api/v1/users", None),
            ("https://idp.example/api/v2/users", None),
            ("https://idp.example/api/v1beta/users", None),
            ("https://idp.example/api/v1/../admin", None),
            ("file:///etc/passwd", None),
            ("https://", None),
        ] {
            assert_eq!(below(link).as_deref(), path, "{link}");
        }
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(LINK, value.parse().unwrap());
            }
            Next::of_header(&headers)
        };
        let link = |text: &str| Some(Next::Link(text.to_owned()));
        assert_eq!(of(&["<https://a/1>; rel=\"self\"", "<https://a/2>; rel=\"next\""]), link("https://a/2"));
        assert_eq!(of(&["<https://a/1>; rel=\"self\", <https://a/2>; rel=next"]), link("https://a/2"));
        assert_eq!(of(&["<https://a/1>; title=\"x\"; rel=\"next\""]), link("https://a/1"));
        assert_eq!(of(&["<https://a/1>; rel=\"previous\""]), None);
        assert_eq!(of(&["https://a/1; rel=\"next\""]), None);
    }
}
