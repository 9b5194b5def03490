//! Memberships of one group, a page of the directory's rows at a time.

use std::collections::BTreeSet;

use crate::store::ExpectedMember;
use crate::sync::drift::{Class, Finding, Member};

/// What differs in these rows. Whom they name is taken out of `vendor`; who is left there after the last
/// page is nobody's. `shows_all`: the vendor shows every member, so that absence says something.
pub fn members(
    group: &Finding,
    rows: &[ExpectedMember],
    vendor: &mut BTreeSet<String>,
    shows_all: bool,
) -> Vec<Finding> {
    let differing = rows.iter().filter_map(|row| {
        let vendor_id = row.vendor_id.as_ref()?;
        let class = match (row.present, vendor.remove(vendor_id)) {
            (true, false) if shows_all => Class::Missing,
            (false, true) => Class::Extra,
            (true | false, _) => return None,
        };
        let member = Member { id: Some(row.user.clone()), vendor_id: Some(vendor_id.clone()) };
        Some(Finding { class, member: Some(member), ..group.clone() })
    });
    differing.collect()
}
