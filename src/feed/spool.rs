//! What a snapshot says, record by record, on disk: however long it is, memory holds a chunk of it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write as _};

use crate::directory::Change;
use crate::feed::said::Said;
use crate::source::fed;

/// Writes a spool.
pub struct SpoolWriter {
    file: BufWriter<File>,
    length: u64,
}

/// A spool that is complete; read from the start as often as it takes.
pub struct Spool {
    file: File,
    length: u64,
}

/// Reads a spool in chunks.
pub struct Chunks {
    file: BufReader<File>,
}

impl SpoolWriter {
    /// A new spool; nobody else can open it, and it is gone when it is closed.
    pub fn new() -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(tempfile::tempfile()?), length: 0 })
    }

    /// Adds what is said of a record.
    pub fn push(&mut self, change: &Change) -> io::Result<()> {
        let body = fed::body(std::slice::from_ref(change));
        self.file.write_all(&body)?;
        self.length += 1;
        self.file.write_all(b"\n")
    }

    /// Ends the spool.
    pub fn finish(self) -> io::Result<Spool> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Spool { file, length: self.length })
    }
}

impl Spool {
    /// How many records it holds.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads it from the start.
    pub fn chunks(&self) -> io::Result<Chunks> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(Chunks { file: BufReader::new(file) })
    }
}

impl Chunks {
    /// The next records, `length` at most; none at the end.
    pub fn next(&mut self, length: usize) -> io::Result<Vec<Said>> {
        let mut said = Vec::new();
        let mut line = Vec::new();
        while said.len() < length && self.file.read_until(b'\n', &mut line)? > 0 {
            let changes = fed::read(&line).map_err(io::Error::other)?;
            said.extend(changes.into_iter().map(Said::new));
            line.clear();
        }
        Ok(said)
    }
}
