use std::num::NonZeroU32;

use super::*;

const HEAD: &str = "name = \"mine\"\nevidence = \"partial\"\nsources = [\"docs\"]\nas_of = \"2026-11-20\"\n";

#[test]
fn every_builtin_profile_is_valid_and_named_like_its_file() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort_unstable();
    assert_eq!(Profile::names().collect::<Vec<_>>(), files, "the registry holds every file, in order");
    for (name, text) in builtin::BUILTIN {
        let profile = Profile::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(profile.name, *name);
        assert!(!profile.sources.is_empty(), "{name}");
        let line = &profile.summary;
        assert!(!line.is_empty() && line.chars().count() <= 100 && !line.contains('\n'), "{name}: {line}");
    }
    assert!(Profile::builtin("no-such-vendor").is_none());
}

#[test]
fn no_vendor_is_called_verified_that_nobody_has_called() {
    let verified: Vec<_> = Profile::names()
        .filter(|name| Profile::builtin(name).unwrap().evidence == Evidence::Verified)
        .collect();
    assert_eq!(verified, ["rfc7644"], "the others were read about");
}

#[test]
fn the_rfc_profile_is_all_defaults() {
    let profile = Profile::builtin("rfc7644").unwrap();
    assert_eq!(profile.etag.trust, EtagTrust::Enforced);
    assert_eq!(profile.members.remove_form, RemoveForm::PathFilter);
    assert_eq!(profile.members.max_per_request.get(), 100);
    assert!(profile.filter.or && profile.groups.create && profile.patch.supported);
}

#[test]
fn genesys_departs_from_the_rfc_where_its_documents_say_so() {
    let genesys = Profile::builtin("genesys-cloud").unwrap();
    assert!(genesys.etag.stale[0].matches(400, Some(&ScimType::InvalidVers)));
    assert!(!genesys.etag.stale[0].matches(400, None));
    assert!(!genesys.groups.create && !genesys.groups.delete && !genesys.list.includes_inactive);
    assert_eq!(
        genesys.limits.windows,
        [Window::of_all(NonZeroU32::new(300).unwrap(), Duration::from_mins(1))]
    );
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    for (table, key) in [
        ("", "colour"),
        ("[http]", "colour"),
        ("[auth]", "colour"),
        ("[limits]", "colour"),
        ("[limits.list]", "colour"),
        ("[etag]", "colour"),
        ("[patch]", "colour"),
        ("[members]", "colour"),
        ("[groups]", "colour"),
        ("[users]", "colour"),
        ("[delete]", "colour"),
        ("[filter]", "colour"),
        ("[deactivate]", "colour"),
        ("[list]", "colour"),
        ("[errors]", "colour"),
    ] {
        let error = Profile::parse(&format!("{HEAD}{table}\n{key} = 1")).unwrap_err();
        assert!(error.to_string().contains("colour"), "{table}: {error}");
    }
}

#[test]
fn a_value_that_cannot_be_is_named_with_its_remedy() {
    for (text, key) in [
        ("[http]\ntimeout = \"0s\"", "http.timeout"),
        ("[http]\ntimeout = \"11m\"", "http.timeout"),
        ("[http]\nusers_path = \"/Users\"", "http.users_path"),
        ("[http]\ngroups_path = \"a/../b\"", "http.groups_path"),
        ("[http]\nprobe_path = \"a?b\"", "http.probe_path"),
        ("[http]\naccept = \"a\\nb\"", "http.accept"),
        ("[http]\nbody_bytes_max = 1", "http.body_bytes_max"),
        ("[limits]\nrate_per_second = 0.0", "limits.rate_per_second"),
        ("[limits]\nrate_per_second = nan", "limits.rate_per_second"),
        ("[limits.list]\nrate_per_second = -1.0", "limits.list.rate_per_second"),
        ("[limits]\nconcurrency = 1001", "limits.concurrency"),
        ("[limits]\nretry_after_cap = \"0s\"", "limits.retry_after_cap"),
        ("[limits]\nwindows = [{ limit = 1, per = \"0s\" }]", "limits.windows"),
        ("[limits.bulk]\nwindows = [{ limit = 1, per = \"25h\" }]", "limits.bulk.windows"),
        ("[limits.headers]\nreset = \"r\"", "limits.headers"),
        ("[limits.headers]\nreset = \"a b\"\nremaining = \"c\"", "limits.headers"),
        ("[etag]\nstale = [{ status = 200 }]", "etag.stale"),
        ("[conflict]\ntaken = [{ status = 500 }]", "conflict.taken"),
        ("[users]\nmatch_attribute = \"a b\"", "users.match_attribute"),
        ("[filter]\nattributes = [\"displayName\"]", "users.match_attribute"),
        ("[filter]\ngroup_attributes = [\"id\"]", "groups.match_attribute"),
        ("[users]\nrequired = [\"\"]", "users.required"),
        ("[users]\nimmutable = [\"a[0]\"]", "users.immutable"),
        ("[groups]\nwritable_attributes = [\"a b\"]", "groups.writable_attributes"),
        ("[patch]\npath_filters = \"none\"", "members.remove_form"),
        ("[list]\ndefault_count = 200", "list.default_count"),
    ] {
        let error = Profile::parse(&format!("{HEAD}{text}")).unwrap_err();
        assert!(matches!(error, ProfileError::Value { key: named, .. } if named == key), "{text}: {error}");
    }
    for text in ["[limits]\nburst = 0", "[http]\ntimeout = \"fast\"", "[limits]\nwindows = [{ limit = 1 }]"] {
        let error = Profile::parse(&format!("{HEAD}{text}")).unwrap_err();
        assert!(matches!(error, ProfileError::Syntax(_)), "{text}");
    }
    let dated = HEAD.replace("2026-11-20", "lately");
    assert!(matches!(Profile::parse(&dated).unwrap_err(), ProfileError::Value { key: "as_of", .. }));
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let text =
        format!("{HEAD}[http]\ntimeout = \"0s\"\n[users]\nimmutable = [\"\"]\n[list]\ndefault_count = 200");
    let said = Profile::parse(&text).unwrap_err().to_string();
    for key in ["http.timeout", "users.immutable", "list.default_count"] {
        assert!(said.contains(key), "{said}");
    }
}

#[test]
fn what_has_no_source_is_unverified() {
    let text = HEAD.replace("[\"docs\"]", "[]");
    assert!(matches!(Profile::parse(&text).unwrap_err(), ProfileError::Value { key: "sources", .. }));
    assert!(Profile::parse(&text.replace("partial", "unverified")).is_ok());
}

#[test]
fn a_list_of_attributes_for_groups_holds_instead_of_that_for_all() {
    let text = format!(
        "{HEAD}[filter]\nattributes = [\"userName\", \"externalId\"]\ngroup_attributes = [\"displayName\"]"
    );
    let profile = Profile::parse(&text).unwrap();
    assert!(profile.can_filter_users_by("externalid") && !profile.can_filter_groups_by("externalId"));
    let same =
        Profile::parse(&format!("{HEAD}[groups]\nsupported = false\n[filter]\nattributes = [\"userName\"]"));
    assert!(!same.unwrap().can_filter_groups_by("displayName"));
}
