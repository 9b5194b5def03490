//! HTTP: the innermost service of the stack.

use std::error::Error as StdError;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_MATCH, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::time::Instant;
use tower::Service;
use url::{Host, Url};

use crate::scim::etag::ETag;
use crate::target::call::{Answer, Call, CallError};
use crate::target::layers::auth::Authorized;
use crate::telemetry::chain;

/// Sends calls to one base URL.
#[derive(Clone)]
pub struct Transport {
    http: reqwest::Client,
    base: Base,
    content_type: HeaderValue,
    accept: HeaderValue,
    body_bytes_max: usize,
}

/// The most that is kept of an answer that is no success.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// A base URL that paths can be put behind.
#[derive(Clone, Debug)]
pub struct Base {
    /// Without the final slash.
    url: String,
    parsed: Url,
}

impl Base {
    /// Takes an absolute `http` or `https` URL without credentials, query and fragment; else says why not.
    pub fn new(url: &Url) -> Result<Self, &'static str> {
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err("it must begin with https:// or http:// and name a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials belong in `auth`");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it must end with the path, without ? or #");
        }
        Ok(Self { url: url.as_str().trim_end_matches('/').to_owned(), parsed: url.clone() })
    }

    /// The URL of a path below the base. `None` when the path would lead anywhere else.
    fn join(&self, path: &str) -> Option<Url> {
        let joined = Url::parse(&format!("{}/{path}", self.url)).ok()?;
        let below = joined.path().strip_prefix(self.parsed.path().trim_end_matches('/'))?;
        let whole = path.split(['?', '#']).next().unwrap_or_default();
        // A path that the parser changed held dot segments or the like.
        let same = joined.origin() == self.parsed.origin() && below == format!("/{whole}");
        same.then_some(joined)
    }

    /// Whether it leads to this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.parsed)
    }
}

/// Whether a URL leads to this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

impl Transport {
    /// With this client, which must not follow redirects.
    pub fn new(
        http: reqwest::Client,
        base: Base,
        content_type: HeaderValue,
        accept: HeaderValue,
        body_bytes_max: usize,
    ) -> Self {
        Self { http, base, content_type, accept, body_bytes_max }
    }

    async fn send(self, request: Authorized) -> Result<Answer, CallError> {
        let Authorized { call, header, authorization } = request;
        let reads = call.method == Method::GET;
        let url = self.base.join(&call.path).ok_or_else(|| CallError::Unusable {
            reason: "the call's path would lead outside the base URL".to_owned(),
        })?;
        let began = Instant::now();
        let request = self.http.request(call.method.clone(), url).headers(self.headers(
            &call,
            header,
            authorization,
        )?);
        let request = match call.body {
            Some(body) => request.body(body),
            None => request,
        };
        let mut response = request.send().await.map_err(not_sent_or_unknown)?;
        let status = response.status();
        let limit = if status.is_success() { self.body_bytes_max } else { ERROR_BYTES_MAX };
        let body = match read_capped(&mut response, limit).await {
            Ok(Received::Cut(_)) if status.is_success() && reads => {
                return Err(CallError::TooLarge { status, limit });
            }
            Ok(Received::Cut(_)) if status.is_success() => Vec::new(),
            Ok(Received::Whole(body) | Received::Cut(body)) => body,
            Err(error) => return Err(CallError::Unknown { source: Box::new(error.without_url()) }),
        };
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer {
            etag: text(&headers, &ETAG).and_then(ETag::parse),
            location: text(&headers, &LOCATION).map(str::to_owned),
            body: Bytes::from(body),
            elapsed: began.elapsed(),
            headers,
            ..Answer::new(status)
        })
    }

    fn headers(
        &self,
        call: &Call,
        header: HeaderName,
        authorization: HeaderValue,
    ) -> Result<HeaderMap, CallError> {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header, authorization);
        headers.insert(ACCEPT, self.accept.clone());
        if call.body.is_some() {
            headers.insert(CONTENT_TYPE, self.content_type.clone());
        }
        if let Some(etag) = &call.if_match {
            let value = HeaderValue::from_str(etag.as_str())
                .map_err(|error| CallError::NotSent { source: Box::new(error) })?;
            headers.insert(IF_MATCH, value);
        }
        Ok(headers)
    }
}

