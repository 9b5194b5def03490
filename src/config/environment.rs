//! The process environment as a value: where secrets named `env:…` are looked up, and where
//! `SCIM_RELAY__SECTION__KEY` overrides a key of the file.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::problem::{Problem, Problems};

/// What an override's name begins with; double underscores separate the keys of the path.
pub const OVERRIDE_PREFIX: &str = "SCIM_RELAY__";

/// Environment variables, copied once, so that tests bring their own.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process. One that is not Unicode is left out: no key or secret can be.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn of_process() -> Self {
        let unicode = |text: std::ffi::OsString| text.into_string().ok();
        Self(
            std::env::vars_os().filter_map(|(name, value)| Some((unicode(name)?, unicode(value)?))).collect(),
        )
    }

    /// One variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Which keys came from the environment: dotted path to variable and its text.
pub type Overridden = BTreeMap<String, Override>;

/// One key taken from the environment.
#[derive(Clone, Debug)]
pub struct Override {
    /// Name of the variable.
    pub variable: String,
    /// Its text, which a key that wants text takes as it is: a token `007` is not a number.
    pub text: String,
}

/// Lays the overrides over the file's table, in the order of their names.
pub fn apply_overrides(file: &mut Table, environment: &Environment, problems: &Problems) -> Overridden {
    let mut overridden = Overridden::new();
    for (variable, text) in &environment.0 {
        let Some(path) = variable.strip_prefix(OVERRIDE_PREFIX) else { continue };
        match set(file, path, text) {
            Ok(key) => {
                overridden.insert(key, Override { variable: variable.clone(), text: text.clone() });
            }
            Err(reason) => problems.add(Problem::error(
                variable,
                reason,
                format!("name keys as in {OVERRIDE_PREFIX}SERVER__LISTEN, or unset the variable"),
            )),
        }
    }
    overridden
}

/// Puts a value at a path such as `SERVER__LISTEN`, and says the dotted path it took.
fn set(file: &mut Table, path: &str, text: &str) -> Result<String, String> {
    let segments: Vec<String> = path.split("__").map(str::to_lowercase).collect();
    if segments.iter().any(String::is_empty) {
        return Err("holds an empty key between its underscores".to_owned());
    }
    let (last, parents) = segments.split_last().expect("a split has at least one part");
    let mut dotted = String::new();
    let mut place = Place::Table(file);
    for segment in parents {
        place = place.descend(segment, &mut dotted)?;
    }
    place.put(last, parse_value(text), &mut dotted)?;
    Ok(dotted)
}

/// TOML where it parses as one value, else the text itself.
fn parse_value(text: &str) -> Value {
    let parsed: Option<Table> = format!("value = {text}").parse().ok();
    match parsed {
        Some(mut table) if table.len() == 1 => {
            table.remove("value").unwrap_or_else(|| Value::String(text.to_owned()))
        }
        Some(_) | None => Value::String(text.to_owned()),
    }
}

/// Where the next key of a path is looked up.
enum Place<'a> {
    Table(&'a mut Table),
    Array(&'a mut Vec<Value>),
}

impl<'a> Place<'a> {
    /// Steps into a key, making a table where there is none yet.
    fn descend(self, segment: &str, dotted: &mut String) -> Result<Self, String> {
        let value = self.slot(segment, dotted, || Value::Table(Table::new()))?;
        match value {
            Value::Table(table) => Ok(Self::Table(table)),
            Value::Array(array) => Ok(Self::Array(array)),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => Err(format!("goes below `{dotted}`, which holds a plain value")),
        }
    }

    fn put(self, segment: &str, value: Value, dotted: &mut String) -> Result<(), String> {
        let slot = self.slot(segment, dotted, || Value::Boolean(false))?;
        *slot = value;
        Ok(())
    }

    /// The value at a key: the one already there, whatever its case and hyphens, else a new one.
    fn slot(
        self,
        segment: &str,
        dotted: &mut String,
        fresh: impl Fn() -> Value,
    ) -> Result<&'a mut Value, String> {
        match self {
            Self::Table(table) => {
                let key = existing_key(table, segment).unwrap_or_else(|| segment.to_owned());
                extend_path(dotted, &key);
                Ok(table.entry(key).or_insert_with(fresh))
            }
            Self::Array(array) => {
                let index: usize =
                    segment.parse().map_err(|_| format!("needs a number to go below `{dotted}`, a list"))?;
                if index > array.len() {
                    return Err(format!("skips entries of `{dotted}`, which has {}", array.len()));
                }
                if index == array.len() {
                    array.push(fresh());
                }
                *dotted = format!("{dotted}[{index}]");
                Ok(&mut array[index])
            }
        }
    }
}

