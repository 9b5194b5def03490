//! A profile with all of its values, those that it sets and those that it leaves to RFC 7644, as text.

use std::fmt::Write as _;

use toml::{Table, Value};

/// Every knob, its default, and what it does.
pub(super) const KNOBS: &str = include_str!("knobs.toml");

/// What stands before a knob that is unset by default.
const UNSET: &str = "#: ";

/// The whole of a profile that is known to be valid, as TOML: what departs from the default says so.
pub(super) fn effective(text: &str) -> Result<String, toml::de::Error> {
    let own: Table = text.parse()?;
    let mut shown = head(&own);
    let mut table: Option<&str> = None;
    // Everything before the first knob is about the file of knobs itself.
    let mut pending = String::new();
    for line in KNOBS.lines().skip_while(|line| !line.is_empty()) {
        let (unset, line) = match line.strip_prefix(UNSET) {
            Some(line) => (true, line),
            None => (false, line),
        };
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = Some(name);
            pending.push_str(line);
            pending.push('\n');
        } else if let Some((key, default)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            let value = match table {
                Some(table) => own.get(table).and_then(|table| table.get(key)),
                None => own.get(key),
            };
            match (value, unset) {
                (None, true) => drop_comment(&mut pending),
                (None, false) => write_knob(&mut shown, &mut pending, key, default, None),
                (Some(value), true) => {
                    write_knob(&mut shown, &mut pending, key, &value.to_string(), Some("unset"));
                }
                (Some(value), false) => {
                    let departs = !same(value, default);
                    write_knob(&mut shown, &mut pending, key, &value.to_string(), departs.then_some(default));
                }
            }
        } else {
            pending.push_str(line);
            pending.push('\n');
        }
    }
    Ok(shown)
}

fn head(own: &Table) -> String {
    let mut head = String::new();
    for key in ["name", "summary", "evidence", "sources", "as_of"] {
        if let Some(value) = own.get(key) {
            // Writing to a string does not fail.
            let _ = writeln!(head, "{key} = {value}");
        }
    }
    head
}

fn write_knob(shown: &mut String, pending: &mut String, key: &str, value: &str, default: Option<&str>) {
    shown.push_str(&std::mem::take(pending));
    let note = default.map(|default| format!("   # departs from the default, {default}")).unwrap_or_default();
    let _ = writeln!(shown, "{key} = {value}{note}");
}

/// Takes the comment at the end away again.
fn drop_comment(pending: &mut String) {
    while let Some(last) =
        pending.trim_end_matches('\n').rsplit('\n').next().filter(|last| last.starts_with('#'))
    {
        let length = pending.trim_end_matches('\n').len() - last.len();
        pending.truncate(length);
    }
}

fn same(value: &Value, default: &str) -> bool {
    let default = format!("value = {default}").parse::<Table>();
    default.is_ok_and(|table| table.get("value") == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Profile;
    use crate::target::profile::Stated;

    const HEAD: &str = "name = \"mine\"\nevidence = \"partial\"\nsources = [\"d\"]\nas_of = \"2026-11-20\"\n";

    /// The profile of a text, whichever of its values the text states.
    fn meaning(text: &str) -> Profile {
        let profile = Profile::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Profile { stated: Stated::default(), ..profile }
    }

    #[test]
    fn the_list_of_knobs_says_the_defaults() {
        let listed = format!("{HEAD}{KNOBS}");
        assert_eq!(format!("{:#?}", meaning(&listed)), format!("{:#?}", meaning(HEAD)));
    }

    #[test]
    fn the_list_of_knobs_has_every_knob() {
        let sections = format!("[]\n{KNOBS}");
        for section in sections.split("\n[").map(|section| section.trim_start_matches('[')) {
            let (table, knobs) = section.split_once("]\n").unwrap();
            let header = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
            let said = Profile::parse(&format!("{HEAD}{header}colour = 1")).unwrap_err().to_string();
            // Between backticks: the key that is not known, and then those that are.
            let (_, known) = said.split_once("expected ").expect("the keys are named");
            for key in known.split('`').skip(1).step_by(2) {
                let line = format!("{key} = ");
                let listed = knobs.lines().any(|known| known.trim_start_matches(UNSET).starts_with(&line));
                let is_table = table.is_empty() && sections.contains(&format!("\n[{key}]\n"));
                let is_head = ["name", "evidence", "sources", "as_of", "summary"].contains(&key);
                assert!(listed || is_table || is_head, "[{table}] {key} is not in the list");
            }
        }
    }

    #[test]
    fn the_whole_of_a_profile_is_the_same_profile() {
        for name in Profile::names() {
            let text = Profile::builtin_text(name).unwrap();
            let shown = effective(text).unwrap();
            assert_eq!(format!("{:?}", meaning(&shown)), format!("{:?}", meaning(text)), "{name}");
        }
    }

    #[test]
    fn what_departs_from_the_default_says_so() {
        let text = format!("{HEAD}[etag]\ntrust = \"ignored\"\n[members]\nread_cap = 5\nread = \"get\"");
        let shown = effective(&text).unwrap();
        assert!(
            shown.contains("trust = \"ignored\"   # departs from the default, \"enforced\"\n"),
            "{shown}"
        );
        assert!(shown.contains("read_cap = 5   # departs from the default, unset\n"));
        assert!(shown.contains("\nread = \"get\"\n"));
        assert!(!shown.contains("user_agent") && !shown.contains("instead of the relay's own"));
    }
}
