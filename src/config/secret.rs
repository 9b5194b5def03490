//! Secrets: where a text says `env:NAME` or `file:PATH`, what is found there; else the text itself.
//!
//! A resolved secret lives in a type that cannot be printed, and no problem repeats one.

use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;

use super::problem::Problem;
use super::reader::{Context, Section, read_text};
use crate::clock::Timestamp;
use crate::http::expiry::Expiry;
use crate::target::Secret;

/// Largest secret read from a file, in bytes. Keys and tokens are far smaller; a wrong path may not be.
const FILE_BYTES_MAX: u64 = 64 * 1024;

const REMEDY: &str = "write \"env:NAME\" or \"file:PATH\"";

impl Section<'_> {
    /// A secret.
    pub fn secret(&mut self, key: &'static str) -> Option<SecretString> {
        let text = self.hidden_text(key)?;
        self.resolved(&self.path_of(key), &text)
    }

    /// A secret that is read again while the relay runs, where it lives in a file.
    pub fn lasting_secret(&mut self, key: &'static str) -> Option<Secret> {
        let text = self.hidden_text(key)?;
        let secret = self.resolved(&self.path_of(key), &text)?;
        let Some(path) = text.strip_prefix("file:") else { return Some(secret.into()) };
        let place = self.context().locate(path);
        let reread = move || match read_secret(&place) {
            Ok(text) if text.is_empty() => Err("it is empty".to_owned()),
            Ok(text) => Ok(text.into()),
            Err(reason) => Err(reason),
        };
        Some(Secret::reread_by(secret, Arc::new(reread)))
    }

    /// A list of secrets. `None` when one of them cannot be had.
    pub fn secrets(&mut self, key: &'static str) -> Option<Vec<SecretString>> {
        let texts = self.hidden_texts(key)?;
        let resolved: Vec<_> = texts.iter().map(|(path, text)| self.resolved(path, text)).collect();
        resolved.into_iter().collect()
    }

    /// When the secrets of this table end, where it says so: a date, of which the first moment in UTC is
    /// meant, or a date and time.
    pub fn expires(&mut self) {
        let Some(text) = self.text("expires") else { return };
        let whole = format!("{text}T00:00:00Z");
        match Timestamp::parse_rfc3339(&text).or_else(|| Timestamp::parse_rfc3339(&whole)) {
            Some(at) => {
                let secret = self.path().to_owned();
                self.context().expiries.borrow_mut().push(Expiry { secret, at });
            }
            None => self.reject("expires", &text, "is no date", "write expires = \"2026-12-01\""),
        }
    }

    /// A text that is no secret but may live beside one, such as a client id.
    pub fn reference(&mut self, key: &'static str) -> Option<String> {
        let text = self.hidden_text(key)?;
        match resolve(self.context(), &text) {
            Ok(Found { value, .. }) => Some(value),
            Err(fault) => {
                self.add(fault.into_problem(self.path_of(key)));
                None
            }
        }
    }

    fn resolved(&self, path: &str, text: &str) -> Option<SecretString> {
        match resolve(self.context(), text) {
            Ok(Found { value, literal }) => {
                if literal {
                    self.add(Problem::warning(path, "is a secret written in the open", REMEDY));
                }
                Some(SecretString::from(value))
            }
            Err(fault) => {
                self.add(fault.into_problem(path.to_owned()));
                None
            }
        }
    }
}

struct Found {
    value: String,
    literal: bool,
}

/// Why there is no secret; what it names is not secret and may be shown.
struct Fault {
    place: Option<String>,
    reason: String,
    remedy: String,
}

impl Fault {
    fn into_problem(self, path: String) -> Problem {
        let problem = Problem::error(path, self.reason, self.remedy);
        match self.place {
            Some(place) => problem.with_value(place),
            None => problem,
        }
    }
}

fn resolve(context: &Context<'_>, text: &str) -> Result<Found, Fault> {
    let found = if let Some(name) = text.strip_prefix("env:") {
        Found { value: from_environment(context, name)?, literal: false }
    } else if let Some(path) = text.strip_prefix("file:") {
        Found { value: from_file(context, path)?, literal: false }
    } else {
        Found { value: text.to_owned(), literal: true }
    };
    if found.value.is_empty() {
        let place = (!found.literal).then(|| text.to_owned());
        return Err(Fault { place, reason: "is empty".to_owned(), remedy: "give it a value".to_owned() });
    }
    Ok(found)
}

fn from_environment(context: &Context<'_>, name: &str) -> Result<String, Fault> {
    let fault = |reason: &str, remedy: String| Fault {
        place: Some(format!("env:{name}")),
        reason: reason.to_owned(),
        remedy,
    };
    if name.is_empty() {
        return Err(fault("names no variable", "write \"env:NAME\"".to_owned()));
    }
    let value = context.environment.get(name);
    value.map(str::to_owned).ok_or_else(|| {
        fault(
            "names an environment variable that is not set",
            format!("set {name} where the relay is started"),
        )
    })
}

fn from_file(context: &Context<'_>, path: &str) -> Result<String, Fault> {
    let place = context.locate(path);
    read_secret(&place).map_err(|reason| Fault {
        place: Some(format!("file:{path}")),
        reason,
        remedy: format!("let {} hold the secret as text, and let the relay read it", place.display()),
    })
}

/// A file's text without the end of its last line.
fn read_secret(place: &Path) -> Result<String, String> {
    let text = read_text(place, FILE_BYTES_MAX)?;
    Ok(text
        .strip_suffix('\n')
        .map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line))
        .to_owned())
}
