//! Holds the house's layering: modules name only what is below them, and pure files stay pure.
//!
//! The compiler lets any module of a crate use any other. The table here is what `docs/ARCHITECTURE.md`
//! promises instead; `crate::` paths are read from the source, comments and tests included, since a
//! test that reaches up ties the layers just as well.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Which module may name which. A module that may name everything is not limited by a list.
const MAY_USE: &[(&str, MayUse)] = &[
    ("clock", MayUse::Only(&[])),
    ("backoff", MayUse::Only(&[])),
    ("scim", MayUse::Only(&[])),
    ("telemetry", MayUse::Only(&["clock"])),
    ("directory", MayUse::Only(&["scim", "clock"])),
    ("store", MayUse::Only(&["directory", "scim", "clock"])),
    ("source", MayUse::Only(&["directory", "scim", "store", "clock"])),
    ("target", MayUse::Only(&["scim", "clock", "telemetry"])),
    (
        "sync",
        MayUse::Only(&["directory", "mapping", "scim", "store", "target", "telemetry", "clock", "backoff"]),
    ),
    ("mapping", MayUse::Only(&["directory", "scim", "clock"])),
    ("errands", MayUse::Only(&["directory", "source", "store", "target", "telemetry", "clock", "backoff"])),
    ("http", MayUse::Only(&["source", "sync", "store", "audit", "directory", "telemetry", "clock"])),
    ("sandbox", MayUse::Only(&["scim", "target", "clock"])),
    ("feed", MayUse::Only(&["source", "store", "directory", "target", "telemetry", "clock"])),
    ("config", MayUse::Only(&["source", "feed", "mapping", "target", "store", "audit", "http", "clock"])),
    ("audit", MayUse::Only(&["store", "telemetry", "clock"])),
    ("demo", MayUse::Everything),
    ("app", MayUse::Everything),
    ("cli", MayUse::Everything),
    ("lib", MayUse::Everything),
    ("main", MayUse::Everything),
];

enum MayUse {
    Only(&'static [&'static str]),
    Everything,
}

/// Files that compute and never wait, read or write: a path under `src`, or the beginning of one.
const PURE: &[&str] = &[
    "directory/",
    "scim/",
    "mapping/",
    "source/connectors/",
    "sync/plan",
    "sync/leases/balance",
    "sync/drift",
    "sync/resync/known",
    "sync/resync/marks",
    "sync/resync/paging",
];

/// What a pure file does not hold.
const IMPURE_WORDS: &[&str] = &[
    "async ",
    ".await",
    "tokio::",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "reqwest",
    "rusqlite",
];

