//! One of the directory's resources against what the vendor was seen to hold.

use serde_json::{Map, Value};

use crate::directory::{ExternalId, Kind};
use crate::sync::drift::{Class, Finding};
use crate::sync::plan::{ShouldBe, differing};
use crate::sync::policy::Policy;

/// A vendor's resource that may be the one.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The vendor's id.
    pub vendor_id: String,
    /// Its `externalId`.
    pub external_id: Option<String>,
    /// Which of ours is linked to it.
    pub holder: Option<ExternalId>,
    /// The resource.
    pub resource: Map<String, Value>,
}

/// What a comparison has shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// What differs; empty where all is in place.
    pub findings: Vec<Finding>,
    /// The vendor's resource that is ours; its members can be compared.
    pub matched: Option<String>,
    /// The vendor's resources that are known to be spoken for.
    pub claimed: Vec<String>,
}

/// A resource of the directory, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its id.
    pub id: &'a ExternalId,
    /// What it should be.
    pub should_be: &'a ShouldBe,
    /// The vendor's id, where it is linked.
    pub linked: Option<&'a str>,
    /// The vendor's id that the map of ids names, where there is no link.
    pub mapped: Option<&'a str>,
    /// The attribute that stands for the external id where nobody bears that.
    pub match_attribute: &'a str,
}

/// Compares. `listed_whole`: the vendor's list was read to its end, so that who is not in it is not there.
pub fn resource(ours: Ours<'_>, policy: &Policy, candidates: &[Candidate], listed_whole: bool) -> Compared {
    let finding = |class, vendor_id: Option<&str>| {
        Finding::new(class, ours.kind, Some(ours.id.clone()), vendor_id.map(str::to_owned))
    };
    if *ours.should_be == ShouldBe::Unsaid {
        return Compared {
            claimed: candidates.iter().map(|candidate| candidate.vendor_id.clone()).collect(),
            ..Compared::default()
        };
    }
    let linked = candidates.iter().find(|candidate| Some(candidate.vendor_id.as_str()) == ours.linked);
    let free = |candidate: &&Candidate| {
        Some(candidate.vendor_id.as_str()) != ours.linked
            && candidate.holder.as_ref().is_none_or(|holder| holder == ours.id)
    };
    let bears_id = |candidate: &&Candidate| candidate.external_id.as_deref() == Some(ours.id.as_str());
    let by_id: Vec<_> = candidates.iter().filter(free).filter(bears_id).collect();
    // A name alone is not enough to take somebody's account away.
    let by_value_counts = *ours.should_be != ShouldBe::Gone;
    let by_value: Vec<_> =
        candidates.iter().filter(free).filter(|other| by_value_counts && !bears_id(other)).collect();
    // An administrator's word needs no value that matches, and leaves nothing to guess.
    let by_map = candidates.iter().filter(free).find(|one| Some(one.vendor_id.as_str()) == ours.mapped);
    let (matched, matched_by, rivals) = match (linked.or(by_map), by_id.as_slice(), by_value.as_slice()) {
        (Some(one), rivals, _) if linked.is_some() => (Some(one), None, rivals.to_vec()),
        (Some(one), ..) => (Some(one), Some("id_map"), Vec::new()),
        (None, [one], _) => (Some(*one), Some("externalId"), Vec::new()),
        (None, [], [one]) => (Some(*one), Some(ours.match_attribute), Vec::new()),
        (None, [], several) | (None, several, _) => (None, None, several.to_vec()),
    };
    let mut compared = Compared::default();
    for rival in &rivals {
        compared.findings.push(finding(Class::Duplicate, Some(&rival.vendor_id)));
        compared.claimed.push(rival.vendor_id.clone());
    }
    let Some(matched) = matched else {
        let absent = rivals.is_empty() && listed_whole;
        if absent && matches!(ours.should_be, ShouldBe::There(_)) {
            compared.findings.push(finding(Class::Missing, ours.linked));
        }
        return compared;
    };
    compared.claimed.push(matched.vendor_id.clone());
    compared.matched = Some(matched.vendor_id.clone());
    let attributes = match ours.should_be {
        ShouldBe::There(units) | ShouldBe::IfThere(units) => differing(units, &matched.resource, policy),
        ShouldBe::Gone | ShouldBe::Unsaid => Vec::new(),
    };
    let class = match (ours.should_be, matched_by) {
        (ShouldBe::Gone, _) => {
            compared.matched = None;
            Some(Class::Extra)
        }
        (_, Some(_)) => Some(Class::Unlinked),
        (_, None) => (!attributes.is_empty()).then_some(Class::Differs),
    };
    if let Some(class) = class {
        compared.findings.push(Finding {
            attributes,
            matched_by: matched_by.map(str::to_owned),
            ..finding(class, Some(&matched.vendor_id))
        });
    }
    compared
}
