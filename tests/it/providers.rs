//! The whole line for each identity provider that is asked: what its webhook only names, or what was missed,
//! is read there and reaches the vendor. How each answers is `errands`' own tests' matter.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::identity_provider::IdentityProvider;
use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::{eventually, http_client};

const LIMIT: Duration = Duration::from_mins(1);
const SECRET: &str = "the-hooks-secret";
const KEY: &str = "Bearer an-api-token";

/// A webhook: headers besides the content type, and the body.
type Hook = (Vec<(&'static str, String)>, Value);

/// One provider, and one person there.
struct Row {
    /// Its source, and the path below which its API is.
    source: &'static str,
    /// The source's lines before and in its connector.
    kind: &'static str,
    connector: &'static str,
    /// The person's id.
    person: &'static str,
    /// A webhook that names the person and says nothing else; the n-th.
    hook: fn(u32) -> Hook,
    /// Where the record is asked for, and how it looks while the person has access or has none.
    path: &'static str,
    record: fn(bool) -> Value,
}

const ROWS: [Row; 6] = [
    Row {
        source: "graph",
        kind: "kind = \"entra\"",
        connector: "",
        person: "4d147cc8",
        hook: |number| {
            let body = json!({"value": [{
                "changeType": "updated", "clientState": SECRET, "resource": "Users/4d147cc8", "sequenceNumber": number,
                "id": format!("n-{number}"), "subscriptionId": "092ba742", "tenantId": "7d96d549",
                "resourceData": {"@odata.type": "#Microsoft.Graph.User", "@odata.id": "Users/4d147cc8", "id": "4d147cc8"},
            }]});
            (Vec::new(), body)
        },
        path: "/graph/users/4d147cc8",
        record: |active| {
            json!({"id": "4d147cc8", "userPrincipalName": "graph@acme.example", "accountEnabled": active,
                   "jobTitle": "Lead"})
        },
    },
    Row {
        source: "google",
        kind: "kind = \"google\"",
        connector: "",
        person: "1112",
        hook: |number| {
            let headers = [
                ("x-goog-channel-id", "7a1c2f"),
                ("x-goog-channel-token", SECRET),
                ("x-goog-resource-id", "ret08u3rv"),
                ("x-goog-resource-state", "update"),
                ("x-goog-resource-uri", "https://admin.example/users"),
            ];
            let mut headers: Vec<_> =
                headers.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
            headers.push(("x-goog-message-number", number.to_string()));
            let body =
                json!({"kind": "admin#directory#user", "id": "1112", "primaryEmail": "google@acme.example"});
            (headers, body)
        },
        path: "/google/admin/directory/v1/users/1112",
        record: |active| {
            json!({"id": "1112", "primaryEmail": "google@acme.example", "suspended": !active,
                   "organizations": [{"title": "Lead", "primary": true}]})
        },
    },
    Row {
        source: "keycloak",
        kind: "kind = \"keycloak\"",
        connector: "",
        person: "u-kc",
        hook: |number| {
            let body = json!({
                "uid": format!("7f1c-{number}"), "id": format!("0a2b-{number}"), "type": "admin.USER-UPDATE",
                "time": 1_786_000_000_000_u64 + u64::from(number), "realmId": "b1", "realmName": "acme",
                "details": {}, "resourceType": "USER", "operationType": "UPDATE", "resourcePath": "users/u-kc",
            });
            let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(body.to_string().as_bytes());
            let signature = mac
                .finalize()
                .into_bytes()
                .iter()
                .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            (vec![("x-keycloak-signature", signature)], body)
        },
        path: "/keycloak/users/u-kc",
        record: |active| {
            json!({"id": "u-kc", "username": "keycloak@acme.example", "enabled": active,
                   "attributes": {"title": ["Lead"]}})
        },
    },
    Row {
        source: "okta",
        kind: "kind = \"okta\"",
        connector: "",
        person: "00u9",
        hook: |number| (in_authorization(), okta_event(number, "00u9")),
        path: "/okta/api/v1/users/00u9",
        record: |active| {
            let profile = json!({"login": "okta@acme.example", "title": "Lead"});
            json!({"id": "00u9", "status": if active { "ACTIVE" } else { "DEPROVISIONED" }, "profile": profile})
        },
    },
    Row {
        source: "scim",
        kind: "kind = \"okta\"",
        connector: "kind = \"scim\"\n",
        person: "2819c223",
        hook: |number| (in_authorization(), okta_event(number, "2819c223")),
        path: "/scim/Users/2819c223",
        record: |active| {
            json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": "2819c223",
                   "userName": "scim@acme.example", "title": "Lead", "active": active})
        },
    },
    Row {
        source: "rest",
        kind: "kind = \"onelogin\"",
        connector: "kind = \"rest\"\nuser.path = \"people/{id}\"\nuser.active_when = [\"works\"]\n\
                    user.attributes = { userName = \"/login\", title = \"/job\", active = \"/state\" }\n",
        person: "32916210",
        hook: |number| {
            let body = json!([{
                "create": {"_id": format!("d210df80-{number}")}, "uuid": format!("d210df80-{number}"),
                "event_timestamp": "2026-08-20 19:13:06 UTC", "event_type_id": 14, "account_id": 92920,
                "user_id": 32_916_210, "user_name": "Jane Roe", "actor_user_id": 32_916_209, "role_id": null,
            }]);
            (in_authorization(), body)
        },
        path: "/rest/people/32916210",
        record: |active| json!({"login": "rest@acme.example", "job": "Lead", "state": if active { "works" } else { "left" }}),
    },
];

