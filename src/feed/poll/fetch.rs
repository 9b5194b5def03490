//! Asking a source for one page.

use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, DATE, LINK};
use serde_json::Value;
use url::Url;

use crate::clock::{SharedClock, Timestamp};
use crate::feed::poll::Settings;
use crate::feed::poll::page::{PageError, next_link};
use crate::source::{Malformed, parse_json};
use crate::target::retry_after::retry_after;
use crate::target::token::{Pass, TokenError, Tokens};
use crate::target::transport::{Base, Received, client, read_capped, why};
use crate::target::{ConnectError, default_user_agent, tokens};

/// Longest page, in bytes.
const PAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Asks one source.
pub struct Fetcher {
    http: reqwest::Client,
    tokens: Option<Tokens>,
    timeout: Duration,
}

/// One page.
#[derive(Debug)]
pub struct Fetched {
    /// What it holds.
    pub body: Value,
    /// The address of the next one, where a header tells it.
    pub link: Option<String>,
    /// The source's own time when it answered, where it tells it.
    pub date: Option<Timestamp>,
}

/// Why a poll ended early. The position stays where it is, whatever the reason.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The source wants to be left alone.
    #[error("it answered {}", .status.as_u16())]
    Throttled {
        /// What it answered.
        status: StatusCode,
        /// For how long.
        wait: Option<Duration>,
    },
    /// A person must look.
    #[error("it answered {}", .status.as_u16())]
    Refused {
        /// What it answered.
        status: StatusCode,
    },
    /// Nobody was reached, or the answer broke off.
    #[error("reach it: {reason}")]
    Unreached {
        /// For people; without the address, whose query may hold a cursor.
        reason: String,
    },
    /// No token was to be had.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// What it answered is too long to be a page.
    #[error("a page is over {PAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// What it answered is not a page.
    #[error("page {page} cannot be read: {source}")]
    Unreadable {
        /// Number of the page, from 1.
        page: u64,
        /// What is wrong.
        source: Malformed,
    },
    /// What it answered does not lead on.
    #[error(transparent)]
    Page(#[from] PageError),
    /// It goes on for ever, or nearly.
    #[error("it has over {most} pages")]
    Endless {
        /// How many are read.
        most: u64,
    },
    /// The store failed, or another replica took over.
    #[error("the store failed")]
    Store(#[from] crate::store::StoreError),
    /// A snapshot was read and not taken.
    #[error("the snapshot was not taken: {0}")]
    Snapshot(crate::feed::snapshot::SnapshotError),
    /// The disk.
    #[error("the spool cannot be written")]
    Spool(#[from] std::io::Error),
}

impl Fetcher {
    /// For a source of that name.
    pub fn connect(name: &str, settings: &Settings, clock: &SharedClock) -> Result<Self, ConnectError> {
        let user_agent = default_user_agent();
        let base = Base::new(&settings.url).map_err(|remedy| ConnectError::Setting {
            target: name.to_owned(),
            key: "url",
            remedy,
        })?;
        let http = client(&base, &user_agent, settings.timeout)
            .map_err(|source| ConnectError::Http { target: name.to_owned(), source })?;
        let tokens = settings
            .auth
            .clone()
            .map(|auth| tokens(name, auth, &user_agent, settings.timeout, clock))
            .transpose()?;
        Ok(Self { http, tokens, timeout: settings.timeout })
    }

    /// Asks for one page. A 401 is asked again once, with another token.
    pub async fn fetch(&self, url: &Url, page: u64) -> Result<Fetched, PollError> {
        let Some(tokens) = &self.tokens else { return read(self.ask(url, None).await?, page).await };
        let pass = tokens.fresh().await?;
        let answer = self.ask(url, Some(&pass)).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return read(answer, page).await;
        }
        let pass = tokens.renewed(&pass).await?;
        read(self.ask(url, Some(&pass)).await?, page).await
    }

    async fn ask(&self, url: &Url, pass: Option<&Pass>) -> Result<reqwest::Response, PollError> {
        let request = self.http.get(url.clone()).timeout(self.timeout).header(ACCEPT, "application/json");
        let request = match pass {
            Some(pass) => request.header(pass.header.clone(), pass.authorization.clone()),
            None => request,
        };
        request.send().await.map_err(|error| PollError::Unreached { reason: why(error) })
    }
}

async fn read(mut answer: reqwest::Response, page: u64) -> Result<Fetched, PollError> {
    let status = answer.status();
    if !status.is_success() {
        let wait = retry_after(answer.headers(), None);
        let throttled = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        return Err(if throttled {
            PollError::Throttled { status, wait }
        } else {
            PollError::Refused { status }
        });
    }
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let link = answer.headers().get_all(LINK).iter().find_map(|value| next_link(value.to_str().ok()?));
    let link = link.map(str::to_owned);
    let date = header(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let date = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
    let date = date.and_then(|since| i64::try_from(since.as_secs()).ok()).map(Timestamp::from_seconds);
    let body = read_capped(&mut answer, PAGE_BYTES_MAX).await;
    match body.map_err(|error| PollError::Unreached { reason: why(error) })? {
        Received::Cut(_) => Err(PollError::TooLarge),
        Received::Whole(body) => {
            let body = parse_json(&body).map_err(|source| PollError::Unreadable { page, source })?;
            Ok(Fetched { body, link, date })
        }
    }
}
