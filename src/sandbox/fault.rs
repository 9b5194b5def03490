//! One thing that goes wrong, and its short form in text.
//!
//! ```text
//! KIND[:WHEN][:on=WHICH][:retry-after=DURATION]
//! ```
//!
//! | KIND | what happens |
//! |---|---|
//! | `500`, `502`, `503`, `504`, `429` (any 400 to 599) | that status; nothing was changed |
//! | `500-after` … | that status, although the change was made |
//! | `lost` | the change was made, then the connection closes without an answer |
//! | `lost-before` | the connection closes without an answer; nothing was changed |
//! | `hang`, `hang-after` | no answer until the client gives up; without, or with, the change made |
//! | `slow=2s` | the answer comes that much later |
//! | `truncated` | the change was made; the answer stops halfway through its body |
//! | `html` | 200 with a page instead of an answer; nothing was changed |
//! | `wrong-type` | the right answer as `text/plain` |
//! | `edit` | someone else edits the same resource right before the write |
//! | `outage:5s..15s` | 503 to all from 5 to 15 seconds after the fault was set |
//!
//! | WHEN | which requests it meets |
//! |---|---|
//! | `0.05` | each with this probability, from 0 to 1 |
//! | `every=20` | every 20th |
//! | `next=3` | the next 3, then never again |
//! | absent | all |
//!
//! | WHICH | narrows that to |
//! |---|---|
//! | `GET`, `POST`, `PUT`, `PATCH`, `DELETE` | a method |
//! | `reads`, `writes` | GET and searches; all else |
//! | `users`, `groups` | an endpoint; `writes+groups` needs both, `PUT+PATCH` one of them |
//! | `bulk` | the endpoint for bulk requests |
//! | `token` | the token endpoint, which no fault meets otherwise |

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::sandbox::endpoint::{Call, Endpoint, Kind};

/// One thing that goes wrong. See the [module](self) for its short form.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What happens.
    pub effect: Effect,
    /// To which of the requests in `scope`.
    pub when: When,
    /// Among which requests.
    pub scope: Scope,
    /// What a status fault says about coming back, in whole seconds.
    pub retry_after: Option<Duration>,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// This status.
    Status(u16, Phase),
    /// The connection closes without an answer.
    Lost(Phase),
    /// No answer, while the client waits.
    Hang(Phase),
    /// The answer comes later.
    Slow(Duration),
    /// The answer stops halfway.
    Truncated,
    /// A page instead of an answer.
    Html,
    /// The answer under another media type.
    WrongType,
    /// Someone else edits the resource first.
    Edit,
}

/// Before or after the change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was changed.
    Before,
    /// The change was made.
    After,
}

/// Which of the requests in scope are met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// All of them.
    Always,
    /// Each with this probability.
    Chance(f64),
    /// Every nth.
    Every(u64),
    /// The next n.
    Next(u64),
    /// Those that come in this span after the fault was set.
    Between(Duration, Duration),
}

/// Among which requests a fault chooses. Methods are alternatives, the rest narrows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    methods: Vec<http::Method>,
    access: Option<Access>,
    target: Option<Target>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Reads,
    Writes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Users,
    Groups,
    Bulk,
    Token,
}

/// Why a text is no fault: the part that is wrong, and what would be right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault {text:?}: {part:?} is not {expected}")]
pub struct FaultError {
    text: String,
    part: String,
    expected: &'static str,
}

impl Fault {
    /// This effect on every SCIM request.
    pub fn always(effect: Effect) -> Self {
        Self { effect, when: When::Always, scope: Scope::default(), retry_after: None }
    }

    /// Reads the short form.
    pub fn parse(text: &str) -> Result<Self, FaultError> {
        let wrong = |(part, expected): (&str, &'static str)| FaultError {
            text: text.to_owned(),
            part: part.to_owned(),
            expected,
        };
        let mut parts = text.split(':');
        let kind = parts.next().unwrap_or_default();
        let mut fault = Self::always(effect(kind).map_err(wrong)?);
        for part in parts {
            if let Some(scope) = part.strip_prefix("on=") {
                fault.scope = parse_scope(scope).map_err(wrong)?;
            } else if let Some(wait) = part.strip_prefix("retry-after=") {
                fault.retry_after = Some(duration(wait).map_err(wrong)?);
            } else {
                fault.when = parse_when(part).map_err(wrong)?;
            }
        }
        if kind == "outage" && !matches!(fault.when, When::Between(..)) {
            return Err(wrong((text, "an outage with its span, as in `outage:5s..15s`")));
        }
        Ok(fault)
    }
}

