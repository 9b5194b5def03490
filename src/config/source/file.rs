//! `kind = "file"`: a source that drops snapshots as files, or posts them.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::feed;
use crate::config::reader::Section;
use crate::feed::Way;
use crate::feed::file::{Format, Settings};
use crate::feed::guard::Limits;
use crate::source::Inlet;

const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
const EVERY_USUAL: Duration = Duration::from_secs(10);
const BYTES: RangeInclusive<u64> = 1024..=64 * 1024 * 1024 * 1024;
const BYTES_USUAL: usize = 1024 * 1024 * 1024;

/// Reads what a source of files has besides the keys of every source.
pub fn read(section: &mut Section<'_>) -> Option<(Inlet, (Way, Limits))> {
    let path = section.text("path");
    let path = section.require("path", path, "write the folder that files are dropped in");
    let folder = path.map(|path| section.context().locate(&path));
    if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_dir()) {
        section.reject("path", folder.display(), "is not a folder", "make it, and let the relay write there");
    }
    let format = format(section);
    let records = feed::records(section);
    let every = section.duration("every", EVERY).unwrap_or(EVERY_USUAL);
    let bytes_max = section.size("max_size", BYTES).unwrap_or(BYTES_USUAL) as u64;
    let limits = feed::limits(section);
    let settings = Settings { folder: folder?, format: format?, records: records?, every, bytes_max };
    let drop = Inlet { folder: settings.folder.clone(), media: settings.format.media(), bytes_max };
    Some((drop, (Way::File(Box::new(settings)), limits)))
}

fn format(section: &mut Section<'_>) -> Option<Format> {
    let text = section.text("format");
    let remedy = "write format = \"csv\" or \"ndjson\"";
    match section.require("format", text, remedy)?.as_str() {
        "csv" => Some(Format::Csv { delimiter: delimiter(section)? }),
        "ndjson" => Some(Format::JsonLines),
        other => {
            section.reject("format", other, "is not a format that is known", remedy);
            None
        }
    }
}

fn delimiter(section: &mut Section<'_>) -> Option<u8> {
    let Some(text) = section.text("delimiter") else { return Some(b',') };
    if let [byte @ (b',' | b';' | b'\t' | b'|')] = text.as_bytes() {
        return Some(*byte);
    }
    let remedy = "write \",\", \";\", \"|\" or \"\\t\"";
    section.reject("delimiter", text, "is not a delimiter that is known", remedy);
    None
}
