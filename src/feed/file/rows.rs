//! Reading a file's rows, one at a time: each is understood, or the file is refused at its place.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::directory::Change;
use crate::feed::file::Format;
use crate::feed::file::line_ends::Lines;
use crate::feed::spool::{Spool, SpoolWriter};
use crate::source::fed::Records;
use crate::source::{Malformed, parse_json};

/// Longest row, in bytes: a quote that is never closed would take the rest of the file for one field.
const ROW_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most columns of a CSV file.
const COLUMNS_MAX: usize = 1_000;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file is not taken. It is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// A row is not of the shape that is configured.
    #[error("line {line}: {source}")]
    Malformed {
        /// From 1.
        line: u64,
        /// The column, as a pointer, and what is wrong there.
        source: Malformed,
    },
    /// A row cannot be told from the next.
    #[error("line {line}: {reason}")]
    Broken {
        /// From 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The disk, now; the file may be taken later.
    #[error("the file cannot be read")]
    Read(#[from] io::Error),
}

/// Reads all rows into a spool. Rows that mean nothing to a directory are left out.
pub fn spool(file: impl Read, format: Format, records: &Records) -> Result<Spool, RowError> {
    let mut spool = SpoolWriter::new()?;
    read(file, format, |line, row| {
        let change = records.read(&row).map_err(|source| RowError::Malformed { line, source })?;
        Ok(change.map_or(Ok(()), |change: Change| spool.push(&change))?)
    })?;
    Ok(spool.finish()?)
}

/// Reads each row as an object, with its line.
pub fn read(
    file: impl Read,
    format: Format,
    mut each: impl FnMut(u64, Value) -> Result<(), RowError>,
) -> Result<(), RowError> {
    let mut file = BufReader::new(file);
    if file.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
        file.consume(BYTE_ORDER_MARK.len());
    }
    match format {
        Format::Csv { delimiter } => read_csv(file, delimiter, &mut each),
        Format::JsonLines => read_lines(file, &mut each),
    }
}

fn read_csv(
    file: impl Read,
    delimiter: u8,
    each: &mut impl FnMut(u64, Value) -> Result<(), RowError>,
) -> Result<(), RowError> {
    let since_row = Rc::new(Cell::new(0));
    let file = Lines::new(Bounded { file, since_row: Rc::clone(&since_row) });
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(file);
    let columns = columns(reader.headers().map_err(broken)?)?;
    let mut row = csv::StringRecord::new();
    loop {
        since_row.set(0);
        if !reader.read_record(&mut row).map_err(broken)? {
            return Ok(());
        }
        let line = row.position().map_or(0, csv::Position::line);
        let fields = columns.iter().cloned().zip(row.iter().map(field));
        each(line, Value::Object(fields.collect::<Map<_, _>>()))?;
    }
}

/// A field that is empty says that there is no value.
fn field(text: &str) -> Value {
    let text = text.trim();
    if text.is_empty() { Value::Null } else { text.into() }
}

fn columns(header: &csv::StringRecord) -> Result<Vec<String>, RowError> {
    let fault = |reason: String| RowError::Broken { line: 1, reason };
    let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    if names.len() > COLUMNS_MAX {
        return Err(fault(format!("there are {} columns, over {COLUMNS_MAX}", names.len())));
    }
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(fault(format!("column {} has no name", index + 1)));
        }
        if names[..index].contains(name) {
            return Err(fault(format!("column {} has the name of another", index + 1)));
        }
    }
    Ok(names)
}

fn broken(error: csv::Error) -> RowError {
    let line = error.position().map_or(1, csv::Position::line);
    let reason = match error.into_kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
        csv::ErrorKind::Io(error) => return RowError::Read(error),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("there are {len} fields, and {expected_len} columns")
        }
        csv::ErrorKind::Utf8 { err, .. } => format!("column {} is not UTF-8", err.field() + 1),
        csv::ErrorKind::Seek | csv::ErrorKind::Serialize(_) | csv::ErrorKind::Deserialize { .. } | _ => {
            "is not CSV".to_owned()
        }
    };
    RowError::Broken { line, reason }
}

