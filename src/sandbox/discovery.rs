//! What the service says of itself, RFC 7644 section 4 and RFC 7643 sections 5 to 7.

use serde_json::{Value, json};

use crate::sandbox::answer::{Answer, Refusal};
use crate::sandbox::endpoint::Kind;
use crate::sandbox::settings::{Auth, Behaviour, IfMatch};
use crate::scim::definition::{Attribute, Mutability, Returned, SchemaRules, Type};
use crate::scim::list::ListResponse;
use crate::scim::schema;

const KINDS: [Kind; 2] = [Kind::User, Kind::Group];

/// `/ServiceProviderConfig`
pub fn service_provider_config(behaviour: &Behaviour, base_url: &str) -> Answer {
    let scheme = match behaviour.auth {
        Auth::Open | Auth::Bearer(_) => json!({
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "A token in the Authorization header",
            "primary": true
        }),
        Auth::OAuth2 { .. } => json!({
            "type": "oauth2",
            "name": "Client credentials",
            "description": "A bearer token from the token endpoint",
            "primary": true
        }),
    };
    let versions = behaviour.etag.if_match != IfMatch::Ignored;
    let bulk = behaviour.bulk.filter(|bulk| bulk.announced);
    Answer::ok(json!({
        "schemas": [schema::SERVICE_PROVIDER_CONFIG],
        "patch": {"supported": true},
        "bulk": {
            "supported": bulk.is_some(),
            "maxOperations": bulk.map_or(0, |bulk| bulk.operations_max.most),
            "maxPayloadSize": bulk.map_or(0, |bulk| bulk.bytes_max)
        },
        "filter": {"supported": true, "maxResults": behaviour.paging.count_max},
        "changePassword": {"supported": true},
        "sort": {"supported": true},
        "etag": {"supported": versions},
        "authenticationSchemes": [scheme],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base_url}/ServiceProviderConfig")
        }
    }))
}

/// `/ResourceTypes`, or one of them.
pub fn resource_types(behaviour: &Behaviour, base_url: &str, id: Option<&str>) -> Result<Answer, Refusal> {
    let all = KINDS.map(|kind| resource_type(behaviour, base_url, kind));
    one_or_all(all.into(), id)
}

/// `/Schemas`, or one of them.
pub fn schemas(base_url: &str, id: Option<&str>) -> Result<Answer, Refusal> {
    let cores = KINDS.iter().map(|kind| core_schema(kind.rules(), base_url));
    let extensions = KINDS
        .iter()
        .flat_map(|kind| kind.rules().extensions)
        .map(|extension| describe("EnterpriseUser", extension.name, extension.sub_attributes, base_url));
    one_or_all(cores.chain(extensions).collect(), id)
}

fn one_or_all(resources: Vec<Value>, id: Option<&str>) -> Result<Answer, Refusal> {
    if let Some(id) = id {
        let found = resources.into_iter().find(|resource| resource["id"] == id);
        return found.map(Answer::ok).ok_or_else(Refusal::not_found);
    }
    let list = ListResponse {
        total_results: Some(resources.len() as u64),
        items_per_page: Some(resources.len() as u64),
        start_index: Some(1),
        next_cursor: None,
        resources,
    };
    let body = serde_json::to_value(list).map_err(|_| Refusal::new(500, "the list could not be written"))?;
    Ok(Answer::ok(body))
}

fn resource_type(behaviour: &Behaviour, base_url: &str, kind: Kind) -> Value {
    let rules = kind.rules();
    let extensions: Vec<Value> = rules
        .extensions
        .iter()
        .map(|extension| json!({"schema": extension.name, "required": false}))
        .collect();
    json!({
        "schemas": [schema::RESOURCE_TYPE],
        "id": rules.name,
        "name": rules.name,
        "description": rules.name,
        "endpoint": format!("/{}", kind.path(behaviour)),
        "schema": rules.urn,
        "schemaExtensions": extensions,
        "meta": {
            "resourceType": "ResourceType",
            "location": format!("{base_url}/ResourceTypes/{}", rules.name)
        }
    })
}

fn core_schema(rules: &SchemaRules, base_url: &str) -> Value {
    describe(rules.name, rules.urn, rules.attributes, base_url)
}

fn describe(name: &str, urn: &str, attributes: &[Attribute], base_url: &str) -> Value {
    json!({
        "schemas": [schema::SCHEMA],
        "id": urn,
        "name": name,
        "description": name,
        "attributes": attributes.iter().map(attribute).collect::<Vec<_>>(),
        "meta": {"resourceType": "Schema", "location": format!("{base_url}/Schemas/{urn}")}
    })
}

fn attribute(attribute: &Attribute) -> Value {
    let mut described = json!({
        "name": attribute.name,
        "type": type_name(attribute.kind),
        "multiValued": attribute.multi_valued,
        "description": attribute.name,
        "required": attribute.required,
        "caseExact": attribute.case_exact,
        "mutability": mutability_name(attribute.mutability),
        "returned": returned_name(attribute.returned),
        "uniqueness": if attribute.unique { "server" } else { "none" }
    });
    if !attribute.canonical_values.is_empty() {
        described["canonicalValues"] = json!(attribute.canonical_values);
    }
    if !attribute.reference_types.is_empty() {
        described["referenceTypes"] = json!(attribute.reference_types);
    }
    if !attribute.sub_attributes.is_empty() {
        described["subAttributes"] = attribute.sub_attributes.iter().map(self::attribute).collect();
    }
    described
}

fn type_name(kind: Type) -> &'static str {
    match kind {
        Type::String => "string",
        Type::Boolean => "boolean",
        Type::Binary => "binary",
        Type::Reference => "reference",
        Type::Complex => "complex",
    }
}

fn mutability_name(mutability: Mutability) -> &'static str {
    match mutability {
        Mutability::ReadOnly => "readOnly",
        Mutability::ReadWrite => "readWrite",
        Mutability::Immutable => "immutable",
        Mutability::WriteOnly => "writeOnly",
    }
}

fn returned_name(returned: Returned) -> &'static str {
    match returned {
        Returned::Always => "always",
        Returned::Never => "never",
        Returned::Default => "default",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::definition::COMMON_ATTRIBUTES;

    #[test]
    fn the_common_attributes_are_in_no_schema() {
        let answer = schemas("http://x", Some(schema::USER)).unwrap();
        let body = answer.body.unwrap();
        let names: Vec<&str> =
            body["attributes"].as_array().unwrap().iter().filter_map(|a| a["name"].as_str()).collect();
        assert!(names.contains(&"userName"));
        assert!(COMMON_ATTRIBUTES.iter().all(|common| !names.contains(&common.name)));
    }

    #[test]
    fn an_unknown_schema_is_not_found() {
        assert_eq!(schemas("http://x", Some("urn:none")).unwrap_err().status, 404);
    }
}