impl Scope {
    /// Whether a request is one to choose among.
    pub fn covers(&self, call: &Call) -> bool {
        let method = self.methods.is_empty() || self.methods.contains(&call.method);
        let access = match self.access {
            None => true,
            Some(Access::Reads) => !call.is_write(),
            Some(Access::Writes) => call.is_write(),
        };
        let target = match self.target {
            None => !call.is_token(),
            Some(Target::Token) => call.is_token(),
            Some(Target::Users) => call.kind() == Some(Kind::User),
            Some(Target::Groups) => call.kind() == Some(Kind::Group),
            Some(Target::Bulk) => call.endpoint == Endpoint::Bulk,
        };
        method && access && target
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        Self::parse(text)
    }
}

impl fmt::Display for Fault {
    /// The short form, which reads back as the same fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.effect)?;
        match self.when {
            When::Always => {}
            When::Chance(chance) => write!(f, ":{chance}")?,
            When::Every(n) => write!(f, ":every={n}")?,
            When::Next(n) => write!(f, ":next={n}")?,
            When::Between(from, to) => write!(f, ":{}..{}", short(from), short(to))?,
        }
        if self.scope != Scope::default() {
            write!(f, ":on={}", self.scope)?;
        }
        match self.retry_after {
            Some(wait) => write!(f, ":retry-after={}", short(wait)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status, Phase::Before) => write!(f, "{status}"),
            Self::Status(status, Phase::After) => write!(f, "{status}-after"),
            Self::Lost(Phase::Before) => f.write_str("lost-before"),
            Self::Lost(Phase::After) => f.write_str("lost"),
            Self::Hang(Phase::Before) => f.write_str("hang"),
            Self::Hang(Phase::After) => f.write_str("hang-after"),
            Self::Slow(by) => write!(f, "slow={}", short(*by)),
            Self::Truncated => f.write_str("truncated"),
            Self::Html => f.write_str("html"),
            Self::WrongType => f.write_str("wrong-type"),
            Self::Edit => f.write_str("edit"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = self.access.map(|access| match access {
            Access::Reads => "reads",
            Access::Writes => "writes",
        });
        let target = self.target.map(|target| match target {
            Target::Users => "users",
            Target::Groups => "groups",
            Target::Bulk => "bulk",
            Target::Token => "token",
        });
        let words: Vec<&str> =
            self.methods.iter().map(http::Method::as_str).chain(access).chain(target).collect();
        f.write_str(&words.join("+"))
    }
}

type Wrong<'a> = (&'a str, &'static str);

fn effect(kind: &str) -> Result<Effect, Wrong<'_>> {
    if let Some(by) = kind.strip_prefix("slow=") {
        return duration(by).map(Effect::Slow);
    }
    Ok(match kind {
        "lost" => Effect::Lost(Phase::After),
        "lost-before" => Effect::Lost(Phase::Before),
        "hang" => Effect::Hang(Phase::Before),
        "hang-after" => Effect::Hang(Phase::After),
        "truncated" => Effect::Truncated,
        "html" => Effect::Html,
        "wrong-type" => Effect::WrongType,
        "edit" => Effect::Edit,
        "outage" => Effect::Status(503, Phase::Before),
        _ => return status(kind),
    })
}

fn status(kind: &str) -> Result<Effect, Wrong<'_>> {
    let (digits, phase) = match kind.strip_suffix("-after") {
        Some(digits) => (digits, Phase::After),
        None => (kind, Phase::Before),
    };
    match digits.parse() {
        Ok(status @ 400..=599) => Ok(Effect::Status(status, phase)),
        Ok(_) | Err(_) => Err((
            kind,
            "a status from 400 to 599, that with `-after`, lost, lost-before, hang, hang-after, slow=DURATION, truncated, html, wrong-type, edit or outage",
        )),
    }
}

fn parse_when(part: &str) -> Result<When, Wrong<'_>> {
    const EXPECTED: &str = "a probability from 0 to 1, every=N, next=N or FROM..TO";
    if let Some(n) = part.strip_prefix("every=") {
        return n.parse().ok().filter(|n| *n > 0).map(When::Every).ok_or((part, EXPECTED));
    }
    if let Some(n) = part.strip_prefix("next=") {
        return n.parse().map(When::Next).map_err(|_| (part, EXPECTED));
    }
    if let Some((from, to)) = part.split_once("..") {
        let (from, to) = (duration(from)?, duration(to)?);
        return if from < to {
            Ok(When::Between(from, to))
        } else {
            Err((part, "a span that ends after it begins"))
        };
    }
    part.parse().ok().filter(|chance| (0.0..=1.0).contains(chance)).map(When::Chance).ok_or((part, EXPECTED))
}

