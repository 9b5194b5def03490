//! `[audit]`: the file that the ledger is written to.

use std::ops::RangeInclusive;

use super::reader::Section;
use crate::audit::Settings;

const BYTES: RangeInclusive<u64> = 64 * 1024..=1 << 40;
const BYTES_DEFAULT: u64 = 100 * 1024 * 1024;
const FILES: RangeInclusive<u32> = 2..=1_000;
const FILES_DEFAULT: u32 = 10;

/// Reads `[audit]`; `None` where it names no file.
pub fn read(mut section: Section<'_>) -> Option<Settings> {
    let path = section.text("path");
    let path = section.require("path", path, "name a file, such as \"/var/log/scim-relay/audit.jsonl\"");
    let bytes_max = section.size("file_size", BYTES).and_then(|bytes| u64::try_from(bytes).ok());
    let files_max = section.integer("files", FILES);
    section.finish();
    Some(Settings {
        path: path?.into(),
        bytes_max: bytes_max.unwrap_or(BYTES_DEFAULT),
        files_max: files_max.unwrap_or(FILES_DEFAULT),
    })
}