/// A variable's name can hold neither lower case nor hyphens, a target's name can.
fn existing_key(table: &Table, segment: &str) -> Option<String> {
    let plain = |key: &str| key.to_lowercase().replace('-', "_");
    if table.contains_key(segment) {
        return Some(segment.to_owned());
    }
    table.keys().find(|key| plain(key) == plain(segment)).cloned()
}

/// Appends a key to a dotted path, quoted where TOML would quote it.
pub fn extend_path(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare {
        path.push_str(key);
    } else {
        path.push('"');
        path.extend(key.escape_debug());
        path.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaid(file: &str, variables: &[(&str, &str)]) -> (Table, Overridden, Vec<Problem>) {
        let mut table: Table = file.parse().unwrap();
        let problems = Problems::default();
        let overridden = apply_overrides(&mut table, &variables.iter().copied().collect(), &problems);
        (table, overridden, problems.into_sorted())
    }

    #[test]
    fn an_override_replaces_or_adds_a_key() {
        let cases = [
            ("[server]\nlisten = 'a'", "SCIM_RELAY__SERVER__LISTEN", "b", "[server]\nlisten = 'b'"),
            ("", "SCIM_RELAY__SERVER__LISTEN", "b", "[server]\nlisten = 'b'"),
            ("", "SCIM_RELAY__A__N", "7", "[a]\nn = 7"),
            ("", "SCIM_RELAY__A__L", "['x', 'y']", "[a]\nl = ['x', 'y']"),
            ("", "SCIM_RELAY__A__T", "{ x = true }", "[a.t]\nx = true"),
            ("", "SCIM_RELAY__A__N", "007", "[a]\nn = '007'"),
            ("", "SCIM_RELAY__A__N", "1\nb = 2", "[a]\nn = \"1\\nb = 2\""),
            ("[t.genesys-eu]\nb = 1", "SCIM_RELAY__T__GENESYS_EU__B", "2", "[t.genesys-eu]\nb = 2"),
            ("[[k]]\ns = 1\n[[k]]\ns = 2", "SCIM_RELAY__K__1__S", "3", "[[k]]\ns = 1\n[[k]]\ns = 3"),
            ("k = [1]", "SCIM_RELAY__K__1", "2", "k = [1, 2]"),
            ("a = 1", "SCIM_RELAY_A", "2", "a = 1"),
        ];
        for (file, name, value, expected) in cases {
            let (table, _, problems) = overlaid(file, &[(name, value)]);
            assert_eq!(problems, [], "{name}");
            assert_eq!(table, expected.parse::<Table>().unwrap(), "{name}");
        }
    }

    #[test]
    fn an_override_that_leads_nowhere_is_a_problem() {
        let cases = [
            ("", "SCIM_RELAY__", "empty key"),
            ("", "SCIM_RELAY__A____B", "empty key"),
            ("a = 1", "SCIM_RELAY__A__B", "plain value"),
            ("a = [1]", "SCIM_RELAY__A__B", "needs a number"),
            ("a = [1]", "SCIM_RELAY__A__2", "skips entries"),
        ];
        for (file, name, reason) in cases {
            let (_, overridden, problems) = overlaid(file, &[(name, "x")]);
            assert_eq!(overridden.len(), 0, "{name}");
            assert_eq!(problems.len(), 1, "{name}");
            assert_eq!(problems[0].key, name);
            assert!(problems[0].reason.contains(reason), "{}", problems[0].reason);
        }
    }

    #[test]
    fn an_override_is_remembered_with_its_path_and_text() {
        let (_, overridden, _) = overlaid("", &[("SCIM_RELAY__SERVER__BODY_LIMIT", "2048")]);
        assert_eq!(overridden["server.body_limit"].text, "2048");
    }
}