impl Service<Authorized> for Transport {
    type Response = Answer;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Answer, CallError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Authorized) -> Self::Future {
        self.clone().send(request).boxed()
    }
}

/// What was read of a body.
pub(crate) enum Received {
    /// All of it.
    Whole(Vec<u8>),
    /// As much as the limit allows.
    Cut(Vec<u8>),
}

/// Reads a body up to a limit.
pub(crate) async fn read_capped(
    response: &mut reqwest::Response,
    limit: usize,
) -> Result<Received, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limit - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok(Received::Cut(body));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Received::Whole(body))
}

/// A client for one target: no redirects, no repetitions, `rustls`.
pub(crate) fn client(
    base: &Base,
    user_agent: &str,
    timeout: Duration,
) -> Result<reqwest::Client, reqwest::Error> {
    install_crypto();
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .user_agent(user_agent)
        .connect_timeout(CONNECT_TIME_MAX.min(timeout / 2));
    // A proxy cannot lead back to this machine.
    let builder = if base.is_loopback() { builder.no_proxy() } else { builder };
    builder.build()
}

/// Connecting ends earlier than the attempt, so that a host that cannot be reached is told apart
/// from one that does not answer.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// Chooses the cryptography for TLS in this process, once.
pub fn install_crypto() {
    // An error says that it has been chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The error's causes without its URL, whose query may hold attribute values.
pub(crate) fn why(error: reqwest::Error) -> String {
    chain(&error.without_url())
}

fn not_sent_or_unknown(error: reqwest::Error) -> CallError {
    if let Some(reason) = tls_fault(&error) {
        return CallError::Unusable { reason: format!("TLS: {reason}") };
    }
    if error.is_builder() {
        return CallError::Unusable { reason: why(error) };
    }
    let reached = !error.is_connect();
    let source = Box::new(error.without_url());
    if reached { CallError::Unknown { source } } else { CallError::NotSent { source } }
}

/// What TLS itself found wrong, such as a certificate that is not trusted. Connections that break
/// off in the handshake are not among it.
fn tls_fault(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(fault) = error.downcast_ref::<rustls::Error>() {
            return Some(fault.to_string());
        }
        // `io::Error` leaves itself out of the chain: its source is the source of what it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: &str) -> Result<Base, &'static str> {
        Base::new(&url.parse().unwrap())
    }

    #[test]
    fn a_path_is_put_behind_the_whole_base_url() {
        for (url, path, joined) in [
            ("https://v.example/scim/v2", "Users/42", "https://v.example/scim/v2/Users/42"),
            ("https://v.example/scim/v2/", "Users", "https://v.example/scim/v2/Users"),
            ("https://v.example", "Users?count=2", "https://v.example/Users?count=2"),
            ("http://127.0.0.1:80/a", "Users/a%2Fb%3F", "http://127.0.0.1/a/Users/a%2Fb%3F"),
        ] {
            assert_eq!(base(url).unwrap().join(path).unwrap().as_str(), joined);
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let base = base("https://v.example/scim/v2").unwrap();
        for path in ["../admin", "Users/../../x", "Users/%2e%2e/x", "Users/.", "Users\\..\\x"] {
            assert_eq!(base.join(path), None, "{path}");
        }
    }

    #[test]
    fn a_base_url_is_plain() {
        for url in [
            "ftp://v.example/",
            "https://user@v.example/",
            "https://:secret@v.example/",
            "https://v.example/?a",
            "https://v.example/#a",
            "data:text/plain,a",
        ] {
            assert!(base(url).is_err(), "{url}");
        }
    }
}
