//! `id_map`: a file that says which of the vendor's ids belong to which of ours.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::config::reader::Section;
use crate::mapping::IdMap;

/// Largest file: as many rows as may be, with ids of a usual length.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The columns, which stand in any order.
const COLUMNS: [&str; 3] = ["kind", "external_id", "vendor_id"];

/// Reads the file that the key names, whole; whatever is wrong with it is noted.
pub fn read(section: &mut Section<'_>) -> IdMap {
    let Some(name) = section.text("id_map") else { return IdMap::default() };
    match from_file(&section.context().locate(&name)) {
        Ok(map) => map,
        Err(reason) => {
            let remedy =
                "mend the file: CSV with the columns kind (user or group), external_id and vendor_id";
            section.reject("id_map", &name, reason, remedy);
            IdMap::default()
        }
    }
}

fn from_file(path: &Path) -> Result<IdMap, String> {
    let unreadable = |error| format!("names a file that cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(format!("names a file of over {FILE_BYTES_MAX} bytes"));
    }
    let mut reader = csv::Reader::from_reader(BufReader::new(file));
    let columns = columns(reader.headers().map_err(broken)?)?;
    let (mut map, mut row) = (IdMap::default(), csv::StringRecord::new());
    while reader.read_record(&mut row).map_err(broken)? {
        let line = row.position().map_or(0, csv::Position::line);
        let [kind, external_id, vendor_id] = columns.map(|column| row.get(column).unwrap_or_default());
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        map.push(kind, external_id, vendor_id, line).map_err(|fault| at(fault.line.into(), &fault.reason))?;
    }
    map.complete().map_err(|fault| at(fault.line.into(), &fault.reason))
}

/// Where each column stands. One that is missing, and one more, are mistakes.
fn columns(header: &csv::StringRecord) -> Result<[usize; 3], String> {
    let [kind, external_id, vendor_id] =
        COLUMNS.map(|wanted| header.iter().position(|name| name.trim() == wanted));
    match (kind, external_id, vendor_id, header.len()) {
        (Some(kind), Some(external_id), Some(vendor_id), 3) => Ok([kind, external_id, vendor_id]),
        _ => Err(at(1, "must name the columns kind, external_id and vendor_id, and no others")),
    }
}

fn at(line: u64, reason: &str) -> String {
    format!("names a file whose line {line} {reason}")
}

fn broken(error: csv::Error) -> String {
    let line = error.position().map_or(1, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => format!("names a file that cannot be read: {error}"),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            at(line, &format!("has {len} fields where there are {expected_len} columns"))
        }
        csv::ErrorKind::Utf8 { .. } => at(line, "is not UTF-8"),
        csv::ErrorKind::Seek | csv::ErrorKind::Serialize(_) | csv::ErrorKind::Deserialize { .. } | _ => {
            at(line, "is not CSV")
        }
    }
}
