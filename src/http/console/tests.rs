//! The files of the page, as they are served and as they are written.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// Ways to turn text into markup or code, and to run what is not in a file of ours.
const FORBIDDEN: [&str; 12] = [
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "DOMParser",
    "createContextualFragment",
    "srcdoc",
    "eval(",
    "new Function",
    "javascript:",
    " style=",
    "localStorage",
];

fn files_in(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            files_in(&path, &format!("{name}/"), found);
        } else {
            found.insert(name);
        }
    }
}

#[test]
fn every_file_of_the_page_is_served_under_its_name() {
    let mut written = BTreeSet::new();
    files_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/console/page"), "", &mut written);
    let name = |file: &File| if file.name.is_empty() { "index.html" } else { file.name }.to_owned();
    assert_eq!(FILES.iter().map(name).collect::<BTreeSet<_>>(), written);
}

#[test]
fn the_page_names_no_other_host_and_makes_no_markup_of_text() {
    for file in FILES {
        let text = file.text.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http://", "https://", "src=\"//", "href=\"//", "url("] {
            assert!(!text.contains(foreign), "{} names {foreign}", file.name);
        }
        for word in FORBIDDEN {
            assert!(!text.contains(word), "{} holds {word}", file.name);
        }
    }
}

#[test]
fn every_answer_is_held_to_the_policy_and_framed_by_nobody() {
    for file in FILES {
        let response = answer(file.name);
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(header("content-type"), file.media_type);
        assert!(header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
        assert!(!header("content-security-policy").contains("unsafe"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "no-referrer");
    }
    for name in ["index.html", "views", "views/", "../mod.rs", "main.js/", "MAIN.JS"] {
        assert_eq!(answer(name).status(), 404, "{name}");
    }
}
