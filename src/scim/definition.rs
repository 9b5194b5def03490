//! What each attribute is: type, mutability, case, sub-attributes (RFC 7643 sections 2.2, 7 and 8.7).
//!
//! A schema extension is treated as one complex attribute whose name is its URN, since that is how it
//! stands in a resource.

mod enterprise;
mod group;
mod user;

use crate::scim::path::AttributePath;

/// One attribute or sub-attribute.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "these are the characteristics that RFC 7643 names")]
pub struct Attribute {
    /// The name as the RFC spells it, or an extension's URN.
    pub name: &'static str,
    /// Type of a value.
    pub kind: Type,
    /// Whether the value is an array.
    pub multi_valued: bool,
    /// Whether a resource must have it.
    pub required: bool,
    /// Whether text compares with case.
    pub case_exact: bool,
    /// Whether no two resources may share a value.
    pub unique: bool,
    /// Who may change it, and when.
    pub mutability: Mutability,
    /// When it is part of an answer.
    pub returned: Returned,
    /// Usual values; others are allowed.
    pub canonical_values: &'static [&'static str],
    /// What a reference may point at.
    pub reference_types: &'static [&'static str],
    /// The parts of a complex attribute.
    pub sub_attributes: &'static [Attribute],
}

/// Types of values, RFC 7643 section 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// Base64 text.
    Binary,
    /// A URI, or a resource's relative address.
    Reference,
    /// An object.
    Complex,
}

/// Who may change an attribute, RFC 7643 section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// The service alone.
    ReadOnly,
    /// The client, at any time.
    ReadWrite,
    /// The client, once.
    Immutable,
    /// The client, and it is never returned.
    WriteOnly,
}

/// When an attribute is part of an answer, RFC 7643 section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// In every answer.
    Always,
    /// In no answer.
    Never,
    /// Unless excluded.
    Default,
}

impl Attribute {
    /// A single text that may be read and written; the methods below change what differs.
    pub const fn text(name: &'static str) -> Self {
        Self {
            name,
            kind: Type::String,
            multi_valued: false,
            required: false,
            case_exact: false,
            unique: false,
            mutability: Mutability::ReadWrite,
            returned: Returned::Default,
            canonical_values: &[],
            reference_types: &[],
            sub_attributes: &[],
        }
    }

    /// True or false.
    pub const fn boolean(name: &'static str) -> Self {
        Self { kind: Type::Boolean, ..Self::text(name) }
    }

    /// A reference to one of `types` (`external`, `uri` or resource types).
    pub const fn reference(name: &'static str, types: &'static [&'static str]) -> Self {
        Self { kind: Type::Reference, case_exact: true, reference_types: types, ..Self::text(name) }
    }

    /// An object with parts.
    pub const fn complex(name: &'static str, parts: &'static [Attribute]) -> Self {
        Self { kind: Type::Complex, sub_attributes: parts, ..Self::text(name) }
    }

    /// An array of objects with parts.
    pub const fn many(name: &'static str, parts: &'static [Attribute]) -> Self {
        Self { multi_valued: true, ..Self::complex(name, parts) }
    }

    /// With this type.
    #[must_use]
    pub const fn of_type(self, kind: Type) -> Self {
        Self { kind, ..self }
    }

    /// Needed in every resource.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// Held by at most one resource.
    #[must_use]
    pub const fn unique(self) -> Self {
        Self { unique: true, ..self }
    }

    /// Comparing with case.
    #[must_use]
    pub const fn exact(self) -> Self {
        Self { case_exact: true, ..self }
    }

    /// With this mutability; what is only written is never returned.
    #[must_use]
    pub const fn with(self, mutability: Mutability) -> Self {
        let returned =
            if matches!(mutability, Mutability::WriteOnly) { Returned::Never } else { self.returned };
        Self { mutability, returned, ..self }
    }

    /// With usual values.
    #[must_use]
    pub const fn usually(self, canonical_values: &'static [&'static str]) -> Self {
        Self { canonical_values, ..self }
    }

    /// The part of this name, in any case.
    pub fn part(&self, name: &str) -> Option<&'static Attribute> {
        self.sub_attributes.iter().find(|part| part.name.eq_ignore_ascii_case(name))
    }

    /// Whether this is an extension rather than an attribute.
    pub fn is_extension(&self) -> bool {
        self.name.starts_with("urn:")
    }
}

/// A core schema and the extensions that go with it.
#[derive(Debug)]
pub struct SchemaRules {
    /// URN of the core schema.
    pub urn: &'static str,
    /// The resource type's name: `User`, `Group`.
    pub name: &'static str,
    /// The attributes, without the common ones (`schemas`, `id`, `externalId`, `meta`).
    pub attributes: &'static [Attribute],
    /// The extensions, each as one complex attribute.
    pub extensions: &'static [Attribute],
}

