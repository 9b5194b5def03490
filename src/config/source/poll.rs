//! `kind = "poll"`: a source that is asked.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{feed, mapping};
use crate::config::problem::Problem;
use crate::config::reader::Section;
use crate::config::target::{auth, warn_of_plain_http};
use crate::feed::Way;
use crate::feed::guard::Limits;
use crate::feed::poll::page::Paging;
use crate::feed::poll::{Settings, TimeFormat, UpdatedAfter};
use crate::source::mapped::Pointer;

const EVERY: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(24);
const EVERY_USUAL: Duration = Duration::from_mins(5);
const SNAPSHOT_EVERY: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(31 * 24);
const OVERLAP: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(7 * 24);
const OVERLAP_USUAL: Duration = Duration::from_mins(5);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(10);
const TIMEOUT_USUAL: Duration = Duration::from_mins(1);

/// Reads what a poll has besides the keys of every source.
pub fn read(section: &mut Section<'_>) -> Option<(Way, Limits)> {
    let url = section.url("url");
    let url = section.require("url", url, "write where the records are listed");
    if let Some(url) = &url {
        warn_of_plain_http(section, "url", url);
    }
    let query = section.section("query").map(Section::free_texts).unwrap_or_default();
    let is_closed = section.has("auth");
    let auth = if is_closed { auth::read(section, None) } else { None };
    let updated_after = section.section("updated_after").map(updated_after);
    let list = mapping::pointer(section, "list");
    let list = list.or_else(|| Pointer::parse("").ok());
    let paging = section.section("paging").map_or(Some(Paging::None), paging);
    let records = feed::records(section);
    let every = section.duration("every", EVERY).unwrap_or(EVERY_USUAL);
    let snapshot_every = section.duration("snapshot_every", SNAPSHOT_EVERY);
    let timeout = section.duration("timeout", TIMEOUT).unwrap_or(TIMEOUT_USUAL);
    let limits = feed::limits(section);
    if is_closed && auth.is_none() {
        return None;
    }
    let settings = Settings {
        url: url?,
        query,
        auth,
        updated_after: match updated_after {
            Some(read) => Some(read?),
            None => None,
        },
        list: list?,
        paging: paging?,
        records: records?,
        every,
        snapshot_every,
        timeout,
    };
    Some((Way::Poll(Box::new(settings)), limits))
}

fn updated_after(mut section: Section<'_>) -> Option<UpdatedAfter> {
    let parameter = section.text("parameter");
    let parameter = section.require("parameter", parameter, "write parameter = \"updated_after\"");
    let formats = [
        ("rfc3339", TimeFormat::Rfc3339),
        ("unix", TimeFormat::UnixSeconds),
        ("unix-ms", TimeFormat::UnixMillis),
        ("date", TimeFormat::Date),
    ];
    let format = section.choice("format", &formats).unwrap_or(TimeFormat::Rfc3339);
    let overlap = section.duration("overlap", OVERLAP).unwrap_or(OVERLAP_USUAL);
    section.finish();
    Some(UpdatedAfter { parameter: parameter?, format, overlap })
}

#[derive(Clone, Copy)]
enum Kind {
    Cursor,
    Link,
    Page,
    Offset,
}

fn paging(mut section: Section<'_>) -> Option<Paging> {
    let kinds =
        [("cursor", Kind::Cursor), ("link", Kind::Link), ("page", Kind::Page), ("offset", Kind::Offset)];
    let kind = section.choice("by", &kinds);
    let kind = section.require("by", kind, "write by = \"cursor\", \"link\", \"page\" or \"offset\"")?;
    let paging = match kind {
        Kind::Cursor => {
            let at = mapping::pointer(&mut section, "at");
            let at =
                section.require("at", at, "write where the cursor stands, such as at = \"/next_cursor\"");
            let parameter = parameter(&mut section, "cursor");
            at.zip(parameter).map(|(at, parameter)| Paging::Cursor { at, parameter })
        }
        Kind::Link => {
            let wrong = section.has("at");
            let at = mapping::pointer(&mut section, "at");
            if wrong && at.is_none() { None } else { Some(Paging::Link { at }) }
        }
        Kind::Page => {
            let first = section.integer("first", 0..=1).unwrap_or(1).into();
            parameter(&mut section, "page").map(|parameter| Paging::Number { parameter, first })
        }
        Kind::Offset => parameter(&mut section, "offset").map(|parameter| Paging::Offset { parameter }),
    };
    section.finish();
    paging
}

/// The parameter that names a page.
fn parameter(section: &mut Section<'_>, usual: &str) -> Option<String> {
    let Some(parameter) = section.text("parameter") else {
        return (!section.has("parameter")).then(|| usual.to_owned());
    };
    if parameter.is_empty() {
        let remedy = format!("write parameter = \"{usual}\"");
        section.add(Problem::error(section.path_of("parameter"), "is empty", remedy));
        return None;
    }
    Some(parameter)
}
