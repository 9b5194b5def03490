//! What the configuration decides about each user by expression: who is in a target's scope, which
//! attributes go out under which names, and who belongs to which group.
//!
//! Pure: from a directory's user to an answer. Expressions are the operator's and trusted to be meant;
//! the attributes that they read are not, so no attribute can make one run long or fail in another way
//! than by an error that holds no value.

mod attributes;
mod derived;
mod expression;
#[cfg(test)]
mod fixture;
mod id_map;
mod language;
mod place;
mod protected;
mod subject;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use attributes::{AttributeFault, AttributeMap};
pub use derived::DerivedGroup;
pub use expression::{EvaluationError, Expression, Fault};
pub use id_map::{IdMap, RowFault};
pub use place::{Place, PlaceFault};
pub use protected::Protected;
pub use subject::Subject;

use crate::directory::{AttributePath, ExternalId, User};

/// What one target wants of each user. The default wants everyone, with the attributes as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Who gets an account; everyone where there is no condition.
    pub scope: Option<Expression>,
    /// What goes out; the attributes as they came where there is no table.
    pub attributes: Option<AttributeMap>,
    /// Groups whose members follow from attributes.
    pub derived_groups: Vec<DerivedGroup>,
}

/// What a mapping makes of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// In scope, with the attributes as they came.
    AsItCame,
    /// In scope, with these attributes; null where one is absent.
    To(BTreeMap<AttributePath, Value>),
    /// Not in scope.
    OutOfScope,
    /// It cannot be said, and why, for people; no value of the user.
    Fault(String),
}

impl Mapping {
    /// What becomes of one user.
    pub fn map(&self, id: &ExternalId, user: &User) -> Mapped {
        let (None, None) = (&self.scope, &self.attributes) else {
            return self.evaluate(&Subject::new(id, user));
        };
        Mapped::AsItCame
    }

    /// For each derived group, whether the user belongs to it: nobody does who is deleted or was found
    /// out of scope, and of a user who is not described nothing is said. The error is for people, and
    /// holds no value of the user.
    pub fn memberships(
        &self,
        id: &ExternalId,
        user: &User,
        in_scope: bool,
    ) -> Result<BTreeMap<ExternalId, bool>, String> {
        if self.derived_groups.is_empty() {
            return Ok(BTreeMap::new());
        }
        if user.is_deleted() || !in_scope {
            return Ok(derived::nobody(&self.derived_groups));
        }
        if !user.is_described() {
            return Ok(BTreeMap::new());
        }
        derived::memberships(&self.derived_groups, &Subject::new(id, user))
    }

    /// Whether there is a user who has access in the directory and none at the target.
    pub fn may_end_access(&self) -> bool {
        let sets_active =
            |attributes: &AttributeMap| attributes.texts().any(|(path, _)| path == User::ACTIVE);
        self.scope.is_some() || self.attributes.as_ref().is_some_and(sets_active)
    }

    /// Whether a user who has access in the directory has none at the target, as far as can be said:
    /// out of scope, or mapped to be inactive.
    pub fn ends_access(&self, id: &ExternalId, user: &User) -> bool {
        if !user.is_described() {
            return false;
        }
        match self.map(id, user) {
            Mapped::OutOfScope => true,
            Mapped::To(units) => units.get(User::ACTIVE) == Some(&Value::Bool(false)),
            Mapped::AsItCame | Mapped::Fault(_) => false,
        }
    }

    fn evaluate(&self, subject: &Subject) -> Mapped {
        match self.scope.as_ref().map(|scope| scope.holds(subject)) {
            Some(Err(error)) => return Mapped::Fault(format!("the scope fails for this user: {error}")),
            Some(Ok(false)) => return Mapped::OutOfScope,
            Some(Ok(true)) | None => {}
        }
        match self.attributes.as_ref().map(|attributes| attributes.units(subject)) {
            Some(Ok(units)) => Mapped::To(units),
            Some(Err(fault)) => Mapped::Fault(fault.to_string()),
            None => Mapped::AsItCame,
        }
    }

