//! Finds out what a vendor really does, with two throw-away users and a throw-away group.
//!
//! Documents and announcements disagree with servers; a probe asks the server itself. It changes
//! nothing but what it makes, works through the target's own stack and limits, and removes what it
//! has made however it ends. Each answer becomes a line to read and, where a profile has a key for
//! it, a value of a profile.

mod findings;
mod groups;
mod members;
mod session;
mod users;

use std::fmt;

pub use findings::{Finding, Findings};
use session::Session;

use crate::target::Target;
use crate::target::requests::Kind;

/// Why a probe cannot go on. Questions that only one answer is missing to do not end it.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There was no answer.
    #[error("{doing}")]
    Call {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: crate::target::CallError,
    },
    /// Without this nothing else can be asked.
    #[error("{doing}: the vendor answered {status}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// The vendor's status.
        status: u16,
    },
    /// It was told to stop.
    #[error("finish the probe: it was interrupted")]
    Interrupted,
}

/// Something of the probe's that is still at the vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// A user or a group.
    pub kind: Kind,
    /// Its `userName` or `displayName`.
    pub name: String,
    /// The vendor's id, where it is known.
    pub id: Option<String>,
    /// Why it could not be removed.
    pub reason: String,
}

/// What came of a probe.
#[derive(Debug)]
pub struct Report {
    /// What was found out before it ended.
    pub findings: Findings,
    /// What it could not remove.
    pub leftovers: Vec<Leftover>,
    /// Why it ended early.
    pub ended: Result<(), ProbeError>,
}

/// Probes a target until all is asked or `stop` is ready, and removes what it has made in either case.
/// `unique` makes the names: nothing at the vendor may hold it.
pub async fn probe(target: &Target, unique: &str, stop: impl Future<Output = ()>) -> Report {
    let mut session = Session::new(target, unique);
    let ended = tokio::select! {
        ended = ask(&mut session) => ended,
        () = stop => Err(ProbeError::Interrupted),
    };
    let leftovers = session.clean_up().await;
    Report { findings: session.findings, leftovers, ended }
}

async fn ask(session: &mut Session) -> Result<(), ProbeError> {
    let [one, two] = users::create(session).await?;
    users::filters(session, &one).await?;
    users::patches(session, &one).await?;
    users::versions(session, &one).await?;
    users::pages(session).await?;
    if let Some(group) = groups::create(session).await? {
        groups::filters(session, &group).await?;
        members::ask(session, &group, [&one.id, &two.id]).await?;
        groups::delete(session, &group).await?;
    }
    users::deactivate(session, &one).await?;
    users::delete(session, &two).await
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::User => "user",
            Kind::Group => "group",
        };
        let id = self.id.as_deref().unwrap_or("unknown");
        write!(f, "{kind} {} (id {id}): {}", self.name, self.reason)
    }
}
