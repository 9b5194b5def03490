//! A SCIM vendor in a box.
