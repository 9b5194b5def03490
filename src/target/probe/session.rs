//! One probe under way: its calls, its names, and what it has made.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::time::timeout;
use tower::{Service as _, ServiceExt as _};

use super::findings::Findings;
use super::{Leftover, ProbeError};
use crate::scim::list::ListResponse;
use crate::scim::patch::PatchRequest;
use crate::scim::resource;
use crate::target::call::{Answer, Call, CallError, Stack};
use crate::target::profile::{EtagTrust, Filters, Profile};
use crate::target::requests::{self, Kind};
use crate::target::{Target, verdict};
use crate::telemetry::chain;

/// How often a call is made again that the vendor refuses for the moment.
const TRIES: usize = 5;
/// The longest that the removal of one thing takes.
const REMOVAL_MAX: Duration = Duration::from_mins(2);

pub(super) struct Session {
    stack: Stack,
    /// The target's profile without the limits that are to be found out.
    pub(super) profile: Profile,
    /// What the target's profile says.
    pub(super) base: Profile,
    pub(super) unique: String,
    pub(super) findings: Findings,
    made: Vec<Made>,
}

struct Made {
    kind: Kind,
    name: String,
    id: Option<String>,
}

impl Session {
    pub(super) fn new(target: &Target, unique: &str) -> Self {
        let base = target.profile().clone();
        let mut profile = base.clone();
        profile.etag.trust = EtagTrust::Enforced;
        profile.filter = Filters { or: true, attributes: Vec::new(), group_attributes: None };
        Self {
            stack: target.stack(),
            profile,
            base,
            unique: unique.to_owned(),
            findings: Findings::default(),
            made: Vec::new(),
        }
    }

    /// Makes a call, again where the vendor only wants us to wait.
    pub(super) async fn send(&mut self, doing: &'static str, call: Call) -> Result<Answer, ProbeError> {
        self.call(call).await.map_err(|source| ProbeError::Call { doing, source })
    }

    /// Creates something that will be removed; noted first, since an answer may be lost.
    pub(super) async fn create(
        &mut self,
        doing: &'static str,
        kind: Kind,
        name: &str,
        body: &Value,
    ) -> Result<Answer, ProbeError> {
        self.made.push(Made { kind, name: name.to_owned(), id: None });
        let answer = self.send(doing, requests::create(&self.profile, kind, body)).await?;
        let id = if answer.status.is_success() { id_of(&answer) } else { None };
        let made = self.made.last_mut().expect("pushed above");
        made.id = id;
        if answer.status.is_client_error() {
            self.made.pop();
        }
        Ok(answer)
    }

    pub(super) async fn patch(
        &mut self,
        doing: &'static str,
        (kind, id): (Kind, &str),
        request: &PatchRequest,
    ) -> Result<Answer, ProbeError> {
        let call = requests::patch(&self.profile, kind, id, request, None);
        self.send(doing, usable(call, doing)?).await
    }

    /// A resource as it is; null where it cannot be read.
    pub(super) async fn fetch(
        &mut self,
        doing: &'static str,
        (kind, id): (Kind, &str),
    ) -> Result<(Answer, Value), ProbeError> {
        let answer = self.send(doing, usable(requests::fetch(&self.profile, kind, id), doing)?).await?;
        let body = if answer.status.is_success() { json(&answer) } else { Value::Null };
        Ok((answer, body))
    }

    pub(super) async fn delete(
        &mut self,
        doing: &'static str,
        (kind, id): (Kind, &str),
    ) -> Result<StatusCode, ProbeError> {
        let call = usable(requests::delete(&self.profile, kind, id, None), doing)?;
        Ok(self.send(doing, call).await?.status)
    }

    /// A page, where the vendor answers with one.
    pub(super) async fn list(
        &mut self,
        doing: &'static str,
        call: Call,
    ) -> Result<Option<ListResponse>, ProbeError> {
        let answer = self.send(doing, call).await?;
        Ok(if answer.status.is_success() { ListResponse::parse(&answer.body).ok() } else { None })
    }

