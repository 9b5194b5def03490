//! `id_map` of a target.

use super::*;
use crate::mapping::IdMap;

fn read(file: &[u8]) -> Result<std::sync::Arc<IdMap>, Vec<crate::config::Problem>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ids.csv"), file).unwrap();
    let text = with("profile = \"rfc7644\"", "profile = 'rfc7644'\nid_map = 'ids.csv'");
    let (mut config, warnings) = Config::parse(&text, "relay.toml", folder.path(), &environment())?;
    assert_eq!(warnings, []);
    Ok(config.targets.remove("acme").unwrap().id_map)
}

#[test]
fn an_id_map_is_found_beside_the_configuration_and_read_whole() {
    let plain = "kind,external_id,vendor_id\nuser,u-1,v1\ngroup,g-1,\"v,2\"\n";
    let other = "\u{feff}vendor_id,kind,external_id\r\nv1,user,u-1\r\n\"v,2\",group,g-1";
    let expected = read(plain.as_bytes()).unwrap();
    assert_eq!(expected.len(), 2);
    assert_eq!(read(other.as_bytes()).unwrap().len(), 2);
    assert!(read(b"kind,external_id,vendor_id\n").unwrap().is_empty());
    assert!(parse(SOUND).unwrap().0.targets["acme"].id_map.is_empty());
}

#[test]
fn what_is_wrong_with_an_id_map_is_named_with_file_and_line() {
    for (file, reason) in [
        ("", "line 1 must name the columns"),
        ("kind,external_id\nuser,u-1\n", "line 1 must name the columns"),
        ("kind,external_id,vendor_id,note\nuser,u-1,v1,x\n", "line 1 must name the columns"),
        ("kind,external_id,vendor_id\nuser,u-1\n", "line 2 has 2 fields"),
        ("kind,external_id,vendor_id\nuser,u-1,v1\nUser,u-2,v2\n", "line 3 has a kind"),
        ("kind,external_id,vendor_id\nuser,,v1\n", "line 2 has no good external_id"),
        ("kind,external_id,vendor_id\nuser,u-1,\n", "line 2 has no good vendor_id"),
        ("kind,external_id,vendor_id\nuser,u-1,v1\nuser,u-1,v2\n", "line 3 gives an external_id a second"),
        ("kind,external_id,vendor_id\nuser,u-1,v1\nuser,u-2,v1\n", "line 3 gives a vendor_id to a second"),
    ] {
        let problems = read(file.as_bytes()).unwrap_err();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!(
            (problem.key.as_str(), problem.value.as_deref()),
            ("targets.acme.id_map", Some("ids.csv"))
        );
        assert!(problem.reason.contains(reason), "{file:?}: {problem}");
    }
    let problems = read(b"kind,external_id,vendor_id\nuser,\xff,v1\n").unwrap_err();
    assert!(problems[0].reason.contains("line 2 is not UTF-8"), "{}", problems[0]);
    let text = with("profile = \"rfc7644\"", "profile = 'rfc7644'\nid_map = 'nowhere.csv'");
    let problems = parse(&text).unwrap_err();
    assert!(problems[0].reason.contains("cannot be read"), "{}", problems[0]);
}
