//! Groups of a target whose members follow from the users' attributes.

use std::collections::BTreeMap;

use crate::directory::ExternalId;
use crate::mapping::{Expression, Subject};

/// One rule: for whom `when` holds is a member of `group`. Several rules may name one group; any of
/// them suffices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedGroup {
    /// The condition over the user.
    pub when: Expression,
    /// The group, by its [derived id](ExternalId::derived).
    pub group: ExternalId,
}

impl DerivedGroup {
    /// Longest name of a group, in bytes.
    const NAME_BYTES_MAX: usize = 256;

    /// The rule for the group of this name; `None` where no group can be called so: the name is empty,
    /// too long, or has a control character in it or a space around it.
    pub fn new(when: Expression, name: &str) -> Option<Self> {
        let fits = name.len() <= Self::NAME_BYTES_MAX && !name.is_empty() && name.trim() == name;
        let group = ExternalId::derived(name).ok().filter(|_| fits)?;
        Some(Self { when, group })
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        self.group.derived_name().unwrap_or_default()
    }
}

/// For each group that a rule names: whether the user belongs to it. A rule that fails for the user is
/// named in the answer, without a value of the user.
pub(super) fn memberships(
    rules: &[DerivedGroup],
    subject: &Subject,
) -> Result<BTreeMap<ExternalId, bool>, String> {
    let mut memberships = nobody(rules);
    for rule in rules {
        let holds = rule.when.holds(subject).map_err(|error| {
            format!("the condition of the group {} fails for this user: {error}", rule.name())
        })?;
        if holds {
            memberships.insert(rule.group.clone(), true);
        }
    }
    Ok(memberships)
}

/// Every group that a rule names, as one that the user does not belong to.
pub(super) fn nobody(rules: &[DerivedGroup]) -> BTreeMap<ExternalId, bool> {
    rules.iter().map(|rule| (rule.group.clone(), false)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mapping::fixture::subject;

    fn rules(rules: &[(&str, &str)]) -> Vec<DerivedGroup> {
        let compiled = rules.iter().map(|(when, group)| (Expression::compile(when).unwrap(), group));
        compiled.map(|(when, group)| DerivedGroup::new(when, group).unwrap()).collect()
    }

    fn members(given: &[(&str, &str)], user: &Value) -> Result<Vec<(String, bool)>, String> {
        let memberships = memberships(&rules(given), &subject(user))?;
        Ok(memberships.into_iter().map(|(group, member)| (group.to_string(), member)).collect())
    }

    #[test]
    fn any_rule_of_a_group_suffices_and_every_group_has_an_answer() {
        let given = [
            ("user.department == 'SALES'", "Sellers"),
            ("user.title == 'Head'", "Sellers"),
            ("user.department == 'HR'", "People"),
        ];
        for (user, sells, people) in [
            (json!({"department": "SALES"}), true, false),
            (json!({"department": "HR", "title": "Head"}), true, true),
            (json!({}), false, false),
        ] {
            let expected = vec![("derived:People".to_owned(), people), ("derived:Sellers".to_owned(), sells)];
            assert_eq!(members(&given, &user), Ok(expected), "{user}");
        }
    }

    #[test]
    fn a_group_has_a_name() {
        let rule = |name: &str| DerivedGroup::new(Expression::compile("true").unwrap(), name);
        for name in ["", " ", " a", "a\n", "a\u{1}b", &"x".repeat(257)] {
            assert_eq!(rule(name), None, "{name:?}");
        }
        assert_eq!(rule("a b").unwrap().name(), "a b");
    }

    #[test]
    fn a_rule_that_fails_is_named_without_a_value() {
        for when in ["user.title", "user.title + 1"] {
            let error = members(&[(when, "Heads")], &json!({"title": "secret"})).unwrap_err();
            assert!(error.contains("group Heads fails") && !error.contains("secret"), "{error}");
        }
    }
}
