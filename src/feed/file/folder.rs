//! The folder that files are dropped in: which of them are complete, and where they go then.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Timestamp;
use crate::feed::file::Format;
use crate::source::Inlet;

/// Where files go that were taken.
const DONE: &str = "done";
/// Where files go that were not, each with a file beside it that says why.
const REFUSED: &str = "refused";

/// How long ago a posted file was last written to at the least, once nobody sends it any more: senders that
/// say nothing are cut off far sooner.
const ABANDONED_AFTER: Duration = Duration::from_mins(10);

/// What tells whether a file is still being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// In bytes.
    pub length: u64,
    /// When it was last written.
    pub written: SystemTime,
}

impl Stamp {
    /// Of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let data = file.metadata()?;
        Ok(Self { length: data.len(), written: data.modified()? })
    }

    /// The moment that the file speaks of: when it was written, and not later than now.
    pub fn moment(&self, now: Timestamp) -> Timestamp {
        let since = self.written.duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::default().after(since).min(now)
    }
}

/// A file that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its name in the folder.
    pub name: String,
    /// As it stands.
    pub stamp: Stamp,
}

/// A folder that is looked at now and then.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    format: Format,
    seen: BTreeMap<String, Stamp>,
}

impl Folder {
    /// The folder at `path`.
    pub fn new(path: PathBuf, format: Format) -> Self {
        Self { path, format, seen: BTreeMap::new() }
    }

    /// Looks at the folder. Files that stand as they stood at the last look are complete; oldest first.
    ///
    /// Names that start with a dot are let be, so that a file may be written under one and renamed.
    pub fn look(&mut self) -> io::Result<Vec<Ready>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || !self.format.knows(&name) || !entry.file_type()?.is_file() {
                continue;
            }
            // One that has gone meanwhile was taken by another replica.
            let Ok(data) = entry.metadata() else { continue };
            found.insert(name, Stamp { length: data.len(), written: data.modified()? });
        }
        let still = found.iter().filter(|(name, stamp)| self.seen.get(*name) == Some(stamp));
        let mut ready: Vec<Ready> =
            still.map(|(name, stamp)| Ready { name: name.clone(), stamp: stamp.clone() }).collect();
        ready.sort_by(|a, b| a.stamp.written.cmp(&b.stamp.written).then_with(|| a.name.cmp(&b.name)));
        self.seen = found;
        Ok(ready)
    }

    /// Removes what was left of files that were being posted when a relay ended; answers how many. Another
    /// replica may be receiving one right now, so that only what nobody writes to any more goes.
    pub fn sweep(&self, now: Timestamp) -> io::Result<usize> {
        let mut swept = 0;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let is_arriving =
                entry.file_name().to_str().is_some_and(|name| name.starts_with(Inlet::ARRIVING));
            // One that has gone meanwhile has arrived.
            let Ok(data) = entry.metadata() else { continue };
            let stamp = Stamp { length: data.len(), written: data.modified()? };
            if is_arriving && data.is_file() && now.since(stamp.moment(now)) > ABANDONED_AFTER {
                fs::remove_file(entry.path())?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Opens a file.
    pub fn open(&self, file: &Ready) -> io::Result<File> {
        File::open(self.path.join(&file.name))
    }

    /// Puts a file away that was taken.
    pub fn put_away(&self, file: &Ready, number: u64) -> io::Result<()> {
        self.move_to(DONE, file, number).map(|_| ())
    }

    /// Puts a file away that was not taken, and says why.
    pub fn refuse(&self, file: &Ready, number: u64, reason: &str) -> io::Result<()> {
        let moved = self.move_to(REFUSED, file, number)?;
        let mut name = moved.into_os_string();
        name.push(".reason.txt");
        writeln!(File::create(Path::new(&name))?, "{reason}")
    }

    fn move_to(&self, place: &str, file: &Ready, number: u64) -> io::Result<PathBuf> {
        let folder = self.path.join(place);
        fs::create_dir_all(&folder)?;
        // The number keeps files of one name apart.
        let moved = folder.join(format!("{number}-{}", file.name));
        fs::rename(self.path.join(&file.name), &moved)?;
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(home.path().to_owned(), Format::Csv { delimiter: b',' });
        (home, folder)
    }

    fn names(ready: &[Ready]) -> Vec<&str> {
        ready.iter().map(|file| file.name.as_str()).collect()
    }

    fn set_written(home: &tempfile::TempDir, name: &str, seconds: u64) {
        let file = File::options().append(true).open(home.path().join(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn a_file_is_complete_when_it_stood_still_between_two_looks() {
        let (home, mut folder) = folder();
        fs::write(home.path().join("a.csv"), "id").unwrap();
        assert_eq!(folder.look().unwrap(), []);
        fs::write(home.path().join("a.csv"), "id\n1").unwrap();
        assert_eq!(folder.look().unwrap(), [], "it has grown");
        assert_eq!(names(&folder.look().unwrap()), ["a.csv"]);
        set_written(&home, "a.csv", 5);
        assert_eq!(folder.look().unwrap(), [], "it was written again");
    }

    #[test]
    fn what_is_no_such_file_is_let_be() {
        let (home, mut folder) = folder();
        for name in [".hidden.csv", "readme.txt", "a.csv.part", "csv"] {
            fs::write(home.path().join(name), "id").unwrap();
        }
        fs::create_dir(home.path().join("folder.csv")).unwrap();
        folder.look().unwrap();
        assert_eq!(folder.look().unwrap(), []);
    }

    #[test]
    fn files_come_in_the_order_in_which_they_were_written() {
        let (home, mut folder) = folder();
        for (name, written) in [("c.csv", 1), ("a.csv", 2), ("b.csv", 2)] {
            fs::write(home.path().join(name), "id").unwrap();
            set_written(&home, name, written);
        }
        folder.look().unwrap();
        assert_eq!(names(&folder.look().unwrap()), ["c.csv", "a.csv", "b.csv"]);
    }

    #[test]
    fn a_file_that_is_refused_has_its_reason_beside_it() {
        let (home, mut folder) = folder();
        fs::write(home.path().join("a.csv"), "id").unwrap();
        folder.look().unwrap();
        let file = folder.look().unwrap().remove(0);
        folder.refuse(&file, 7, "line 1: no").unwrap();
        assert_eq!(fs::read_to_string(home.path().join("refused/7-a.csv")).unwrap(), "id");
        let reason = fs::read_to_string(home.path().join("refused/7-a.csv.reason.txt")).unwrap();
        assert_eq!(reason, "line 1: no\n");
        assert_eq!(folder.look().unwrap(), []);
    }

    #[test]
    fn what_a_crash_left_of_a_posted_file_goes_and_what_is_arriving_stays() {
        let (home, folder) = folder();
        for (name, written) in
            [(".posted-left", 1_000), (".posted-arriving", 1_950), (".hidden", 1), ("a.csv", 1)]
        {
            fs::write(home.path().join(name), "id").unwrap();
            set_written(&home, name, written);
        }
        assert_eq!(folder.sweep(Timestamp::from_seconds(2_000)).unwrap(), 1);
        assert!(!home.path().join(".posted-left").exists());
        for name in [".posted-arriving", ".hidden", "a.csv"] {
            assert!(home.path().join(name).exists(), "{name}");
        }
    }
}
