//! `scope` and `[targets.NAME.attributes]`: who a target gets, and what of them, by expression.

use crate::config::environment::extend_path;
use crate::config::problem::Problem;
use crate::config::reader::Section;
use crate::mapping::{AttributeMap, Expression, Mapping, Place};

/// Most attributes that a table may map.
const ATTRIBUTES_MAX: usize = 200;

/// Reads both keys; everything that is wrong is noted.
pub fn read(section: &mut Section<'_>) -> Mapping {
    let scope = section.text("scope");
    let scope = scope.and_then(|text| compile(section, &section.path_of("scope"), &text));
    Mapping { scope, attributes: attributes(section) }
}

fn attributes(section: &mut Section<'_>) -> Option<AttributeMap> {
    let table = section.section("attributes")?;
    let prefix = section.path_of("attributes");
    let texts = table.free_texts();
    if texts.len() > ATTRIBUTES_MAX {
        let reason = format!("maps over {ATTRIBUTES_MAX} attributes");
        section.add(Problem::error(&prefix, reason, "map what the vendor needs"));
        return None;
    }
    let mut mapped = Vec::with_capacity(texts.len());
    for (name, text) in texts {
        let mut key = prefix.clone();
        extend_path(&mut key, &name);
        let place = place(section, &key, &name);
        // Both are read before either is missed, so that both are told.
        if let (Some(expression), Some(place)) = (compile(section, &key, &text), place) {
            mapped.push((place, expression));
        }
    }
    let map = AttributeMap::new(mapped);
    if let Err(twice) = &map {
        let reason = format!("maps {twice} twice");
        section.add(Problem::error(&prefix, reason, "keep one of the lines that set it"));
    }
    map.ok()
}

fn place(section: &Section<'_>, key: &str, name: &str) -> Option<Place> {
    let place = Place::parse(name);
    if let Err(fault) = &place {
        section.add(Problem::error(key, &fault.reason, &fault.remedy));
    }
    place.ok()
}

/// An expression; what is wrong with it is noted.
pub fn compile(section: &Section<'_>, key: &str, text: &str) -> Option<Expression> {
    let compiled = Expression::compile(text);
    for fault in compiled.as_ref().err().into_iter().flatten() {
        let reason = format!("at line {}, column {}: {}", fault.line, fault.column, fault.reason);
        section.add(Problem::error(key, reason, &fault.remedy).with_value(text));
    }
    for stranger in compiled.as_ref().map_or(&[][..], Expression::strangers) {
        let reason =
            format!("reads `{stranger}`, which SCIM does not know: it is absent unless a source sends it so");
        let remedy = "check the spelling, upper and lower case too";
        section.add(Problem::warning(key, reason, remedy).with_value(text));
    }
    compiled.ok()
}
