//! Which of a vendor's ids belong to which of ours, as an administrator has written it down.

use std::cmp::Ordering;

use crate::directory::{ExternalId, Kind};

/// What belongs together, held in one text and two small numbers a row. The default knows nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    /// The external id and the vendor's id of each row, one behind the other.
    text: String,
    /// By kind and external id.
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    kind: Kind,
    begins: u32,
    external_bytes: u16,
    vendor_bytes: u16,
    /// Where the row stands in its file, 1-based.
    line: u32,
}

/// Why a row cannot be taken: what it says, or what another one says already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// The line that is wrong, 1-based.
    pub line: u32,
    /// What is wrong with it, to follow the number.
    pub reason: String,
}

impl IdMap {
    /// Most rows.
    pub const ROWS_MAX: usize = 1_000_000;
    /// Longest id of a vendor, in bytes, as everywhere.
    const VENDOR_BYTES_MAX: usize = 1_024;

    /// Takes one more row of a file; they are found once [`complete`](Self::complete) has seen them all.
    pub fn push(
        &mut self,
        kind: &str,
        external_id: &str,
        vendor_id: &str,
        line: u32,
    ) -> Result<(), RowFault> {
        let fault = |reason: String| RowFault { line, reason };
        let kind = [Kind::User, Kind::Group].into_iter().find(|known| known.as_str() == kind);
        let kind = kind.ok_or_else(|| fault("has a kind that is neither user nor group".to_owned()))?;
        if self.rows.len() >= Self::ROWS_MAX {
            return Err(fault(format!("is one over {} rows", Self::ROWS_MAX)));
        }
        check_external(external_id).map_err(fault)?;
        check_vendors(vendor_id).map_err(|reason| fault(reason.to_owned()))?;
        let too_much = |_| fault("makes the file too large".to_owned());
        let row = Row {
            kind,
            begins: u32::try_from(self.text.len()).map_err(too_much)?,
            external_bytes: u16::try_from(external_id.len()).map_err(too_much)?,
            vendor_bytes: u16::try_from(vendor_id.len()).map_err(too_much)?,
            line,
        };
        self.text.push_str(external_id);
        self.text.push_str(vendor_id);
        self.rows.push(row);
        Ok(())
    }

    /// Sorts the rows, and refuses those that contradict each other: one of ours with two ids of the
    /// vendor, or one of the vendor's that is to be two of ours. The same row may stand there twice.
    pub fn complete(mut self) -> Result<Self, RowFault> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by(|a, b| {
            (a.kind, self.vendors(a), a.line).cmp(&(b.kind, self.vendors(b), b.line))
        });
        let same_vendors = |a: &Row, b: &Row| a.kind == b.kind && self.vendors(a) == self.vendors(b);
        let clash = |pair: &[Row], what: &str| {
            let lines = (pair[0].line.min(pair[1].line), pair[0].line.max(pair[1].line));
            RowFault { line: lines.1, reason: format!("{what}, see line {}", lines.0) }
        };
        if let Some(pair) = rows.windows(2).find(|pair| {
            same_vendors(&pair[0], &pair[1]) && self.external(&pair[0]) != self.external(&pair[1])
        }) {
            return Err(clash(pair, "gives a vendor_id to a second external_id"));
        }
        rows.sort_unstable_by(|a, b| {
            (a.kind, self.external(a), a.line).cmp(&(b.kind, self.external(b), b.line))
        });
        let same_external = |a: &Row, b: &Row| a.kind == b.kind && self.external(a) == self.external(b);
        if let Some(pair) = rows.windows(2).find(|pair| {
            same_external(&pair[0], &pair[1]) && self.vendors(&pair[0]) != self.vendors(&pair[1])
        }) {
            return Err(clash(pair, "gives an external_id a second vendor_id"));
        }
        rows.dedup_by(|b, a| same_external(a, b));
        rows.shrink_to_fit();
        self.text.shrink_to_fit();
        Ok(Self { rows, ..self })
    }

    /// The vendor's id of one of ours.
    pub fn vendor_id(&self, kind: Kind, external_id: &ExternalId) -> Option<&str> {
        let order =
            |row: &Row| -> Ordering { (row.kind, self.external(row)).cmp(&(kind, external_id.as_str())) };
        let found = self.rows.binary_search_by(order).ok()?;
        self.rows.get(found).map(|row| self.vendors(row))
    }

    /// How many it knows.
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it knows nobody.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn external(&self, row: &Row) -> &str {
        self.part(row.begins, 0, row.external_bytes)
    }

    fn vendors(&self, row: &Row) -> &str {
        self.part(row.begins, row.external_bytes, row.vendor_bytes)
    }

    fn part(&self, begins: u32, skipped: u16, bytes: u16) -> &str {
        let from = usize::try_from(begins).unwrap_or(usize::MAX).saturating_add(usize::from(skipped));
        self.text.get(from..from.saturating_add(usize::from(bytes))).unwrap_or_default()
    }
}