#[test]
fn modules_name_only_what_is_below_them() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let module = top_module(&path);
        let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            broken.push(format!("{}: module `{module}` is not in the table of this test", path.display()));
            continue;
        };
        for line in reaches_out_by_super(&path, &text) {
            broken.push(format!(
                "{}:{line}: reaches the crate's root by `super`; write `crate::`",
                path.display()
            ));
        }
        for (line, used) in named_modules(&text) {
            let allowed = match may_use {
                MayUse::Everything => true,
                MayUse::Only(modules) => used == module || modules.contains(&used.as_str()),
            };
            if !allowed {
                broken.push(format!("{}:{line}: `{module}` names `{used}`", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "layering broken:\n{}", broken.join("\n"));
}

#[test]
fn pure_files_neither_wait_nor_touch_the_world() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let inside = path.strip_prefix(source_folder()).unwrap().display().to_string();
        if !PURE.iter().any(|pure| inside.starts_with(pure)) {
            continue;
        }
        for (number, line) in code_lines(&text) {
            for word in IMPURE_WORDS.iter().filter(|word| line.contains(**word)) {
                broken.push(format!("{}:{number}: holds `{}`", path.display(), word.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "pure files are not:\n{}", broken.join("\n"));
}

#[test]
fn the_reader_of_this_test_sees_every_way_to_name_a_module() {
    let text = "use crate::store;\nuse crate::{clock::Timestamp, scim};\nfn f(_: crate::http::Body) {}\npub(crate) fn g() {}\n";
    let seen: Vec<(usize, String)> = named_modules(text);
    let expected = [(1, "store"), (2, "clock"), (2, "scim"), (3, "http")];
    assert_eq!(seen, expected.map(|(line, module)| (line, module.to_owned())));
    let spread = "use crate::{\n    clock::{Clock, Timestamp},\n    store::Store,\n};\n";
    assert_eq!(named_modules(spread), [(2, "clock".to_owned()), (3, "store".to_owned())]);
}

/// What reads bytes, texts or headers that somebody else wrote.
const READERS: &[&str] = &[
    "serde_json::from_slice",
    "serde_json::from_str",
    "serde_json::from_reader",
    "toml::from_str",
    "parse_json(",
    "json::parse(",
    "form_urlencoded::parse(",
    "csv::ReaderBuilder",
    ".query_pairs()",
    "Query::try_from_uri",
    "from_pem",
    ".to_str()",
];

#[test]
fn every_file_that_reads_what_comes_from_outside_is_in_the_fuzz_targets_table() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let table = fs::read_to_string(fuzz.join("README.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let cells: Vec<Vec<&str>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    let named = |column: usize| {
        cells.iter().flat_map(move |row| row[column].split('`').skip(1).step_by(2)).collect::<Vec<_>>()
    };
    let mut gaps = Vec::new();
    let places = named(2);
    for place in &places {
        if !source_folder().join(place).exists() {
            gaps.push(format!("{place} is in the table and not there"));
        }
    }
    for (path, text) in sources() {
        let inside = path.strip_prefix(source_folder()).unwrap().display().to_string();
        let is_test = ["tests", "testing", "stage/"].iter().any(|word| inside.contains(word));
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let reads = code_lines(code).any(|(_, line)| READERS.iter().any(|reader| line.contains(reader)));
        let is_there = |place: &&str| inside == **place || place.ends_with('/') && inside.starts_with(*place);
        if reads && !is_test && !places.iter().any(is_there) {
            gaps.push(format!("{inside} reads something and is not in the table"));
        }
    }
    let targets = fs::read_to_string(fuzz.join("src/targets/mod.rs")).unwrap();
    let mut targets: Vec<&str> =
        targets.split("Target { name: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let mut told: Vec<&str> = named(3).into_iter().filter(|name| !name.contains('/')).collect();
    targets.sort_unstable();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, targets, "the table's targets, and those that there are");
    assert!(gaps.is_empty(), "fuzz/README.md:\n{}", gaps.join("\n"));
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every Rust file of the library with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![source_folder()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 10, "the source was not found");
    found.sort();
    found
}

/// `src/store/work.rs` and `src/store.rs` both belong to `store`.
fn top_module(path: &Path) -> String {
    let inside = path.strip_prefix(source_folder()).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// In a module's top file an unindented `use super::` names the module's neighbours.
fn reaches_out_by_super(path: &Path, text: &str) -> Vec<usize> {
    let inside = path.strip_prefix(source_folder()).unwrap();
    let depth = inside.components().count();
    if depth != 1 && !(depth == 2 && inside.ends_with("mod.rs")) {
        return Vec::new();
    }
    let lines = text.lines().enumerate();
    let reaching =
        lines.filter(|(_, line)| line.starts_with("use super::") || line.starts_with("pub use super::"));
    reaching.map(|(index, _)| index + 1).collect()
}

/// The modules that a text names after `crate::`, with the line of each; braces are followed.
fn named_modules(text: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (at, marker) in text.match_indices("crate::") {
        let rest = &text[at + marker.len()..];
        let heads = if rest.starts_with('{') { heads_in_braces(rest) } else { vec![0] };
        for head in heads {
            let word = leading_word(&rest[head..]);
            let line = text[..at + marker.len() + head].matches('\n').count() + 1;
            if !word.is_empty() {
                named.push((line, word));
            }
        }
    }
    named
}

/// Where each path inside `{a::b, c}` begins, of the outermost braces only.
fn heads_in_braces(group: &str) -> Vec<usize> {
    let mut heads = Vec::new();
    let (mut depth, mut expected) = (0, false);
    for (at, c) in group.char_indices() {
        match c {
            '{' => {
                depth += 1;
                expected = depth == 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            ',' => expected = depth == 1,
            c if expected && !c.is_whitespace() => {
                heads.push(at);
                expected = false;
            }
            _ => {}
        }
    }
    heads
}

fn leading_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').collect()
}

/// Lines with their numbers, less comments and what stands below `#[cfg(test)]`.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let code = numbered.take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    code.filter(|(_, line)| !line.trim_start().starts_with("//"))
}