/// Fails where a row takes more than its share.
struct Bounded<R> {
    file: R,
    since_row: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.since_row.set(self.since_row.get() + length as u64);
        if self.since_row.get() > ROW_BYTES_MAX {
            let reason = format!("a row is over {ROW_BYTES_MAX} bytes; is a quote left open?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(length)
    }
}

fn read_lines(
    mut file: impl BufRead,
    each: &mut impl FnMut(u64, Value) -> Result<(), RowError>,
) -> Result<(), RowError> {
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let length = (&mut file).take(ROW_BYTES_MAX).read_until(b'\n', &mut bytes)?;
        if length == 0 {
            break;
        }
        if length as u64 == ROW_BYTES_MAX {
            return Err(RowError::Broken { line, reason: format!("is over {ROW_BYTES_MAX} bytes") });
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let row = parse_json(bytes.trim_ascii()).map_err(|source| RowError::Malformed { line, source })?;
        if !row.is_object() {
            return Err(RowError::Broken { line, reason: "an object is expected".to_owned() });
        }
        each(line, row)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rows_of(text: &[u8], format: Format) -> Result<Vec<(u64, Value)>, String> {
        let mut rows = Vec::new();
        let read = read(text, format, |line, row| {
            rows.push((line, row));
            Ok(())
        });
        read.map(|()| rows).map_err(|error| error.to_string())
    }

    const COMMA: Format = Format::Csv { delimiter: b',' };

    #[test]
    fn a_rows_fields_stand_under_the_names_of_their_columns() {
        let expected = Ok(vec![
            (2, json!({"id": "1", "name": "Zoë, A.", "note": null})),
            (3, json!({"id": "2", "name": "two\nlines", "note": "x"})),
            (5, json!({"id": "3", "name": "\"q\"", "note": "y"})),
        ]);
        let text = "id,name,note\n1,\"Zoë, A.\",\n2,\"two\nlines\", x \r\n3,\"\"\"q\"\"\",y";
        assert_eq!(rows_of(text.as_bytes(), COMMA), expected);
        let marked = format!("\u{feff}{text}");
        assert_eq!(rows_of(marked.as_bytes(), COMMA), expected, "with a byte order mark");
    }

    #[test]
    fn another_delimiter_may_be_configured() {
        let rows = rows_of(b"id;name\n1;a,b\n", Format::Csv { delimiter: b';' });
        assert_eq!(rows, Ok(vec![(2, json!({"id": "1", "name": "a,b"}))]));
    }

    #[test]
    fn what_is_no_table_is_refused_at_its_line() {
        for (text, expected) in [
            (&b"id,name\n1,a\n2\n"[..], "line 3: there are 1 fields, and 2 columns"),
            (b"id,name\n1,a,b\n", "line 2: there are 3 fields, and 2 columns"),
            (b"id,id\n", "line 1: column 2 has the name of another"),
            (b"id, ,x\n", "line 1: column 2 has no name"),
            (b"id,name\n1,a\n2,\xff\n", "line 3: column 2 is not UTF-8"),
        ] {
            assert_eq!(rows_of(text, COMMA), Err(expected.to_owned()), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_quote_that_is_left_open_does_not_take_the_rest_of_the_file() {
        let most = usize::try_from(ROW_BYTES_MAX).unwrap();
        let text = format!("id,name\n1,\"{}", "x,\n".repeat(most));
        let error = rows_of(text.as_bytes(), COMMA).unwrap_err();
        assert!(error.contains("is a quote left open?"), "{error}");
        let long: String = (0..most / 2).map(|_| "1,abc\n").collect();
        assert!(
            rows_of(format!("id,name\n{long}").as_bytes(), COMMA).is_ok(),
            "short rows may go on for ever"
        );
    }

    #[test]
    fn each_line_is_an_object() {
        let text = b"\xef\xbb\xbf{\"id\": 1}\r\n\n  {\"id\": 2}";
        let expected = vec![(1, json!({"id": 1})), (3, json!({"id": 2}))];
        assert_eq!(rows_of(text, Format::JsonLines), Ok(expected));
        for (text, expected) in [
            (&b"{\"id\": 1}\n[]\n"[..], "line 2: an object is expected"),
            (b"{\"id\": 1}\n{\"id\": \n", "line 2: the body is not JSON"),
            (b"{\"id\": 1, \"id\": 2}\n", "line 1: the body is not JSON"),
        ] {
            let error = rows_of(text, Format::JsonLines).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let long = vec![b' '; usize::try_from(ROW_BYTES_MAX).unwrap() + 1];
        assert!(rows_of(&long, Format::JsonLines).unwrap_err().starts_with("line 1: is over"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(text in proptest::collection::vec(any::<u8>(), 0..200), csv: bool) {
            let _ = rows_of(&text, if csv { COMMA } else { Format::JsonLines });
        }

        #[test]
        fn what_a_writer_quotes_is_read_as_it_was(cells in proptest::collection::vec("[a-z\",;\n]{1,6}", 1..20)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["cell", "end"]).unwrap();
            for cell in &cells {
                writer.write_record([cell.as_str(), "x"]).unwrap();
            }
            let rows = rows_of(&writer.into_inner().unwrap(), COMMA).unwrap();
            let read: Vec<Value> = rows.into_iter().map(|(_, row)| row["cell"].clone()).collect();
            let expected: Vec<Value> = cells.iter().map(|cell| field(cell)).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
