//! Which request goes to which handler, on one screen.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::sandbox::answer::{Answer, Refusal};
use crate::sandbox::conditions::Conditions;
use crate::sandbox::endpoint::{Call, Endpoint, Kind};
use crate::sandbox::query::{self, Query};
use crate::sandbox::settings::Behaviour;
use crate::sandbox::state::State;
use crate::sandbox::{bulk, discovery, resources};
use crate::scim::error::ScimType;
use crate::scim::schema;

/// A request, read.
#[derive(Debug)]
pub struct Incoming {
    /// Method and endpoint.
    pub call: Call,
    /// The URL's query, without the question mark.
    pub query: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Handles one request of the SCIM service.
pub fn serve(state: &mut State, behaviour: &Behaviour, request: &Incoming) -> Result<Answer, Refusal> {
    let conditions = Conditions::read(&request.headers);
    let base_url = state.base_url().to_owned();
    let url = || Query::from_url(&request.query);
    let body = || read_body(request);
    if let Endpoint::Collection(kind) | Endpoint::Resource(kind, _) = &request.call.endpoint {
        behaviour.quirks.check_endpoint(*kind, request.call.method.as_str())?;
        behaviour.quirks.check_size(*kind, request.body.len())?;
    }
    match (&request.call.endpoint, request.call.method.as_str()) {
        (Endpoint::Collection(kind), "GET") => query::list(state, behaviour, &[*kind], &url()?),
        (Endpoint::Collection(kind), "POST") => {
            resources::create(state, behaviour, *kind, &body()?, &url()?.selection)
        }
        (Endpoint::Resource(kind, id), "GET") => {
            resources::read(state, behaviour, *kind, id, &conditions, &url()?.selection)
        }
        (Endpoint::Resource(kind, id), "PUT") => {
            resources::replace(state, behaviour, *kind, id, &conditions, &body()?, &url()?.selection)
        }
        (Endpoint::Resource(kind, id), "PATCH") => {
            resources::change(state, behaviour, *kind, id, &conditions, &body()?, &url()?.selection)
        }
        (Endpoint::Resource(kind, id), "DELETE") => {
            resources::delete(state, behaviour, *kind, id, &conditions)
        }
        (Endpoint::Members(id), "GET") => query::members(state, behaviour, id, &url()?),
        (Endpoint::Root, "GET") => query::list(state, behaviour, &[Kind::User, Kind::Group], &url()?),
        (Endpoint::Search(Some(kind)), "POST") => {
            query::list(state, behaviour, &[*kind], &Query::from_body(&body()?)?)
        }
        (Endpoint::Search(None), "POST") => {
            query::list(state, behaviour, &[Kind::User, Kind::Group], &Query::from_body(&body()?)?)
        }
        (Endpoint::ServiceProviderConfig, "GET") => {
            Ok(discovery::service_provider_config(behaviour, &base_url))
        }
        (Endpoint::ResourceTypes(id), "GET") => {
            discovery::resource_types(behaviour, &base_url, id.as_deref())
        }
        (Endpoint::Schemas(id), "GET") => discovery::schemas(&base_url, id.as_deref()),
        (Endpoint::Bulk, "POST") => bulk::serve(state, behaviour, &body()?, request.body.len()),
        (Endpoint::Unknown | Endpoint::Token, _) => Err(Refusal::new(404, "there is no such endpoint")),
        (
            Endpoint::Collection(_)
            | Endpoint::Resource(..)
            | Endpoint::Members(_)
            | Endpoint::Root
            | Endpoint::Search(_)
            | Endpoint::ServiceProviderConfig
            | Endpoint::ResourceTypes(_)
            | Endpoint::Schemas(_)
            | Endpoint::Bulk,
            _,
        ) => Err(Refusal::method_not_allowed()),
    }
}

/// Whether a method carries a body that must be JSON.
fn read_body(request: &Incoming) -> Result<Value, Refusal> {
    debug_assert_ne!(request.call.method, Method::GET, "a read has no body");
    let media_type =
        request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let is_json =
        [schema::MEDIA_TYPE, "application/json"].iter().any(|known| known.eq_ignore_ascii_case(media_type));
    if !is_json {
        return Err(Refusal::new(415, "the body is not application/scim+json"));
    }
    serde_json::from_slice(&request.body)
        .map_err(|error| Refusal::bad(ScimType::InvalidSyntax, format!("the body is not JSON: {error}")))
}
