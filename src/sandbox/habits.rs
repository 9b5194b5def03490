//! A vendor's profile as habits of the sandbox, so that the relay can meet a vendor's peculiarities
//! without the vendor.

use crate::sandbox::Behaviour;
use crate::sandbox::quirks::Quirks;
use crate::sandbox::settings::{
    AbsentMember, BulkRules, Cap, DeleteUser, GroupRules, IfMatch, OverCap, Paging, PatchAnswer, RateLimit,
    RemoveWithValue, Stale, Support, UserRules, Versions,
};
use crate::target::Profile;
use crate::target::profile::{
    self, Bulk, BulkSupport, DeleteMode, Dialect, EtagTrust, Limits, MembersRead, RemoveAbsent, RemoveForm,
    Window,
};

impl From<&Profile> for Behaviour {
    /// What a profile says of a vendor; what it does not say stays strict. Everyone may call.
    ///
    /// A profile's windows become the rate limit. Its `rate_per_second` does not: it is the pace that
    /// the relay keeps where a vendor names no limit.
    fn from(profile: &Profile) -> Self {
        Self {
            users_path: profile.http.users_path.clone(),
            groups_path: profile.http.groups_path.clone(),
            config_path: config_path(profile),
            etag: versions(profile),
            rate: rate(&profile.limits),
            paging: Paging {
                count_default: size(profile.list.default_count.get()),
                count_max: size(profile.list.max_count.get()),
            },
            users: users(profile),
            groups: groups(profile),
            bulk: bulk(&profile.bulk),
            patch_answer: match profile.patch.answer {
                profile::PatchAnswer::Body => PatchAnswer::Body,
                profile::PatchAnswer::NoContent => PatchAnswer::NoContent,
            },
            quirks: Quirks::from(profile),
            ..Self::default()
        }
    }
}

/// Some vendors have no such document; what the relay reads in its place is a collection.
fn config_path(profile: &Profile) -> String {
    let probe = &profile.http.probe_path;
    let documents = ["ServiceProviderConfig", "ServiceProviderConfigs"];
    let named = documents.iter().any(|name| name.eq_ignore_ascii_case(probe));
    if named { probe.clone() } else { Behaviour::default().config_path }
}

fn versions(profile: &Profile) -> Versions {
    let says = |status, scim_type: Option<&str>| {
        let same = |dialect: &Dialect| dialect.status == status && dialect.scim_type.as_deref() == scim_type;
        profile.etag.stale.iter().any(same)
    };
    Versions {
        if_match: match profile.etag.trust {
            EtagTrust::Enforced => IfMatch::Enforced,
            EtagTrust::Ignored => IfMatch::Ignored,
        },
        stale: if says(400, Some("invalidVers")) {
            Stale::InvalidVers
        } else if says(409, None) {
            Stale::Conflict
        } else {
            Stale::PreconditionFailed
        },
        ..Versions::default()
    }
}

fn rate(limits: &Limits) -> Option<RateLimit> {
    let windows = limits.all_windows();
    let per_second = |window: &Window| f64::from(window.limit.get()) / window.per.as_secs_f64();
    let strictest = windows.iter().min_by(|a, b| per_second(a).total_cmp(&per_second(b)))?;
    let limit = RateLimit::new(per_second(strictest), strictest.limit.get());
    let quota = limits.headers.clone();
    Some(RateLimit { vendor_headers: quota.is_some(), quota, windows, ..limit })
}

/// A vendor of which nothing is known takes no bulk requests.
fn bulk(bulk: &Bulk) -> Option<BulkRules> {
    let rules = BulkRules::default();
    let operations = bulk.max_operations.map_or(rules.operations_max.most, |most| size(most.get()));
    (bulk.supported == BulkSupport::Yes).then(|| BulkRules {
        operations_max: Cap { most: operations, ..rules.operations_max },
        bytes_max: bulk.max_payload_size.map_or(rules.bytes_max, |most| size(most.get())),
        bulk_id: bulk.bulk_id_echo,
        version: bulk.version,
        ..rules
    })
}

fn users(profile: &Profile) -> UserRules {
    UserRules {
        hide_inactive: !profile.list.includes_inactive,
        delete: match profile.delete.mode {
            DeleteMode::Hard | DeleteMode::Irreversible => DeleteUser::Remove,
            DeleteMode::Deactivate => DeleteUser::Deactivate,
            DeleteMode::Unsupported => DeleteUser::Refused,
        },
        ..UserRules::default()
    }
}

fn groups(profile: &Profile) -> GroupRules {
    let support = |allowed| if allowed { Support::Yes } else { Support::MethodNotAllowed };
    let members = &profile.members;
    GroupRules {
        create: support(profile.groups.create),
        delete: support(profile.groups.delete),
        members_returned: members.read == MembersRead::Get,
        members_max: Some(Cap { most: size(members.max_per_request.get()), over: OverCap::PayloadTooLarge }),
        absent_member: match members.remove_absent {
            RemoveAbsent::Ok => AbsentMember::Accepted,
            RemoveAbsent::Error => AbsentMember::NoTarget,
        },
        remove_with_value: match members.remove_form {
            RemoveForm::ValueArray => RemoveWithValue::RemovesThose,
            RemoveForm::PathFilter | RemoveForm::PathFilterOr => RemoveWithValue::Refused,
        },
        ..GroupRules::default()
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Behaviour {
        Behaviour::from(&Profile::builtin(name).unwrap())
    }

    #[test]
    fn the_baseline_profile_is_the_strict_sandbox() {
        let behaviour = of("rfc7644");
        assert_eq!((behaviour.users_path.as_str(), behaviour.rate), ("Users", None));
        assert_eq!(behaviour.etag.stale, Stale::PreconditionFailed);
        assert_eq!(behaviour.groups.create, Support::Yes);
        assert_eq!(behaviour.groups.remove_with_value, RemoveWithValue::Refused);
    }

    #[test]
    fn genesys_has_its_own_ways() {
        let behaviour = of("genesys-cloud");
        assert_eq!(
            (behaviour.users_path.as_str(), behaviour.config_path.as_str()),
            ("users", "serviceproviderconfig")
        );
        assert_eq!(behaviour.etag.stale, Stale::InvalidVers);
        assert_eq!(behaviour.groups.create, Support::MethodNotAllowed);
        assert!(behaviour.users.hide_inactive);
        let rate = behaviour.rate.unwrap();
        assert_eq!((rate.per_second, rate.burst, rate.vendor_headers), (5.0, 300, true));
    }

    #[test]
    fn bulk_requests_are_taken_where_the_profile_says_so() {
        let webex = of("webex").bulk.unwrap();
        assert_eq!((webex.operations_max.most, webex.bulk_id), (100, true));
        assert!(!of("cxone-tutorial").bulk.unwrap().bulk_id);
        assert_eq!((of("genesys-cloud").bulk, of("rfc7644").bulk), (None, None));
    }
}