    /// Nothing of this is there any more.
    pub(super) fn is_gone(&mut self, id: &str) {
        self.made.retain(|made| made.id.as_deref() != Some(id));
    }

    /// Removes all that was made, the last first, so that no group loses its members one by one.
    pub(super) async fn clean_up(&mut self) -> Vec<Leftover> {
        let mut leftovers = Vec::new();
        while let Some(made) = self.made.pop() {
            let removed = timeout(REMOVAL_MAX, self.remove(&made)).await;
            let reason = match removed {
                Ok(Ok(())) => continue,
                Ok(Err(reason)) => reason,
                Err(_) => "the vendor did not let it be removed in time".to_owned(),
            };
            leftovers.push(Leftover { kind: made.kind, name: made.name, id: made.id, reason });
        }
        leftovers
    }

    async fn remove(&mut self, made: &Made) -> Result<(), String> {
        let failed = |error: &CallError| format!("failed to {}", chain(error));
        let ids = match &made.id {
            Some(id) => vec![id.clone()],
            // The answer to its creation is unknown.
            None => self.ids_named(made).await.map_err(|error| failed(&error))?,
        };
        for id in ids {
            let delete = requests::delete(&self.profile, made.kind, &id, None);
            let delete = delete.map_err(|error| error.to_string())?;
            let answer = self.call(delete).await.map_err(|error| failed(&error))?;
            if !answer.status.is_success() && answer.status != StatusCode::NOT_FOUND {
                return Err(format!("its deletion was answered {}", answer.status.as_u16()));
            }
            let fetch = requests::fetch(&self.profile, made.kind, &id).map_err(|error| error.to_string())?;
            let there = self.call(fetch).await.map_err(|error| failed(&error))?;
            if there.status.is_success() {
                return Err("it is still there after its deletion".to_owned());
            }
        }
        Ok(())
    }

    async fn ids_named(&mut self, made: &Made) -> Result<Vec<String>, CallError> {
        let attribute = match made.kind {
            Kind::User => "userName",
            Kind::Group => "displayName",
        };
        let lookup = requests::lookup(&self.profile, made.kind, &[(attribute, &made.name)]);
        let Some(lookup) = lookup else { return Ok(Vec::new()) };
        let answer = self.call(lookup).await?;
        let found = ListResponse::parse(&answer.body).map(|list| list.resources).unwrap_or_default();
        // A server that does not look at filters answers with everybody.
        let ours = found.iter().filter(|found| {
            resource::get(found, attribute).and_then(Value::as_str) == Some(made.name.as_str())
        });
        Ok(ours.filter_map(resource::id).collect())
    }

    async fn call(&mut self, call: Call) -> Result<Answer, CallError> {
        let mut tries = 1;
        loop {
            let answer = self.stack.ready().await?.call(call.clone()).await?;
            let throttled = matches!(answer.status.as_u16(), 429 | 503);
            if !throttled || tries == TRIES {
                return Ok(answer);
            }
            // The gate holds the next one as long as the vendor asked.
            tries += 1;
        }
    }
}

/// The body, null where there is none.
pub(super) fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// The vendor's id of what was created.
pub(super) fn id_of(answer: &Answer) -> Option<String> {
    resource::id(&json(answer)).or_else(|| verdict::id_in_location(answer.location.as_deref()?))
}

/// How an answer is told to people.
pub(super) fn said(answer: &Answer) -> String {
    let scim_type =
        resource::get(&json(answer), "scimType").and_then(|said| said.as_str().map(str::to_owned));
    match scim_type.filter(|said| said.bytes().all(|byte| byte.is_ascii_alphanumeric()) && said.len() <= 64) {
        Some(scim_type) => format!("{} {scim_type}", answer.status.as_u16()),
        None => answer.status.as_u16().to_string(),
    }
}

fn usable(call: Result<Call, requests::UnusableId>, doing: &'static str) -> Result<Call, ProbeError> {
    call.map_err(|error| {
        let source = CallError::Unusable { reason: error.to_string() };
        ProbeError::Call { doing, source }
    })
}