/// Users with the enterprise extension, RFC 7643 sections 4.1 and 4.3.
pub const USER_RULES: SchemaRules = SchemaRules {
    urn: crate::scim::schema::USER,
    name: "User",
    attributes: user::ATTRIBUTES,
    extensions: &[enterprise::EXTENSION],
};

/// Groups, RFC 7643 section 4.2.
pub const GROUP_RULES: SchemaRules = SchemaRules {
    urn: crate::scim::schema::GROUP,
    name: "Group",
    attributes: group::ATTRIBUTES,
    extensions: &[],
};

/// The attributes of every resource, RFC 7643 section 3.1.
pub const COMMON_ATTRIBUTES: &[Attribute] = &[
    Attribute { returned: Returned::Always, multi_valued: true, ..Attribute::reference("schemas", &["uri"]) }
        .with(Mutability::ReadOnly),
    Attribute { returned: Returned::Always, ..Attribute::text("id") }.exact().with(Mutability::ReadOnly),
    Attribute::text("externalId").exact(),
    Attribute::complex("meta", &[]).with(Mutability::ReadOnly),
];

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
pub struct Resolved {
    /// The extension, for an attribute of one.
    pub extension: Option<&'static Attribute>,
    /// The attribute, or an extension as a whole.
    pub attribute: &'static Attribute,
    /// The sub-attribute, when the path names one.
    pub sub: Option<&'static Attribute>,
}

impl SchemaRules {
    /// Finds what a path names, in any case. `None` when the schema does not have it.
    pub fn resolve(&self, path: &AttributePath) -> Option<Resolved> {
        let (extension, attribute) = self.attribute(path)?;
        let sub = match path.sub.as_deref() {
            Some(name) => Some(attribute.part(name)?),
            None => None,
        };
        Some(Resolved { extension, attribute, sub })
    }

    /// A top-level key of a resource: an attribute, a common attribute, or an extension's URN.
    pub fn top_level(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes
            .iter()
            .chain(COMMON_ATTRIBUTES)
            .chain(self.extensions)
            .find(|known| known.name.eq_ignore_ascii_case(name))
    }

    fn attribute(&self, path: &AttributePath) -> Option<(Option<&'static Attribute>, &'static Attribute)> {
        let Some(urn) = path.urn.as_deref() else {
            return self.top_level(&path.name).map(|found| (None, found));
        };
        if urn.eq_ignore_ascii_case(self.urn) {
            return self
                .top_level(&path.name)
                .filter(|found| !found.is_extension())
                .map(|found| (None, found));
        }
        match self.extensions.iter().find(|extension| extension.name.eq_ignore_ascii_case(urn)) {
            Some(extension) => extension.part(&path.name).map(|found| (Some(extension), found)),
            None => self.top_level(&path.whole()).map(|found| (None, found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::schema;

    fn resolve(text: &str) -> Option<String> {
        let resolved = USER_RULES.resolve(&AttributePath::parse(text)?)?;
        let names = [resolved.extension, Some(resolved.attribute), resolved.sub];
        Some(names.iter().flatten().map(|part| part.name).collect::<Vec<_>>().join(" > "))
    }

    #[test]
    fn a_path_leads_to_an_attribute_in_any_case_and_with_or_without_its_urn() {
        let urn = schema::ENTERPRISE_USER;
        for (path, expected) in [
            ("USERNAME".to_owned(), Some("userName".to_owned())),
            (format!("{}:name.givenname", schema::USER), Some("name > givenName".to_owned())),
            (format!("{urn}:manager.value"), Some(format!("{urn} > manager > value"))),
            (urn.to_uppercase().replace("URN:", "urn:"), Some(urn.to_owned())),
            ("department".to_owned(), None),
            (schema::USER.to_owned(), None),
            (format!("{}:{urn}", schema::USER), None),
            ("name.nick".to_owned(), None),
            ("userName.value".to_owned(), None),
        ] {
            assert_eq!(resolve(&path), expected, "{path}");
        }
    }

    #[test]
    fn the_tables_agree_with_the_names() {
        for attribute in USER_RULES.attributes {
            assert_eq!(schema::canonical_user_attribute(attribute.name), Some(attribute.name));
        }
        for attribute in GROUP_RULES.attributes {
            assert_eq!(schema::canonical_group_attribute(attribute.name), Some(attribute.name));
        }
        let enterprise: Vec<_> = USER_RULES.extensions[0].sub_attributes.iter().map(|a| a.name).collect();
        assert_eq!(enterprise, schema::ENTERPRISE_ATTRIBUTES);
        let name: Vec<_> =
            USER_RULES.top_level("name").unwrap().sub_attributes.iter().map(|a| a.name).collect();
        assert_eq!(name, schema::NAME_SUB_ATTRIBUTES);
    }
}