fn parse_scope(words: &str) -> Result<Scope, Wrong<'_>> {
    let mut scope = Scope::default();
    for word in words.split('+') {
        match word {
            "reads" => scope.access = Some(Access::Reads),
            "writes" => scope.access = Some(Access::Writes),
            "users" => scope.target = Some(Target::Users),
            "groups" => scope.target = Some(Target::Groups),
            "bulk" => scope.target = Some(Target::Bulk),
            "token" => scope.target = Some(Target::Token),
            "GET" => scope.methods.push(http::Method::GET),
            "POST" => scope.methods.push(http::Method::POST),
            "PUT" => scope.methods.push(http::Method::PUT),
            "PATCH" => scope.methods.push(http::Method::PATCH),
            "DELETE" => scope.methods.push(http::Method::DELETE),
            _ => {
                return Err((
                    word,
                    "GET, POST, PUT, PATCH, DELETE, reads, writes, users, groups, bulk or token",
                ));
            }
        }
    }
    Ok(scope)
}

fn duration(text: &str) -> Result<Duration, Wrong<'_>> {
    humantime::parse_duration(text).map_err(|_| (text, "a duration such as 500ms, 2s or 1m"))
}

/// Without the spaces that a person would put in.
fn short(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_short_form_says_what_when_and_where() {
        let fault = |effect, when| Fault { when, ..Fault::always(effect) };
        for (text, expected) in [
            ("500:0.05", fault(Effect::Status(500, Phase::Before), When::Chance(0.05))),
            ("500-after:every=20", fault(Effect::Status(500, Phase::After), When::Every(20))),
            ("lost:0.02", fault(Effect::Lost(Phase::After), When::Chance(0.02))),
            ("hang:next=3", fault(Effect::Hang(Phase::Before), When::Next(3))),
            ("edit:every=10", fault(Effect::Edit, When::Every(10))),
            ("slow=1m30s", fault(Effect::Slow(Duration::from_secs(90)), When::Always)),
            (
                "outage:5s..15s",
                fault(
                    Effect::Status(503, Phase::Before),
                    When::Between(Duration::from_secs(5), Duration::from_secs(15)),
                ),
            ),
        ] {
            assert_eq!(Fault::parse(text).as_ref(), Ok(&expected), "{text}");
        }
        let fault = Fault::parse("429:next=1:on=PUT+PATCH+groups:retry-after=2s").unwrap();
        assert_eq!(fault.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(fault.scope.methods, [http::Method::PUT, http::Method::PATCH]);
        assert_eq!(fault.scope.target, Some(Target::Groups));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (text, part) in [
            ("", ""),
            ("700", "700"),
            ("200", "200"),
            ("lost-after", "lost-after"),
            ("slow=soon", "soon"),
            ("500:1.5", "1.5"),
            ("500:NaN", "NaN"),
            ("500:every=0", "every=0"),
            ("500:next=-1", "next=-1"),
            ("500:on=OPTIONS", "OPTIONS"),
            ("500:15s..5s", "15s..5s"),
            ("outage", "outage"),
            ("outage:0.5", "outage:0.5"),
        ] {
            let error = Fault::parse(text).unwrap_err();
            assert_eq!((error.text.as_str(), error.part.as_str()), (text, part));
        }
        let message = Fault::parse("500:maybe").unwrap_err().to_string();
        assert_eq!(
            message,
            "fault \"500:maybe\": \"maybe\" is not a probability from 0 to 1, every=N, next=N or FROM..TO"
        );
    }

    proptest! {
        #[test]
        fn a_fault_is_written_as_it_is_read(
            kind in prop::sample::select(vec!["500", "504-after", "lost", "lost-before", "hang", "hang-after", "slow=2s", "truncated", "html", "wrong-type", "edit"]),
            when in prop::sample::select(vec!["", ":0.25", ":every=3", ":next=2", ":1s..2m"]),
            on in prop::sample::select(vec!["", ":on=PATCH+writes+groups", ":on=reads", ":on=token"]),
            wait in prop::sample::select(vec!["", ":retry-after=90s"]),
        ) {
            let fault = Fault::parse(&format!("{kind}{when}{on}{wait}")).unwrap();
            prop_assert_eq!(Fault::parse(&fault.to_string()).unwrap(), fault);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,40}") {
            let _ = Fault::parse(&text);
        }
    }
}
