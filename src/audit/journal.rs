//! The files of the audit, and the note of how far they go.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::Settings;
use super::line::line;
use crate::store::LedgerRecord;

/// Bytes that are read at a time in search of the last whole line.
const STRIDE: u64 = 64 * 1024;

/// An open audit. Whoever has met an error opens it anew: nothing is known of what was written then.
pub(super) struct Journal {
    settings: Settings,
    file: File,
    bytes: u64,
    told: BTreeMap<String, u64>,
    _lock: File,
}

impl Journal {
    /// Opens what there is, a line that was cut off by a crash taken back.
    pub(super) fn open(settings: Settings) -> io::Result<Self> {
        let lock = lock(&beside(&settings.path, ".lock"))?;
        let told = read_position(&beside(&settings.path, ".position"))?;
        let (file, bytes) = open_whole(&settings.path)?;
        Ok(Self { settings, file, bytes, told, _lock: lock })
    }

    /// The number of the last entry that was written, by target.
    pub(super) fn told(&self) -> &BTreeMap<String, u64> {
        &self.told
    }

    /// Writes entries, makes them durable, and notes that. The note is written beforehand and put into its
    /// place last, so that there is room for it whenever there was room for the lines.
    pub(super) fn append(&mut self, entries: &[LedgerRecord]) -> io::Result<()> {
        let mut told = self.told.clone();
        told.extend(entries.iter().map(|entry| (entry.target.clone(), entry.sequence)));
        let note = beside(&self.settings.path, ".position.new");
        write_new(&note, &serde_json::to_vec(&told)?)?;
        self.write(entries)?;
        self.file.sync_data()?;
        fs::rename(&note, beside(&self.settings.path, ".position"))?;
        self.told = told;
        Ok(())
    }

    fn write(&mut self, entries: &[LedgerRecord]) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            let line = line(entry);
            let length = self.bytes + lines.len() as u64;
            if length > 0 && length + line.len() as u64 > self.settings.bytes_max {
                self.write_lines(&lines)?;
                lines.clear();
                self.rotate()?;
            }
            lines.extend(line);
        }
        self.write_lines(&lines)
    }

    /// All of these lines or none, so that a disk that stays full does not gather the same ones.
    fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            // What cannot be taken back is written twice, which is allowed.
            drop(self.file.set_len(self.bytes));
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Gives every file the next number, the oldest one up, and begins a new one.
    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let path = &self.settings.path;
        let numbered = |number: u32| beside(path, &format!(".{number}"));
        for number in (1..self.settings.files_max.saturating_sub(1)).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(path, numbered(1))?;
        (self.file, self.bytes) = open_whole(path)?;
        Ok(())
    }
}

/// The file, to be written at its end, and its length. What stands behind the last end of a line goes.
fn open_whole(path: &Path) -> io::Result<(File, u64)> {
    let mut file = private(OpenOptions::new().read(true).append(true).create(true)).open(path)?;
    let length = file.metadata()?.len();
    let whole = whole_length(&mut file, length)?;
    if whole < length {
        file.set_len(whole)?;
    }
    Ok((file, whole))
}

/// Up to the last end of a line.
fn whole_length(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(STRIDE);
        let mut stretch = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut stretch)?;
        if let Some(place) = stretch.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Nobody else writes the same files while this lasts.
fn lock(path: &Path) -> io::Result<File> {
    let file = private(OpenOptions::new().write(true).create(true)).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::other("another relay writes it; give each a path of its own"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Where there is no note, or none that can be read, everything is told once more.
fn read_position(path: &Path) -> io::Result<BTreeMap<String, u64>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private(OpenOptions::new().write(true).create(true).truncate(true)).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// The same name with something behind it.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// For the owner, and the owner's group to read: the lines name people.
#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o640)
}

/// What the folder allows.
#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}
