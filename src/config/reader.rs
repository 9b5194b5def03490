//! A reader over a TOML table that goes on after a fault.
//!
//! A deserialiser stops at the first thing it dislikes, and people then fix a file one run at a time.
//! A [`Section`] instead hands out `None` for what is wrong, notes why, and remembers which keys
//! were asked for: whatever is left over at the end is a typo.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::environment::{Environment, Overridden, extend_path};
use super::problem::{Problem, Problems};
use crate::http::expiry::Expiry;

/// How alike two keys must be for one to be offered in place of the other, of 1.
const LIKENESS_MIN: f64 = 0.75;

/// What every reader needs besides its own table.
pub struct Context<'a> {
    /// Where `env:` secrets are looked up.
    pub environment: &'a Environment,
    /// The folder of the configuration file; relative paths of secrets and profiles start here.
    pub folder: &'a Path,
    /// Which keys came from the environment.
    pub overridden: Overridden,
    /// What was found wrong so far.
    pub problems: Problems,
    /// The secrets whose end was told so far.
    pub expiries: RefCell<Vec<Expiry>>,
}

impl Context<'_> {
    /// The path, taken from the folder of the configuration file where it is relative.
    pub fn locate(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

/// One table of the configuration while it is being read.
pub struct Section<'a> {
    context: &'a Context<'a>,
    path: String,
    table: &'a Table,
    asked: BTreeSet<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub fn root(context: &'a Context<'a>, table: &'a Table) -> Self {
        Self { context, path: String::new(), table, asked: BTreeSet::new() }
    }

    /// The dotted path of this table.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The dotted path of one of its keys.
    pub fn path_of(&self, key: &str) -> String {
        let mut path = self.path.clone();
        extend_path(&mut path, key);
        path
    }

    /// What every reader needs.
    pub fn context(&self) -> &'a Context<'a> {
        self.context
    }

    /// Notes a problem with a key of this table.
    pub fn add(&self, problem: Problem) {
        let problem = match self.context.overridden.get(&problem.key) {
            Some(origin) => Problem { key: format!("{} (from {})", problem.key, origin.variable), ..problem },
            None => problem,
        };
        self.context.problems.add(problem);
    }

    /// Notes that a key's value is wrong, repeating the value.
    pub fn reject(
        &self,
        key: &str,
        value: impl Display,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Problem::error(self.path_of(key), reason, remedy).with_value(value));
    }

    /// Whether the key is there. Counts as asking for it.
    pub fn has(&mut self, key: &'static str) -> bool {
        self.raw(key).is_some()
    }

    /// Passes a value on, or notes that the key is missing.
    pub fn require<T>(&mut self, key: &'static str, value: Option<T>, remedy: &str) -> Option<T> {
        if value.is_none() && !self.has(key) {
            self.add(Problem::error(self.path_of(key), "is missing", remedy));
        }
        value
    }

    /// A text.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.raw(key)?;
        let text = self.as_text(&self.path_of(key), value);
        if text.is_none() {
            self.wrong_type(key, value, "a text", "write it in quotes");
        }
        text
    }

    /// A text that is a secret, or names one: like [`Section::text`], but nothing repeats its value.
    pub fn hidden_text(&mut self, key: &'static str) -> Option<String> {
        let value = self.raw(key)?;
        let text = self.as_text(&self.path_of(key), value);
        if text.is_none() {
            self.add(Problem::error(
                self.path_of(key),
                format!("is {}, where a text is needed", kind_of(value)),
                "write \"env:NAME\" or \"file:PATH\"",
            ));
        }
        text
    }

    /// A list of texts whose values nothing repeats; each with its dotted path. `None` when an entry
    /// is no text.
    pub fn hidden_texts(&mut self, key: &'static str) -> Option<Vec<(String, String)>> {
        let path = self.path_of(key);
        let items = self.list(key, "[\"env:NAME\"]")?;
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match self.as_text(&path, item) {
                Some(text) => texts.push((path, text)),
                None => self.add(Problem::error(
                    path,
                    format!("is {}, where a text is needed", kind_of(item)),
                    "write \"env:NAME\" or \"file:PATH\"",
                )),
            }
        }
        (texts.len() == items.len()).then_some(texts)
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let path = self.path_of(key);
        let items = self.list(key, "[\"one\", \"two\"]")?;
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match self.as_text(&format!("{path}[{index}]"), item) {
                Some(text) => texts.push(text),
                None => self.wrong_type(&format!("{key}[{index}]"), item, "a text", "write it in quotes"),
            }
        }
        Some(texts)
    }

    /// The table under a key.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.raw(key)?;
        let path = self.path_of(key);
        self.table_at(path, value)
    }

    /// The tables of a list, `[[…]]`.
    pub fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let path = self.path_of(key);
        let items = self.list(key, "[[…]] tables").unwrap_or_default();
        let indexed = items.iter().enumerate();
        indexed.filter_map(|(index, item)| self.table_at(format!("{path}[{index}]"), item)).collect()
    }

    /// The tables under a key whose own keys are names that people chose.
    pub fn named(&mut self, key: &'static str) -> Vec<(String, Section<'a>)> {
        let Some(parent) = self.section(key) else { return Vec::new() };
        let mut named = Vec::new();
        for (name, value) in parent.table {
            parent.check_name(parent.path_of(name), name);
            if let Some(section) = parent.table_at(parent.path_of(name), value) {
                named.push((name.clone(), section));
            }
        }
        named
    }

    /// Every key of this table with its text, whatever the keys are called.
    pub fn free_texts(self) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        for (key, value) in self.table {
            match self.as_text(&self.path_of(key), value) {
                Some(text) => texts.push((key.clone(), text)),
                None => self.wrong_type(key, value, "a text", "write it in quotes"),
            }
        }
        texts
    }

    /// A name under the rule for names. `None` after noting that it breaks the rule.
    pub fn name(&mut self, key: &'static str) -> Option<String> {
        let name = self.text(key)?;
        self.check_name(self.path_of(key), &name).then_some(name)
    }

    /// Ends the reading: keys that nobody asked for are errors.
    pub fn finish(self) {
        for key in self.table.keys().filter(|key| !self.asked.contains(key.as_str())) {
            self.add(Problem::error(self.path_of(key), "is not a known key", self.remedy_for_unknown(key)));
        }
    }

    fn remedy_for_unknown(&self, key: &str) -> String {
        let likeness = |known: &str| strsim::jaro_winkler(known, &key.to_lowercase());
        let nearest = self.asked.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        match nearest {
            Some(known) if likeness(known) >= LIKENESS_MIN => format!("did you mean `{known}`?"),
            Some(_) | None => {
                let known: Vec<&str> = self.asked.iter().copied().collect();
                format!("remove it; known here: {}", known.join(", "))
            }
        }
    }

    pub(super) fn raw(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.insert(key);
        self.table.get(key)
    }

    /// The value as text; one that came from the environment is its variable's text, whatever TOML
    /// made of it.
    fn as_text(&self, path: &str, value: &Value) -> Option<String> {
        let from_environment = || self.context.overridden.get(path).map(|origin| origin.text.clone());
        value.as_str().map(str::to_owned).or_else(from_environment)
    }

    fn list(&mut self, key: &'static str, example: &str) -> Option<&'a [Value]> {
        let value = self.raw(key)?;
        let list = value.as_array().map(Vec::as_slice);
        if list.is_none() {
            // The value is not repeated: lists of secrets are read here as well.
            self.add(Problem::error(
                self.path_of(key),
                format!("is {}, where a list is needed", kind_of(value)),
                format!("write {example}"),
            ));
        }
        list
    }

    fn table_at(&self, path: String, value: &'a Value) -> Option<Section<'a>> {
        let Some(table) = value.as_table() else {
            // The value is not repeated: it may be a token written where a table belongs.
            let reason = format!("is {}, where a table is needed", kind_of(value));
            self.add(Problem::error(path.clone(), reason, format!("write [{path}], or {{ key = … }}")));
            return None;
        };
        Some(Section { context: self.context, path, table, asked: BTreeSet::new() })
    }

    fn check_name(&self, path: String, name: &str) -> bool {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = name.len() <= 64
            && name.starts_with(word)
            && name.chars().all(|c| word(c) || c == '-' || c == '_');
        if !valid {
            self.add(
                Problem::error(
                    path,
                    "is not a name",
                    "use 1 to 64 of a-z, 0-9, _ and -, a letter or digit first",
                )
                .with_value(name),
            );
        }
        valid
    }

    pub(super) fn wrong_type(&self, key: &str, value: &Value, wanted: &str, remedy: &str) {
        let problem = Problem::error(
            self.path_of(key),
            format!("is {}, where {wanted} is needed", kind_of(value)),
            remedy,
        );
        self.add(if is_scalar(value) { problem.with_value(scalar(value)) } else { problem });
    }
}

/// The text of a file up to a limit; else what is wrong with it, to follow the name of a key.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("names a file that cannot be read: {error}"))?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("names a file of over {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "names a file that is not UTF-8".to_owned())
}

/// Names a value's type with its article.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

fn is_scalar(value: &Value) -> bool {
    value.as_table().is_none() && value.as_array().is_none()
}

/// A scalar as people wrote it: a text without the quotes.
pub(super) fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `a`, `a or b`, `a, b or c`.
pub fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
