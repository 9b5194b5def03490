//! `scope`, `[targets.NAME.attributes]` and `[[targets.NAME.derived_groups]]`: who a target gets, what of
//! them, and who is in which group, by expression.

use std::collections::BTreeMap;

use crate::config::environment::extend_path;
use crate::config::problem::Problem;
use crate::config::reader::Section;
use crate::mapping::{AttributeMap, DerivedGroup, Expression, Mapping, Place};

/// Most attributes that a table may map.
const ATTRIBUTES_MAX: usize = 200;

/// Most rules for derived groups.
const DERIVED_GROUPS_MAX: usize = 200;

/// Reads the keys; everything that is wrong is noted.
pub fn read(section: &mut Section<'_>) -> Mapping {
    let scope = section.text("scope");
    let scope = scope.and_then(|text| compile(section, &section.path_of("scope"), &text));
    Mapping { scope, attributes: attributes(section), derived_groups: derived_groups(section) }
}

fn derived_groups(section: &mut Section<'_>) -> Vec<DerivedGroup> {
    let rules = section.sections("derived_groups");
    let key = section.path_of("derived_groups");
    if rules.len() > DERIVED_GROUPS_MAX {
        let reason = format!("has over {DERIVED_GROUPS_MAX} rules");
        section.add(Problem::error(&key, reason, "join conditions of one group by ||"));
        return Vec::new();
    }
    let mut spellings: BTreeMap<String, String> = BTreeMap::new();
    let mut derived = Vec::with_capacity(rules.len());
    for rule in rules {
        let Some(rule) = derived_group(rule) else { continue };
        let folded = rule.name().to_lowercase();
        if spellings.entry(folded).or_insert_with(|| rule.name().to_owned()) != rule.name() {
            section.add(Problem::error(
                &key,
                "names one group in two spellings: vendors compare names without regard to case",
                "write the name in one way",
            ));
        }
        derived.push(rule);
    }
    derived
}

fn derived_group(mut section: Section<'_>) -> Option<DerivedGroup> {
    let when = section.text("when");
    let when = section.require("when", when, "write the condition, such as user.department == \"SUPPORT\"");
    let when = when.and_then(|text| compile(&section, &section.path_of("when"), &text));
    let group = section.text("group");
    let group = section.require("group", group, "write the group's name at the vendor");
    let rule = when.zip(group).and_then(|(when, name)| named(&section, when, &name));
    section.finish();
    rule
}

fn named(section: &Section<'_>, when: Expression, name: &str) -> Option<DerivedGroup> {
    let rule = DerivedGroup::new(when, name);
    if rule.is_none() {
        section.add(
            Problem::error(
                section.path_of("group"),
                "is not a group's name: it is empty, too long, or has a control character or space around it",
                "write the displayName that the group has at the vendor",
            )
            .with_value(name),
        );
    }
    rule
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
