//! Reads the three documents through the target's stack, so that its limits and pauses hold here too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::{Service as _, ServiceExt as _};

use super::pages::{self, PAGES_MAX, RESOURCES_MAX, Told, Unreadable};
use super::{Discovered, Features, ResourceType, Schema};
use crate::target::call::{Answer, CallError, Stack};
use crate::target::profile::Profile;
use crate::target::requests;
use crate::telemetry::chain;

/// What became of one round of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// What the vendor said, this time or before.
    pub discovered: Discovered,
    /// The documents that could not be read this time, and why; what was known of them stays.
    pub unread: BTreeMap<String, String>,
}

/// Reads the documents. One that fails leaves what was `known` of it as it was; once the vendor
/// cannot be reached at all, the rest is not tried.
pub async fn read(mut stack: Stack, profile: &Profile, known: Discovered) -> Reading {
    let mut reading = Reading { discovered: known, unread: BTreeMap::new() };
    for document in Document::ALL {
        let read = document.read(&mut stack, profile, &mut reading.discovered).await;
        match read {
            Ok(()) => {}
            Err(Failure::Document(error)) => reading.fail(document, error.to_string()),
            Err(Failure::Call(error)) => {
                reading.fail(document, format!("failed to {}", chain(&error)));
                break;
            }
        }
    }
    reading
}

/// Why a document could not be read.
enum Failure {
    /// There was an answer, and it was not the document.
    Document(Unreadable),
    /// There was no answer.
    Call(CallError),
}

impl Reading {
    fn fail(&mut self, document: Document, reason: String) {
        self.unread.insert(document.name().to_owned(), reason);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Document {
    Features,
    ResourceTypes,
    Schemas,
}

impl Document {
    const ALL: [Self; 3] = [Self::Features, Self::ResourceTypes, Self::Schemas];

    const fn name(self) -> &'static str {
        match self {
            Self::Features => "ServiceProviderConfig",
            Self::ResourceTypes => "ResourceTypes",
            Self::Schemas => "Schemas",
        }
    }

    /// Where it is: beside the service provider configuration. A server that writes the one name in
    /// lower case (as Genesys Cloud does) writes the others so, too.
    fn path(self, profile: &Profile) -> String {
        let probe = &profile.http.probe_path;
        let (folder, file) = probe
            .rsplit_once('/')
            .map_or(("", probe.as_str()), |(_, file)| (&probe[..probe.len() - file.len()], file));
        let lower = !file.chars().any(char::is_uppercase);
        match self {
            Self::Features => probe.clone(),
            Self::ResourceTypes | Self::Schemas if lower => {
                format!("{folder}{}", self.name().to_ascii_lowercase())
            }
            Self::ResourceTypes | Self::Schemas => format!("{folder}{}", self.name()),
        }
    }

    async fn read(self, stack: &mut Stack, profile: &Profile, into: &mut Discovered) -> Result<(), Failure> {
        match self {
            Self::Features => {
                let answer = self.ask(stack, profile, 1).await?;
                into.features = match Features::read(answer.status, &answer.body)? {
                    Told::Is(features) => Some(features),
                    Told::NotOffered => None,
                };
            }
            Self::ResourceTypes => {
                let resources = self.resources(stack, profile).await?;
                into.resource_types = resources.map(|resources| ResourceType::read_all(&resources));
            }
            Self::Schemas => {
                let resources = self.resources(stack, profile).await?;
                into.schemas = resources.map(|resources| Schema::read_all(&resources));
            }
        }
        Ok(())
    }

    /// All resources of a list, page by page; `None` where the server has no such list. A list that
    /// is not whole is none.
    async fn resources(self, stack: &mut Stack, profile: &Profile) -> Result<Option<Vec<Value>>, Failure> {
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            let answer = self.ask(stack, profile, all.len() + 1).await?;
            let page = match pages::body(answer.status, &answer.body, self.name())? {
                Told::Is(body) => pages::page(body, self.name())?,
                Told::NotOffered => return Ok(None),
            };
            let ended = page.resources.is_empty();
            all.extend(page.resources);
            all.truncate(RESOURCES_MAX);
            let whole = page.total.is_none_or(|total| total <= all.len() as u64);
            if ended || whole || all.len() == RESOURCES_MAX {
                break;
            }
        }
        Ok(Some(all))
    }

    async fn ask(self, stack: &mut Stack, profile: &Profile, start: usize) -> Result<Answer, Failure> {
        let path = self.path(profile);
        // RFC 7644 section 4 has these endpoints ignore paging, so only a second page is asked for.
        let path = if start > 1 { format!("{path}?startIndex={start}") } else { path };
        let call = requests::describe(path, self.name());
        let ready = stack.ready().await.map_err(Failure::Call)?;
        match ready.call(call).await {
            Ok(answer) => Ok(answer),
            Err(CallError::TooLarge { .. }) => Err(Failure::Document(Unreadable::TooLarge)),
            Err(error) => Err(Failure::Call(error)),
        }
    }
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self::Document(error)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http::StatusCode;
    use serde_json::json;
    use tower::service_fn;
    use tower::util::BoxCloneSyncService;

