//! `profile` of a target: the name of one that comes with the relay, or a file of the operator's own.

use std::path::Path;

use crate::config::reader::{Section, read_text};
use crate::target::Profile;

/// Largest profile, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Reads `profile` of a target.
pub fn read(section: &mut Section<'_>) -> Option<Profile> {
    let built_in: Vec<&str> = Profile::names().collect();
    let remedy =
        format!("write the name of a built-in profile ({}), or the path of a TOML file", built_in.join(", "));
    let text = section.text("profile");
    let text = section.require("profile", text, &remedy)?;
    if let Some(profile) = Profile::builtin(&text) {
        return Some(profile);
    }
    let path = section.context().locate(&text);
    if !path.is_file() {
        section.reject("profile", &text, "is neither a built-in profile nor a file", remedy);
        return None;
    }
    let profile = from_file(&path);
    if let Err(fault) = &profile {
        section.reject("profile", &text, fault, "mend the file; a profile in profiles/ shows the form");
    }
    profile.ok()
}

fn from_file(path: &Path) -> Result<Profile, String> {
    let text = read_text(path, FILE_BYTES_MAX)?;
    Profile::parse(&text).map_err(|error| {
        // A syntax error is drawn over several lines; a problem's reason is one.
        let lines = error.to_string();
        let line = lines.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("names a file that is no profile: failed to {line}")
    })
}
