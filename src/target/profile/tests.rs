use super::*;

const HEAD: &str = "name = \"mine\"\nevidence = \"partial\"\nsources = [\"docs\"]\nas_of = \"2026-11-20\"\n";

#[test]
fn every_builtin_profile_is_valid_and_named_like_its_file() {
    for name in Profile::names() {
        let profile = Profile::builtin(name).unwrap();
        assert_eq!(profile.name, name);
        assert!(!profile.sources.is_empty(), "{name}");
    }
    assert!(Profile::builtin("no-such-vendor").is_none());
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
        ("[list]", "colour"),
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
        ("[filter]\nattributes = [\"externalId\"]", "users.match_attribute"),
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