fn check_external(id: &str) -> Result<(), String> {
    if id.trim() != id {
        return Err("has an external_id with space around it".to_owned());
    }
    match ExternalId::parse(id) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("has no good external_id: {error}")),
    }
}

fn check_vendors(id: &str) -> Result<(), &'static str> {
    if id.trim() != id {
        return Err("has a vendor_id with space around it");
    }
    if id.is_empty() || id.len() > IdMap::VENDOR_BYTES_MAX || matches!(id, "." | "..") {
        return Err("has no good vendor_id: it is empty, `.`, `..` or over 1024 bytes");
    }
    if id.chars().any(char::is_control) {
        return Err("has a vendor_id with a control character");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn map(rows: &[(Kind, &str, &str)]) -> Result<IdMap, RowFault> {
        let mut map = IdMap::default();
        for (line, (kind, external_id, vendor_id)) in (2..).zip(rows) {
            map.push(kind.as_str(), external_id, vendor_id, line)?;
        }
        map.complete()
    }

    fn of(map: &IdMap, kind: Kind, id: &str) -> Option<String> {
        map.vendor_id(kind, &ExternalId::parse(id).unwrap()).map(str::to_owned)
    }

    #[test]
    fn each_kind_has_ids_of_its_own_and_case_counts() {
        let map = map(&[
            (Kind::User, "u-1", "v9"),
            (Kind::Group, "u-1", "v9"),
            (Kind::User, "U-1", "V9"),
            (Kind::User, "u-1", "v9"),
        ])
        .unwrap();
        assert_eq!(map.len(), 3, "what stands there twice is one");
        assert_eq!(of(&map, Kind::User, "u-1").as_deref(), Some("v9"));
        assert_eq!(of(&map, Kind::User, "U-1").as_deref(), Some("V9"));
        assert_eq!(of(&map, Kind::Group, "U-1"), None);
        assert_eq!(of(&IdMap::default(), Kind::User, "u-1"), None);
    }

    #[test]
    fn a_row_that_contradicts_another_or_names_nobody_is_refused_with_its_line() {
        let long = "x".repeat(1_025);
        for (rows, line, reason) in [
            (
                vec![("u-1", "v1"), ("u-2", "v2"), ("u-1", "v3")],
                4,
                "an external_id a second vendor_id, see line 2",
            ),
            (
                vec![("u-1", "v1"), ("u-2", "v2"), ("u-3", "v1")],
                4,
                "a vendor_id to a second external_id, see line 2",
            ),
            (vec![("u-1", "v1"), ("", "v2")], 3, "external_id"),
            (vec![("u-1", "")], 2, "vendor_id"),
            (vec![("u-1", "..")], 2, "vendor_id"),
            (vec![("u-1", &long)], 2, "vendor_id"),
            (vec![(&long, "v1")], 2, "external_id"),
            (vec![("u-1 ", "v1")], 2, "space"),
            (vec![("u-1", " v1")], 2, "space"),
            (vec![("u-1", "v\n1")], 2, "control"),
        ] {
            let rows: Vec<_> = rows.iter().map(|(ours, vendors)| (Kind::User, *ours, *vendors)).collect();
            let fault = map(&rows).unwrap_err();
            assert_eq!(fault.line, line, "{fault:?}");
            assert!(fault.reason.contains(reason), "{fault:?}");
        }
    }

    #[test]
    fn a_row_over_the_limit_is_refused() {
        let mut map = IdMap::default();
        map.push("user", "u-1", "v1", 2).unwrap();
        map.rows = vec![map.rows[0]; IdMap::ROWS_MAX];
        assert!(map.push("user", "u", "v", 7).is_err_and(|fault| fault.line == 7));
    }

    proptest! {
        #[test]
        fn every_row_is_found_again(
            pairs in prop::collection::btree_map("[a-c]{1,4}", "[x-z]{1,4}", 0..20),
        ) {
            let pairs: BTreeMap<String, String> =
                pairs.into_iter().map(|(ours, vendors)| (ours.clone(), format!("{ours}{vendors}-{ours}"))).collect();
            let unique = pairs.values().collect::<std::collections::BTreeSet<_>>().len() == pairs.len();
            let rows: Vec<_> = pairs.iter().rev().map(|(ours, vendors)| (Kind::User, ours.as_str(), vendors.as_str())).collect();
            let map = map(&rows);
            prop_assert_eq!(map.is_ok(), unique);
            let Ok(map) = map else { return Ok(()) };
            for (ours, vendors) in &pairs {
                prop_assert_eq!(of(&map, Kind::User, ours), Some(vendors.clone()));
            }
            prop_assert_eq!(of(&map, Kind::User, "d"), None);
        }
    }
}
