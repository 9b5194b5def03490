//! What a probe found out, as lines and as a profile.

use toml::{Table, Value};

use crate::target::profile::Profile;

/// One question and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The question, in a few words.
    pub question: &'static str,
    /// The answer, for people.
    pub answer: String,
    /// The answer as values of a profile, by `table.key`.
    pub values: Vec<(&'static str, Value)>,
}

/// All questions that were answered, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// The findings.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// What was found for a key of the profile.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.0
            .iter()
            .flat_map(|finding| &finding.values)
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value)
    }

    /// The text of a profile that states what was found, and beside it what `base` states. `as_of` is
    /// a date as YYYY-MM-DD.
    pub fn to_profile(&self, base: &Profile, target: &str, as_of: &str) -> String {
        let mut profile = base.stated.tables().clone();
        for (key, value) in self.0.iter().flat_map(|finding| &finding.values) {
            let (table, key) = key.split_once('.').expect("each key is written table.key");
            let table = profile.entry(table).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(table) = table {
                table.insert(key.to_owned(), value.clone());
            }
        }
        let mut sources = base.sources.clone();
        sources.push(format!("scim-relay probe of target {target}"));
        profile.insert("name".to_owned(), format!("{}-probed", base.name.trim_end_matches("-probed")).into());
        profile.insert("evidence".to_owned(), "probed".into());
        profile.insert("sources".to_owned(), sources.into());
        profile.insert("as_of".to_owned(), as_of.into());
        toml::to_string_pretty(&profile).expect("tables of TOML can be written as TOML")
    }

    pub(super) fn know(&mut self, question: &'static str, answer: impl Into<String>) {
        self.found(question, answer, Vec::new());
    }

    pub(super) fn found(
        &mut self,
        question: &'static str,
        answer: impl Into<String>,
        values: Vec<(&'static str, Value)>,
    ) {
        self.0.push(Finding { question, answer: answer.into(), values });
    }
}
