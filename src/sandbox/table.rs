//! All resources of one kind, with the indexes that make a large directory workable.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::sandbox::record::Record;

/// Resources in order of creation, by id, and by their identifying values.
#[derive(Debug, Default)]
pub struct Table {
    records: BTreeMap<u64, Record>,
    /// The keys of `records` in their order, where the n-th is found without counting.
    order: Vec<u64>,
    ids: HashMap<String, u64>,
    names: Index,
    external_ids: Index,
}

type Index = HashMap<String, BTreeSet<String>>;

impl Table {
    /// The resource of this id.
    pub fn get(&self, id: &str) -> Option<&Record> {
        self.records.get(self.ids.get(id)?)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// So many of them after the first so many, oldest first.
    pub fn page(&self, after: usize, count: usize) -> impl Iterator<Item = &Record> {
        self.order.iter().skip(after).take(count).filter_map(|sequence| self.records.get(sequence))
    }

    /// The ids of those that go by this name, in any case.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &str> {
        self.names.get(&name.to_lowercase()).into_iter().flatten().map(String::as_str)
    }

    /// The ids of those that have this `externalId`.
    pub fn with_external_id(&self, external_id: &str) -> impl Iterator<Item = &str> {
        self.external_ids.get(external_id).into_iter().flatten().map(String::as_str)
    }

    /// Puts a resource in, in the place of the one with the same id.
    pub fn put(&mut self, record: Record) {
        let id = record.id().to_owned();
        let before = self.remove(&id).map(|before| before.sequence);
        if before != Some(record.sequence) {
            if let Some(before) = before {
                self.leave(before);
            }
            let place = self.order.partition_point(|other| *other < record.sequence);
            self.order.insert(place, record.sequence);
        }
        self.names.entry(record.name().to_lowercase()).or_default().insert(id.clone());
        if let Some(external_id) = record.external_id() {
            self.external_ids.entry(external_id.to_owned()).or_default().insert(id.clone());
        }
        self.ids.insert(id, record.sequence);
        self.records.insert(record.sequence, record);
    }

    /// Takes a resource out.
    pub fn take(&mut self, id: &str) -> Option<Record> {
        let record = self.remove(id)?;
        self.leave(record.sequence);
        Some(record)
    }

    fn leave(&mut self, sequence: u64) {
        if let Ok(place) = self.order.binary_search(&sequence) {
            self.order.remove(place);
        }
    }

    /// Takes a resource out, but for its place in the order.
    fn remove(&mut self, id: &str) -> Option<Record> {
        let record = self.records.remove(&self.ids.remove(id)?)?;
        forget(&mut self.names, &record.name().to_lowercase(), id);
        if let Some(external_id) = record.external_id() {
            forget(&mut self.external_ids, external_id, id);
        }
        Some(record)
    }
}

fn forget(index: &mut Index, key: &str, id: &str) {
    let Some(ids) = index.get_mut(key) else { return };
    ids.remove(id);
    if ids.is_empty() {
        index.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::endpoint::Kind;

    fn record(sequence: u64, id: &str, name: &str, external_id: &str) -> Record {
        let value = json!({"id": id, "userName": name, "externalId": external_id});
        Record { kind: Kind::User, sequence, version: 1, value }
    }

    #[test]
    fn the_indexes_follow_every_change() {
        let mut table = Table::default();
        table.put(record(1, "a", "Jane", "e1"));
        table.put(record(2, "b", "bo", "e1"));
        assert_eq!(table.named("JANE").collect::<Vec<_>>(), ["a"]);
        assert_eq!(table.with_external_id("e1").collect::<Vec<_>>(), ["a", "b"]);
        table.put(record(1, "a", "Joan", "e2"));
        assert_eq!(table.named("jane").count(), 0);
        assert_eq!(table.with_external_id("e1").collect::<Vec<_>>(), ["b"]);
        assert_eq!(table.iter().map(Record::id).collect::<Vec<_>>(), ["a", "b"]);
        table.put(record(4, "d", "Di", "e4"));
        table.put(record(3, "c", "Cy", "e3"));
        let page = |table: &Table, after, count| {
            table.page(after, count).map(|record| record.id().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            (page(&table, 0, 2), page(&table, 2, 9)),
            (vec!["a".into(), "b".into()], vec!["c".into(), "d".into()])
        );
        table.put(record(5, "c", "Cy", "e3"));
        table.take("d");
        assert_eq!((page(&table, 1, 9), table.len()), (vec!["b".into(), "c".into()], 3));
        table.take("c");
        table.take("a");
        assert_eq!((table.named("joan").count(), table.ids.len()), (0, 1));
        assert!(table.names.len() == 1 && table.external_ids.len() == 1, "nothing is left behind");
    }
}
