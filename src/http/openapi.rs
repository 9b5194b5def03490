//! The OpenAPI 3.1 document, made from the routes and the handlers' own descriptions.

use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use super::{Relay, admin, router};

/// The document as indented JSON, ending with a line break. Equal for equal code.
pub fn document() -> String {
    let routes: OpenApiRouter<Relay> = OpenApiRouter::with_openapi(Base::openapi())
        .merge(router::public_routes())
        .merge(router::monitoring_routes())
        .nest(admin::PATH, router::admin_routes());
    let mut text = routes.into_openapi().to_pretty_json().expect("the document is plain data");
    text.push('\n');
    text
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "scim-relay",
        description = "Verifies identity providers' signed change webhooks, keeps them as durable desired \
                       state, and makes vendors' SCIM 2.0 directories equal to it. Errors are problems \
                       (RFC 9457).",
    ),
    tags(
        (name = "webhooks", description = "What identity providers send"),
        (name = "health", description = "What load balancers and monitoring read"),
        (name = "admin", description = "What administrators ask and do. Viewers read; operators act; \
                                        admins do everything"),
    ),
    security(("admin_key" = [])),
    modifiers(&Schemes),
)]
struct Base;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A key of [[admin.keys]]"))
            .build();
        components.add_security_scheme("admin_key", SecurityScheme::Http(bearer));
        let signature = ApiKeyValue::with_description(
            "webhook-signature",
            "Standard Webhooks v1: `v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`; several \
             are separated by spaces",
        );
        components
            .add_security_scheme("webhook_signature", SecurityScheme::ApiKey(ApiKey::Header(signature)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_that_is_checked_in_is_the_codes_own() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/scim-relay.json");
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == document(),
            "the API has changed; run `scim-relay openapi > openapi/scim-relay.json` and look at the difference"
        );
    }

    #[test]
    fn every_call_has_its_own_name_and_says_how_it_answers() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        assert_eq!(document["security"], serde_json::json!([{"admin_key": []}]));
        let paths = document["paths"].as_object().unwrap();
        let mut names = std::collections::BTreeSet::new();
        for (path, calls) in paths {
            for (method, call) in calls.as_object().unwrap() {
                assert!(
                    names.insert(call["operationId"].as_str().unwrap()),
                    "{method} {path}: name is taken"
                );
                for (status, response) in call["responses"].as_object().unwrap() {
                    let text = response["description"].as_str().unwrap_or_default();
                    assert_ne!(text, "", "{method} {path}: {status} is not described");
                }
                let is_admin = path.starts_with(admin::PATH);
                assert_eq!(call.get("security").is_none(), is_admin, "{method} {path}");
                for status in ["401", "403"] {
                    assert!(
                        !is_admin || call["responses"].get(status).is_some(),
                        "{method} {path}: {status}"
                    );
                }
            }
        }
    }
}
