//! Files: a source drops snapshots into a folder, as CSV or as JSON lines.

pub mod folder;
mod line_ends;
pub mod rows;
pub mod run;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use crate::source::Media;
use crate::source::fed::Records;

/// How a source drops files.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it drops them.
    pub folder: PathBuf,
    /// What they hold.
    pub format: Format,
    /// What rows mean. The fields of a row of CSV stand under the names of their columns.
    pub records: Records,
    /// How often the folder is looked at. A file is taken when it stood still for as long.
    pub every: Duration,
    /// Longest file, in bytes.
    pub bytes_max: u64,
}

/// What files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Rows under a row of names (RFC 4180), in UTF-8, with this byte between fields.
    Csv {
        /// The byte.
        delimiter: u8,
    },
    /// One JSON object a line.
    JsonLines,
}

impl Format {
    /// How such a file is declared when it is posted.
    pub const fn media(self) -> Media {
        match self {
            Self::Csv { .. } => Media::Csv,
            Self::JsonLines => Media::JsonLines,
        }
    }

    /// Whether a file of that name is one of these; others in the folder are let be.
    pub fn knows(self, name: &str) -> bool {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
        match self {
            Self::Csv { .. } => extension == "csv",
            Self::JsonLines => matches!(extension.as_str(), "ndjson" | "jsonl"),
        }
    }
}
