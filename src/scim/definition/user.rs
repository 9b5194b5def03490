//! The attributes of a user, RFC 7643 sections 4.1 and 8.7.1.

use super::{Attribute, Mutability, Type};

pub(super) const ATTRIBUTES: &[Attribute] = &[
    Attribute::text("userName").required().unique(),
    Attribute::complex(
        "name",
        &[
            Attribute::text("formatted"),
            Attribute::text("familyName"),
            Attribute::text("givenName"),
            Attribute::text("middleName"),
            Attribute::text("honorificPrefix"),
            Attribute::text("honorificSuffix"),
        ],
    ),
    Attribute::text("displayName"),
    Attribute::text("nickName"),
    Attribute::reference("profileUrl", &["external"]),
    Attribute::text("title"),
    Attribute::text("userType"),
    Attribute::text("preferredLanguage"),
    Attribute::text("locale"),
    Attribute::text("timezone"),
    Attribute::boolean("active"),
    Attribute::text("password").with(Mutability::WriteOnly),
    Attribute::many("emails", &[VALUE, DISPLAY, TYPE.usually(&["work", "home", "other"]), PRIMARY]),
    Attribute::many(
        "phoneNumbers",
        &[VALUE, DISPLAY, TYPE.usually(&["work", "home", "mobile", "fax", "pager", "other"]), PRIMARY],
    ),
    Attribute::many("ims", &[VALUE, DISPLAY, TYPE, PRIMARY]),
    Attribute::many(
        "photos",
        &[
            Attribute::reference("value", &["external"]),
            DISPLAY,
            TYPE.usually(&["photo", "thumbnail"]),
            PRIMARY,
        ],
    ),
    Attribute::many(
        "addresses",
        &[
            Attribute::text("formatted"),
            Attribute::text("streetAddress"),
            Attribute::text("locality"),
            Attribute::text("region"),
            Attribute::text("postalCode"),
            Attribute::text("country"),
            TYPE.usually(&["work", "home", "other"]),
            PRIMARY,
        ],
    ),
    Attribute::many(
        "groups",
        &[
            Attribute::text("value").with(Mutability::ReadOnly),
            Attribute::reference("$ref", &["User", "Group"]).with(Mutability::ReadOnly),
            Attribute::text("display").with(Mutability::ReadOnly),
            Attribute::text("type").usually(&["direct", "indirect"]).with(Mutability::ReadOnly),
        ],
    )
    .with(Mutability::ReadOnly),
    Attribute::many("entitlements", &[VALUE, DISPLAY, TYPE, PRIMARY]),
    Attribute::many("roles", &[VALUE, DISPLAY, TYPE, PRIMARY]),
    Attribute::many("x509Certificates", &[VALUE.of_type(Type::Binary).exact(), DISPLAY, TYPE, PRIMARY]),
];

const VALUE: Attribute = Attribute::text("value");
const DISPLAY: Attribute = Attribute::text("display");
const TYPE: Attribute = Attribute::text("type");
const PRIMARY: Attribute = Attribute::boolean("primary");
