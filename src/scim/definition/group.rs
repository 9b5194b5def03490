//! The attributes of a group, RFC 7643 sections 4.2 and 8.7.1.

use super::{Attribute, Mutability};

pub(super) const ATTRIBUTES: &[Attribute] = &[
    Attribute::text("displayName").required(),
    Attribute::many(
        "members",
        &[
            Attribute::text("value").with(Mutability::Immutable),
            Attribute::reference("$ref", &["User", "Group"]).with(Mutability::Immutable),
            Attribute::text("display").with(Mutability::ReadOnly),
            Attribute::text("type").usually(&["User", "Group"]).with(Mutability::Immutable),
        ],
    ),
];