    use super::*;

    type Answers = Vec<Result<(u16, Value), CallError>>;

    /// A stack that gives these answers in turn, and what it was asked.
    fn playing(answers: Answers) -> (Stack, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answers, log) = (Arc::new(Mutex::new(answers.into_iter())), Arc::clone(&asked));
        let stack = BoxCloneSyncService::new(service_fn(move |call: crate::target::Call| {
            log.lock().unwrap().push(call.path);
            let answer = answers.lock().unwrap().next().expect("no more calls");
            let answer = answer.map(|(status, body)| Answer {
                body: Bytes::from(body.to_string()),
                ..Answer::new(StatusCode::from_u16(status).unwrap())
            });
            std::future::ready(answer)
        }));
        (stack, asked)
    }

    fn known() -> Discovered {
        let schemas = Schema::read_all(&[json!({"id": "urn:old"})]);
        Discovered {
            features: Some(Features { patch: Some(true), ..Features::default() }),
            resource_types: Some(ResourceType::read_all(&[json!({"name": "Old"})])),
            schemas: Some(schemas),
        }
    }

    async fn after(answers: Answers) -> (Reading, Vec<String>) {
        let (stack, asked) = playing(answers);
        let reading = read(stack, &Profile::builtin("rfc7644").unwrap(), known()).await;
        let asked = asked.lock().unwrap().clone();
        (reading, asked)
    }

    #[tokio::test]
    async fn what_is_not_offered_is_known_no_more() {
        let (reading, asked) =
            after(vec![Ok((501, json!(null))), Ok((404, json!(null))), Ok((405, json!(null)))]).await;
        assert_eq!((reading.discovered, reading.unread.len()), (Discovered::default(), 0));
        assert_eq!(asked, ["ServiceProviderConfig", "ResourceTypes", "Schemas"]);
    }

    #[tokio::test]
    async fn a_document_that_fails_changes_nothing_of_it() {
        let (reading, _) =
            after(vec![Ok((403, json!({}))), Ok((200, json!([{"name": "New"}]))), Ok((200, json!("?")))])
                .await;
        let before = known();
        assert_eq!(
            (&reading.discovered.features, &reading.discovered.schemas),
            (&before.features, &before.schemas)
        );
        assert_eq!(reading.discovered.resource_types.unwrap()[0].name, "New");
        let reasons: Vec<_> = reading.unread.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        assert_eq!(
            reasons,
            ["Schemas: the answer is not Schemas", "ServiceProviderConfig: the answer's status is 403",]
        );
    }

    #[tokio::test]
    async fn a_vendor_that_cannot_be_reached_is_asked_once() {
        let (reading, asked) = after(vec![Err(CallError::NotSent { source: "refused".into() })]).await;
        assert_eq!((asked.len(), reading.discovered), (1, known()));
        assert_eq!(reading.unread["ServiceProviderConfig"], "failed to reach the vendor: refused");
    }

    #[tokio::test]
    async fn pages_are_followed_and_a_server_that_has_no_end_is_left() {
        let page = |names: &[&str], total: u64| {
            let resources: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
            Ok((200, json!({"totalResults": total, "Resources": resources})))
        };
        let (reading, asked) =
            after(vec![Ok((404, json!(null))), page(&["A", "B"], 3), page(&["C"], 3), page(&[], 9)]).await;
        let names: Vec<_> =
            reading.discovered.resource_types.unwrap().into_iter().map(|kind| kind.name).collect();
        assert_eq!(names, ["A", "B", "C"]);
        assert_eq!(asked[1..], ["ResourceTypes", "ResourceTypes?startIndex=3", "Schemas"]);

        let endless = (0..PAGES_MAX).map(|_| page(&["X"], u64::MAX));
        let answers = [Ok((404, json!(null)))].into_iter().chain(endless).chain([page(&[], 0)]).collect();
        assert_eq!(after(answers).await.1.len(), 2 + PAGES_MAX);
    }

    #[test]
    fn the_documents_are_beside_each_other_in_the_servers_own_spelling() {
        let mut profile = Profile::builtin("genesys-cloud").unwrap();
        for (probe, expected) in [
            ("serviceproviderconfig", ["serviceproviderconfig", "resourcetypes", "schemas"]),
            ("ServiceProviderConfigs", ["ServiceProviderConfigs", "ResourceTypes", "Schemas"]),
            ("v2/ServiceProviderConfig", ["v2/ServiceProviderConfig", "v2/ResourceTypes", "v2/Schemas"]),
        ] {
            probe.clone_into(&mut profile.http.probe_path);
            assert_eq!(Document::ALL.map(|document| document.path(&profile)), expected);
        }
    }
}
