//! Whom a target never loses, whatever the sources say.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::directory::{AttributePath, ExternalId, User};
use crate::mapping::{Expression, Subject};

/// Accounts that are never deactivated, deleted or taken out of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Protected {
    /// None.
    #[default]
    Nobody,
    /// Those whose id or `userName` is among these, whatever the case of the name.
    Named(BTreeSet<String>),
    /// Those for whom an expression holds.
    When(Expression),
}

impl Protected {
    /// Accounts by id or `userName`.
    pub fn named(names: impl IntoIterator<Item = String>) -> Self {
        Self::Named(names.into_iter().map(|name| name.trim().to_lowercase()).collect())
    }

    /// Whether anybody may be protected.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::Named(names) => names.is_empty(),
            Self::When(_) => false,
        }
    }

    /// Whether a user is protected. One about whom the expression cannot tell is: an error must not cost
    /// anybody an account.
    pub fn covers(&self, id: &ExternalId, user: &User) -> bool {
        match self {
            Self::Nobody => false,
            Self::Named(names) => {
                let name = user.attributes.shown(&AttributePath::new("userName")).and_then(Value::as_str);
                let is_named = |text: &str| names.contains(&text.trim().to_lowercase());
                is_named(id.as_str()) || name.is_some_and(is_named)
            }
            Self::When(condition) => condition.holds(&Subject::new(id, user)).unwrap_or(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::fixture;

    fn covers(protected: &Protected, attributes: &Value) -> bool {
        protected.covers(&ExternalId::parse("u-1").unwrap(), &fixture::user(attributes))
    }

    #[test]
    fn a_user_is_protected_by_id_or_name_whatever_its_case() {
        let jane = Protected::named([" Jane@example.com".to_owned()]);
        assert!(covers(&jane, &json!({"userName": "JANE@example.com"})));
        assert!(!covers(&jane, &json!({"userName": "june@example.com"})));
        assert!(!covers(&jane, &json!({})));
        assert!(covers(&Protected::named(["U-1".to_owned()]), &json!({})));
        assert!(!covers(&Protected::Nobody, &json!({"userName": "jane@example.com"})));
    }

    #[test]
    fn an_expression_protects_whom_it_holds_for_and_whom_it_fails_for() {
        let admins = Protected::When(Expression::compile("user.title == 'Administrator'").unwrap());
        assert!(covers(&admins, &json!({"title": "Administrator"})));
        assert!(!covers(&admins, &json!({"title": "Clerk"})));
        let failing = Protected::When(Expression::compile("user.title + 1").unwrap());
        assert!(covers(&failing, &json!({"title": "Clerk"})));
    }
}
