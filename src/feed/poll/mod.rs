//! Polls: a source is asked, now and then, for what has changed since, and at times for everything.

pub mod fetch;
pub mod memory;
pub mod page;
pub mod run;
#[cfg(test)]
mod tests;

use std::time::Duration;

use url::Url;

use crate::source::fed::Records;
use crate::source::mapped::Pointer;
use crate::target::Auth;
use page::Paging;

/// How a source is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its records are listed.
    pub url: Url,
    /// Parameters of every question.
    pub query: Vec<(String, String)>,
    /// How it lets the relay in; `None`: anybody may ask.
    pub auth: Option<Auth>,
    /// How it is asked for what has changed only; `None`: each answer is everything.
    pub updated_after: Option<UpdatedAfter>,
    /// Where, in a page, the list of records stands; the empty pointer where the page is the list.
    pub list: Pointer,
    /// How one page leads to the next.
    pub paging: Paging,
    /// What records mean.
    pub records: Records,
    /// How often it is asked.
    pub every: Duration,
    /// How often everything is read and taken as a snapshot; `None`: never.
    pub snapshot_every: Option<Duration>,
    /// The time one answer may take.
    pub timeout: Duration,
}

/// How a source is asked for what has changed only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatedAfter {
    /// The parameter's name.
    pub parameter: String,
    /// How its time is written.
    pub format: TimeFormat,
    /// How far each question reaches back behind the last: for changes that were being made meanwhile.
    pub overlap: Duration,
}

/// How a time is written in a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// Date and time in UTC (RFC 3339), with whole seconds.
    Rfc3339,
    /// Seconds since the Unix epoch.
    UnixSeconds,
    /// Milliseconds since the Unix epoch.
    UnixMillis,
    /// The day in UTC, `2026-11-20`.
    Date,
}
