//! What a profile needs an operator's word for: harm that cannot be undone, what nobody has documented,
//! and profiles that are no vendor's.

use super::OnDelete;
use crate::config::problem::Problem;
use crate::config::reader::Section;
use crate::target::profile::{DeactivateEffect, DeleteMode, Unknown};
use crate::target::{LimitOverrides, Profile};

/// Refuses a target where the end of access destroys, unless `allow_irreversible` says yes.
pub fn irreversible(section: &mut Section<'_>, profile: Option<&Profile>, on_delete: Option<OnDelete>) {
    let allowed = section.boolean("allow_irreversible") == Some(true);
    let Some(profile) = profile.filter(|_| !allowed) else { return };
    let remedy = "write allow_irreversible = true if that is what you want";
    let ends = match profile.deactivate.effect {
        DeactivateEffect::Suspend => None,
        DeactivateEffect::IdentityRemoved => Some("takes the user out of the organisation"),
        DeactivateEffect::Deleted => Some("deletes the account"),
    };
    if let Some(harm) = ends {
        let reason =
            format!("names a vendor whose deactivation {harm}, which a later activation does not undo");
        section.add(Problem::error(section.path_of("profile"), reason, remedy).with_value(&profile.name));
    }
    if on_delete == Some(OnDelete::Delete) && profile.delete.mode == DeleteMode::Irreversible {
        let reason = "is irreversible at this vendor: a deleted account never comes back";
        let remedy =
            "write on_delete = \"deactivate\", or allow_irreversible = true if that is what you want";
        section.add(Problem::error(section.path_of("on_delete"), reason, remedy).with_value("delete"));
    }
}

/// Refuses to guess what a profile says nobody knows.
pub fn unknown(section: &Section<'_>, profile: &Profile, limits: &LimitOverrides) {
    for unknown in &profile.unknown {
        match unknown {
            Unknown::Limits if limits.rate_per_second.is_none() && limits.windows.is_none() => {
                section.add(Problem::error(
                    section.path_of("limits"),
                    format!("is missing, and how much {} takes is in no public document", profile.name),
                    "ask the vendor, and write limits = { rate_per_second = … }",
                ));
            }
            Unknown::Limits => {}
        }
    }
}

/// Refuses a profile that plays a text's claims, unless `allow_simulation` says yes.
pub fn simulation(section: &mut Section<'_>, profile: Option<&Profile>) {
    let allowed = section.boolean("allow_simulation") == Some(true);
    if let Some(profile) = profile.filter(|profile| profile.simulation && !allowed) {
        section.reject(
            "profile",
            &profile.name,
            "is a simulation for the sandbox and no vendor's",
            "write the vendor's profile, or allow_simulation = true for a test",
        );
    }
}
