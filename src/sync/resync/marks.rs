//! What becomes of findings that are to be put right. Pure.

use std::collections::BTreeMap;

use crate::directory::ResourceKey;
use crate::store::DriftMark;
use crate::sync::drift::{Class, Finding};

/// What is to be done about findings that the relay can mend and does not mend anyway: one mark a resource.
pub(super) fn marks(findings: &[Finding]) -> Vec<DriftMark> {
    let mut marks: BTreeMap<ResourceKey, DriftMark> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.class.can_be_mended() && !finding.pending) {
        let Some(id) = &finding.id else { continue };
        let key = ResourceKey { kind: finding.kind, id: id.clone() };
        let mark = marks.entry(key.clone()).or_insert_with(|| DriftMark {
            key,
            link: None,
            reread: false,
            members: Vec::new(),
        });
        match (&finding.member, finding.class) {
            (Some(member), _) => mark.members.extend(member.id.clone()),
            (None, Class::Unlinked | Class::Extra) => mark.link.clone_from(&finding.vendor_id),
            (None, Class::Missing | Class::Differs) => mark.reread = true,
            (None, Class::Unmanaged | Class::Duplicate) => {}
        }
    }
    marks.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{ExternalId, Kind};
    use crate::sync::drift::Member;

    fn id(text: &str) -> ExternalId {
        ExternalId::parse(text).unwrap()
    }

    fn group(class: Class, member: Option<&str>) -> Finding {
        let member = member.map(|member| Member { id: Some(id(member)), vendor_id: None });
        Finding { member, ..Finding::new(class, Kind::Group, Some(id("g")), Some("v".to_owned())) }
    }

    #[test]
    fn only_what_the_relay_can_mend_and_does_not_mend_anyway_is_marked() {
        let mark = |link: Option<&str>, reread, members: &[&str]| DriftMark {
            key: ResourceKey::group(id("g")),
            link: link.map(str::to_owned),
            reread,
            members: members.iter().map(|member| id(member)).collect(),
        };
        let pending = |finding| Finding { pending: true, ..finding };
        for (findings, expected) in [
            (vec![group(Class::Missing, None)], vec![mark(None, true, &[])]),
            (vec![group(Class::Differs, None)], vec![mark(None, true, &[])]),
            (vec![group(Class::Extra, None)], vec![mark(Some("v"), false, &[])]),
            (vec![group(Class::Unlinked, None)], vec![mark(Some("v"), false, &[])]),
            (vec![group(Class::Duplicate, None)], vec![]),
            (vec![group(Class::Unmanaged, Some("u"))], vec![]),
            (vec![pending(group(Class::Missing, None))], vec![]),
            (
                vec![
                    group(Class::Differs, None),
                    group(Class::Missing, Some("a")),
                    group(Class::Extra, Some("b")),
                ],
                vec![mark(None, true, &["a", "b"])],
            ),
            (vec![Finding::new(Class::Unmanaged, Kind::User, None, Some("v".to_owned()))], vec![]),
        ] {
            assert_eq!(marks(&findings), expected, "{findings:?}");
        }
    }
}
