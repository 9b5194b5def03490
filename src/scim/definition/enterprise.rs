//! The enterprise extension of a user, RFC 7643 section 4.3.

use super::{Attribute, Mutability};
use crate::scim::schema;

pub(super) const EXTENSION: Attribute = Attribute::complex(
    schema::ENTERPRISE_USER,
    &[
        Attribute::text("employeeNumber"),
        Attribute::text("costCenter"),
        Attribute::text("organization"),
        Attribute::text("division"),
        Attribute::text("department"),
        Attribute::complex(
            "manager",
            &[
                Attribute::text("value"),
                Attribute::reference("$ref", &["User"]),
                Attribute::text("displayName").with(Mutability::ReadOnly),
            ],
        ),
    ],
);