fn in_authorization() -> Vec<(&'static str, String)> {
    vec![("authorization", SECRET.to_owned())]
}

fn okta_event(number: u32, user: &str) -> Value {
    let event = json!({
        "uuid": format!("{user}-{number}"), "published": format!("2026-08-20T10:00:{number:02}.500Z"),
        "eventType": "user.account.update_profile", "outcome": {"result": "SUCCESS"},
        "target": [{"id": user, "type": "User"}],
    });
    json!({"eventId": format!("{user}-batch-{number}"), "data": {"events": [event]}})
}

/// The lines of a source that asks below its own path of the provider.
fn section(name: &str, kind: &str, url: &str, connector: &str) -> String {
    format!(
        "\n[sources.{name}]\n{kind}\nsecrets = [\"{SECRET}\"]\n[sources.{name}.connector]\n\
         base_url = \"{url}/{name}\"\nauth = {{ type = \"bearer\", token = \"an-api-token\" }}\n\
         limits = {{ rate_per_second = 100, burst = 20 }}\n{connector}"
    )
}

async fn post(relay: &Relay, source: &str, (headers, body): Hook) {
    let mut request = http_client().post(format!("{}/webhooks/{source}", relay.url));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.header("content-type", "application/json").body(body.to_string());
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    assert!(status.is_success(), "{source}: {status}: {}", answer.text().await.unwrap_or_default());
}