    /// A text that differs where another mapping says something else; the same in every process.
    /// `None` for the mapping that says nothing.
    pub fn fingerprint(&self) -> Option<String> {
        if *self == Self::default() {
            return None;
        }
        let scope = self.scope.as_ref().map(Expression::source);
        let attributes: Option<BTreeMap<_, _>> = self.attributes.as_ref().map(|map| map.texts().collect());
        let mut said = serde_json::json!({ "scope": scope, "attributes": attributes });
        if !self.derived_groups.is_empty() {
            let rules: BTreeSet<_> =
                self.derived_groups.iter().map(|rule| (rule.group.as_str(), rule.when.source())).collect();
            said["derived_groups"] = serde_json::json!(rules);
        }
        Some(STANDARD.encode(Sha256::digest(said.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapping(scope: Option<&str>, attributes: Option<&[(&str, &str)]>) -> Mapping {
        let compile = |source: &str| Expression::compile(source).unwrap();
        Mapping {
            scope: scope.map(compile),
            attributes: attributes.map(|attributes| {
                let mapped =
                    attributes.iter().map(|(path, text)| (Place::parse(path).unwrap(), compile(text)));
                AttributeMap::new(mapped.collect()).unwrap()
            }),
            derived_groups: Vec::new(),
        }
    }

    fn mapped(mapping: &Mapping, attributes: &Value) -> Mapped {
        mapping.map(&ExternalId::parse("u-1").unwrap(), &fixture::user(attributes))
    }

    #[test]
    fn the_scope_decides_before_the_attributes_are_looked_at() {
        let sales = mapping(Some("user.department == 'SALES'"), Some(&[("title", "user.title + '!'")]));
        assert_eq!(mapped(&sales, &json!({"department": "HR"})), Mapped::OutOfScope);
        assert_eq!(mapped(&sales, &json!({})), Mapped::OutOfScope);
        let title = AttributePath::new("title");
        let expected = Mapped::To([(title, json!("Lead!"))].into());
        assert_eq!(mapped(&sales, &json!({"department": "SALES", "title": "Lead"})), expected);
        let fault = mapped(&sales, &json!({"department": "SALES"}));
        assert!(matches!(&fault, Mapped::Fault(reason) if reason.contains("title")), "{fault:?}");
        assert_eq!(mapped(&Mapping::default(), &json!({})), Mapped::AsItCame);
    }

    #[test]
    fn access_ends_out_of_scope_and_where_it_is_mapped_to() {
        let sales = mapping(Some("user.department == 'SALES'"), None);
        let cleared = mapping(None, Some(&[("active", "user.title == 'Cleared'"), ("title", "user.title")]));
        let (all, renamed) = (Mapping::default(), mapping(None, Some(&[("title", "user.title")])));
        let ends = |mapping: &Mapping, attributes: &Value| {
            let user = fixture::user(attributes);
            mapping.ends_access(&ExternalId::parse("u-1").unwrap(), &user)
        };
        for (mapping, attributes, expected) in [
            (&sales, json!({"department": "SALES"}), false),
            (&sales, json!({"department": "HR"}), true),
            (&cleared, json!({"title": "Cleared"}), false),
            (&cleared, json!({"title": "Guest"}), true),
            (&all, json!({"department": "HR"}), false),
            (&renamed, json!({"title": "Guest"}), false),
        ] {
            assert_eq!(ends(mapping, &attributes), expected, "{attributes}");
            assert!(!expected || mapping.may_end_access());
        }
        assert!(!all.may_end_access() && !renamed.may_end_access());
        let id = ExternalId::parse("u-1").unwrap();
        assert!(!sales.ends_access(&id, &User::default()), "nothing is known but the id");
        let broken = mapping(Some("user.department + 1"), None);
        assert!(!ends(&broken, &json!({"department": "HR"})), "it cannot be said");
    }

    #[test]
    fn a_scope_that_is_no_answer_is_a_fault() {
        for scope in ["user.department", "user.department + 1"] {
            let fault = mapped(&mapping(Some(scope), None), &json!({"department": "HR"}));
            assert!(
                matches!(&fault, Mapped::Fault(reason) if reason.starts_with("the scope fails")),
                "{fault:?}"
            );
        }
    }

    #[test]
    fn who_is_gone_or_out_of_scope_belongs_to_no_derived_group() {
        let rule = DerivedGroup::new(Expression::compile("true").unwrap(), "Everyone").unwrap();
        let group = rule.group.clone();
        let mapping = Mapping { derived_groups: vec![rule], ..Mapping::default() };
        let id = ExternalId::parse("u-1").unwrap();
        let user = fixture::user(&json!({"userName": "jane"}));
        let members = |user: &User, in_scope| mapping.memberships(&id, user, in_scope);
        assert_eq!(members(&user, true), Ok([(group.clone(), true)].into()));
        assert_eq!(members(&user, false), Ok([(group.clone(), false)].into()));
        assert_eq!(members(&User::default(), true), Ok(BTreeMap::new()), "only the id is known");
        assert_eq!(members(&fixture::deleted(), true), Ok([(group, false)].into()));
        assert_eq!(Mapping::default().memberships(&id, &fixture::deleted(), true), Ok(BTreeMap::new()));
        assert!(mapping.fingerprint().is_some());
    }

    #[test]
    fn the_fingerprint_tells_mappings_apart_and_not_their_order() {
        fn print(scope: Option<&str>, attributes: Option<&[(&str, &str)]>) -> Option<String> {
            mapping(scope, attributes).fingerprint()
        }
        let (a, b) = (("title", "'a'"), ("nickName", "'b'"));
        assert_eq!(print(None, None), None);
        assert_eq!(print(None, Some(&[a, b])), print(None, Some(&[b, a])));
        let prints = [
            print(None, Some(&[])),
            print(None, Some(&[a])),
            print(None, Some(&[a, b])),
            print(Some("true"), None),
            print(Some("false"), None),
            print(Some("true"), Some(&[a])),
        ];
        for (n, print) in prints.iter().enumerate() {
            assert!(print.is_some() && !prints[..n].contains(print), "{n}");
        }
    }
}
