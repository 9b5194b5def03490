//! `protected`: whom a target never loses, by name or by expression.

use super::mapping::compile;
use crate::config::problem::Problem;
use crate::config::reader::Section;
use crate::mapping::Protected;

/// Most accounts named one by one.
const NAMES_MAX: usize = 1_000;

/// Reads a list of ids and user names, or an expression.
pub fn read(section: &mut Section<'_>) -> Protected {
    if section.raw("protected").is_some_and(toml::Value::is_array) {
        return named(section);
    }
    let text = section.text("protected");
    let condition = text.and_then(|text| compile(section, &section.path_of("protected"), &text));
    condition.map_or(Protected::Nobody, Protected::When)
}

fn named(section: &mut Section<'_>) -> Protected {
    let names = section.texts("protected").unwrap_or_default();
    let (path, blank) = (section.path_of("protected"), names.iter().any(|name| name.trim().is_empty()));
    if names.len() > NAMES_MAX {
        section.add(Problem::error(
            &path,
            format!("names over {NAMES_MAX} accounts"),
            "write an expression, such as 'user.title == \"Administrator\"'",
        ));
    }
    if blank {
        section.add(Problem::error(&path, "names an account by nothing", "write an id or a userName"));
    }
    Protected::named(names)
}