async fn user(sandbox: &Sandbox, external_id: &str) -> Option<Value> {
    sandbox.users().await.into_iter().find(|user| user["externalId"] == external_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_thin_event_of_any_provider_names_is_at_the_vendor_as_the_provider_says() {
    let provider = IdentityProvider::new(KEY);
    let url = provider.start().await;
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    for row in &ROWS {
        home.append(&section(row.source, row.kind, &url, row.connector));
        provider.set(row.path, (row.record)(true));
    }
    let relay = home.start().await;
    for row in &ROWS {
        post(&relay, row.source, (row.hook)(1)).await;
    }
    for row in &ROWS {
        let held = eventually(row.source, LIMIT, async || user(&sandbox, row.person).await).await;
        let name = format!("{}@acme.example", row.source);
        assert_eq!(
            (&held["userName"], &held["active"]),
            (&json!(name), &json!(true)),
            "{}: {held}",
            row.source
        );
        // Keycloak has no title of its own.
        let title = if row.source == "keycloak" { Value::Null } else { json!("Lead") };
        assert_eq!(held["title"], title, "{}: {held}", row.source);
    }
    for row in &ROWS {
        provider.set(row.path, (row.record)(false));
        post(&relay, row.source, (row.hook)(2)).await;
    }
    for row in &ROWS {
        eventually(&format!("{} ends access", row.source), LIMIT, async || {
            user(&sandbox, row.person).await.filter(|held| held["active"] == false)
        })
        .await;
        assert_eq!(provider.asked(row.path), 2, "{}: each webhook is one reading", row.source);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_members_auth0_does_not_name_is_at_the_vendor_with_whom_it_lists() {
    let provider = IdentityProvider::new(KEY);
    let url = provider.start().await;
    provider.set("/auth0/api/v2/groups/grp_01", json!({"id": "grp_01", "name": "Engineering"}));
    let listed = json!({"members": [{"id": "auth0|507f", "member_type": "user"}]});
    provider.set("/auth0/api/v2/groups/grp_01/members", listed);
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    home.append(&section("auth0", "kind = \"auth0\"", &url, ""));
    let relay = home.start().await;

    let event = |id: &str, kind: &str, object: Value| {
        let body = json!({
            "specversion": "1.0", "type": kind, "source": "urn:auth0:acme.us.auth0.com", "id": id,
            "time": "2026-02-01T12:34:56Z", "data": {"object": object}, "a0tenant": "acme", "a0stream": "est_1",
        });
        (vec![("authorization", format!("Bearer {SECRET}"))], body)
    };
    let person =
        json!({"user_id": "auth0|507f", "email": "ada@acme.example", "updated_at": "2026-02-01T12:34:55Z"});
    post(&relay, "auth0", event("evt_1", "user.created", person)).await;
    let connection = json!({"group": {"id": "grp_01", "name": "Engineering"},
                            "member": {"member_type": "connection", "id": "con_2"}});
    post(&relay, "auth0", event("evt_2", "group.member.added", connection)).await;
    eventually("the group has its member", LIMIT, async || {
        let ada = user(&sandbox, "auth0|507f").await?;
        let groups = sandbox.holdings().await.groups;
        let group =
            groups.into_iter().find(|group| group.get("displayName") == Some(&json!("Engineering")))?;
        (group.get("members")?[0]["value"] == ada["id"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_workos_says_while_nobody_listens_is_read_from_its_events_at_the_next_start() {
    let provider = IdentityProvider::new(KEY);
    let url = provider.start().await;
    let nothing = json!({"object": "list", "data": [], "list_metadata": {"after": null}});
    provider.set("/workos/events", nothing);
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    home.append(&section("workos", "kind = \"workos\"", &url, "catch_up = \"1h\"\n"));
    let relay = home.start().await;
    eventually("the events so far are read", LIMIT, async || {
        (provider.asked("/workos/events") > 0).then_some(())
    })
    .await;
    assert_eq!(relay.terminate().await, Some(0));

    let event = json!({
        "id": "event_01J0", "event": "dsync.user.created", "created_at": "2026-06-25T19:07:33.155Z",
        "data": {"object": "directory_user", "id": "directory_user_01FA", "directory_id": "directory_01F9",
                 "email": "blair@acme.example", "username": "blair", "first_name": "Blair", "state": "active",
                 "custom_attributes": {}, "created_at": "2026-06-25T19:07:33.100Z",
                 "updated_at": "2026-06-25T19:07:33.100Z"},
    });
    provider
        .set("/workos/events", json!({"object": "list", "data": [event], "list_metadata": {"after": null}}));
    let relay = home.start().await;
    let held =
        eventually("the user is there", LIMIT, async || user(&sandbox, "directory_user_01FA").await).await;
    assert_eq!((&held["userName"], &held["active"]), (&json!("blair"), &json!(true)), "{held}");
    assert_eq!(relay.terminate().await, Some(0));
}
