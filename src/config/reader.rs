//! A reader over a TOML table that goes on after a fault.
//!
//! A deserialiser stops at the first thing it dislikes, and people then fix a file one run at a time.
//! A [`Section`] instead hands out `None` for what is wrong, notes why, and remembers which keys
//! were asked for: whatever is left over at the end is a typo.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use toml::{Table, Value};
use url::Url;

use super::environment::{Environment, Overridden, extend_path};
use super::problem::{Problem, Problems};

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

    /// Yes or no.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.raw(key)?;
        if value.as_bool().is_none() {
            self.wrong_type(key, value, "true or false", "write true or false, without quotes");
        }
        value.as_bool()
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, key: &'static str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let value = self.raw(key)?;
        let Some(number) = value.as_integer() else {
            self.wrong_type(key, value, "a whole number", &between(&bounds));
            return None;
        };
        let number = u32::try_from(number).ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            self.reject(key, value, "is out of range", between(&bounds));
        }
        number
    }

    /// A whole number from 1 to a bound.
    pub fn positive(&mut self, key: &'static str, most: NonZeroU32) -> Option<NonZeroU32> {
        NonZeroU32::new(self.integer(key, 1..=most.get())?)
    }

    /// A number, whole or not, within bounds.
    pub fn number(&mut self, key: &'static str, bounds: RangeInclusive<f64>) -> Option<f64> {
        let value = self.raw(key)?;
        // Whole numbers that a rate or a percentage may have are exact as floats.
        #[expect(clippy::cast_precision_loss, reason = "bounds keep the number far below 2^52")]
        let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let Some(number) = number else {
            self.wrong_type(key, value, "a number", &between(&bounds));
            return None;
        };
        if !bounds.contains(&number) {
            self.reject(key, value, "is out of range", between(&bounds));
            return None;
        }
        Some(number)
    }

    /// A span of time such as `"30s"`, within bounds.
    pub fn duration(&mut self, key: &'static str, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        let remedy = format!(
            "write a span from \"{}\" to \"{}\"",
            humantime::format_duration(*bounds.start()),
            humantime::format_duration(*bounds.end()),
        );
        let value = self.raw(key)?;
        let Some(text) = value.as_str() else {
            self.wrong_type(key, value, "a span of time such as \"30s\"", &remedy);
            return None;
        };
        match humantime::parse_duration(text) {
            Ok(span) if bounds.contains(&span) => Some(span),
            Ok(_) => {
                self.reject(key, text, "is out of range", remedy);
                None
            }
            Err(error) => {
                self.reject(key, text, format!("is not a span of time: {error}"), remedy);
                None
            }
        }
    }

    /// A size in bytes: a whole number, or a text such as `"1MiB"`; within bounds.
    pub fn size(&mut self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<usize> {
        let remedy = format!(
            "write a size from \"{}\" to \"{}\"",
            ByteSize(*bounds.start()).display().iec(),
            ByteSize(*bounds.end()).display().iec(),
        );
        let value = self.raw(key)?;
        let size = match (value.as_integer(), value.as_str()) {
            (Some(bytes), _) => u64::try_from(bytes).ok(),
            (None, Some(text)) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
            (None, None) => None,
        };
        match size {
            Some(size) if bounds.contains(&size) => usize::try_from(size).ok(),
            Some(_) => {
                self.reject(key, scalar(value), "is out of range", remedy);
                None
            }
            None => {
                self.wrong_type(key, value, "a size such as \"1MiB\"", &remedy);
                None
            }
        }
    }

    /// One of a few words. `choices` pairs each word with what it stands for.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let word = self.text(key)?;
        let found = choices.iter().find(|(name, _)| *name == word).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.reject(key, &word, "is not one of the choices", format!("write {}", one_of(&words)));
        }
        found
    }

    /// An `http` or `https` URL that bears no credentials, query or fragment.
    pub fn url(&mut self, key: &'static str) -> Option<Url> {
        let text = self.text(key)?;
        let remedy = "write an absolute URL such as \"https://vendor.example/scim/v2\"";
        let fault = match Url::parse(&text) {
            Err(error) => format!("is not a URL: {error}"),
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                format!("has the scheme `{}`, not https", url.scheme())
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                // Nothing of the value is repeated: it holds a password.
                self.add(Problem::error(
                    self.path_of(key),
                    "holds a user name or a password",
                    "take them out of the URL and put them under `auth`",
                ));
                return None;
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                "holds a query or a fragment".to_owned()
            }
            Ok(_) if text.contains(['{', '}', '<', '>']) => "holds a placeholder".to_owned(),
            Ok(url) => return Some(url),
        };
        self.reject(key, without_user_info(&text), fault, remedy);
        None
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

    fn raw(&mut self, key: &'static str) -> Option<&'a Value> {
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

    fn wrong_type(&self, key: &str, value: &Value, wanted: &str, remedy: &str) {
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
fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn between<T: Display>(bounds: &RangeInclusive<T>) -> String {
    format!("write a number from {} to {}", bounds.start(), bounds.end())
}

/// `a`, `a or b`, `a, b or c`.
pub fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Leaves out what may be a password: everything from the scheme to the last `@`.
pub fn without_user_info(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        (None, Some((_, rest))) => format!("…@{rest}"),
        (_, None) => url.to_owned(),
    }
}
