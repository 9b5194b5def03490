//! `[[admin.keys]]`: who may ask and act through the admin API.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::problem::Problem;
use super::reader::Section;
use crate::http::admin::{AdminKey, Role};

/// Shortest admin key that passes without a warning, in bytes.
const SECRET_BYTES_MIN: usize = 16;

/// The admin API's keys.
#[derive(Clone, Debug, Default)]
pub struct AdminConfig {
    /// In the order of the file. None: every admin call is refused.
    pub keys: Vec<AdminKey>,
}

const ROLES: [(&str, Role); 3] =
    [("viewer", Role::Viewer), ("operator", Role::Operator), ("admin", Role::Admin)];

/// Reads `[admin]`.
pub fn read(mut section: Section<'_>) -> AdminConfig {
    let mut keys = Vec::new();
    let mut names = BTreeMap::new();
    for mut entry in section.sections("keys") {
        if let Some(key) = read_key(&mut entry) {
            if let Some(first) = names.insert(key.name.clone(), entry.path().to_owned()) {
                entry.reject("name", &key.name, format!("is taken by {first}"), "give each key its own name");
            }
            if keys.iter().any(|other: &AdminKey| same_secret(other, &key)) {
                entry.add(Problem::error(
                    entry.path_of("secret"),
                    "is the same as another key's, so that its role would depend on the order",
                    "give each key its own secret",
                ));
            }
            keys.push(key);
        }
        entry.finish();
    }
    section.finish();
    AdminConfig { keys }
}

fn read_key(entry: &mut Section<'_>) -> Option<AdminKey> {
    let name = entry.name("name");
    let name = entry.require("name", name, "write who holds the key, such as name = \"ops\"");
    let secret = entry.secret("secret");
    let secret = entry.require("secret", secret, "write secret = \"env:NAME\"");
    let role = entry.choice("role", &ROLES);
    let role = entry.require("role", role, "write role = \"viewer\", \"operator\" or \"admin\"");
    if let Some(secret) = &secret {
        check_secret(entry, secret);
    }
    Some(AdminKey { name: name?, secret: secret?, role: role? })
}

/// A header cannot carry every text, and a short key can be guessed.
fn check_secret(entry: &Section<'_>, secret: &SecretString) {
    let text = secret.expose_secret();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        entry.add(Problem::error(
            entry.path_of("secret"),
            "holds a character that a bearer token cannot carry",
            "use visible ASCII without spaces, such as the output of `openssl rand -hex 32`",
        ));
    } else if text.len() < SECRET_BYTES_MIN {
        entry.add(Problem::warning(
            entry.path_of("secret"),
            format!("is shorter than {SECRET_BYTES_MIN} characters and can be guessed"),
            "use a long random text, such as the output of `openssl rand -hex 32`",
        ));
    }
}

fn same_secret(a: &AdminKey, b: &AdminKey) -> bool {
    a.secret.expose_secret() == b.secret.expose_secret()
}
