//! The sandbox over real HTTP, one knob and one fault at a time.

mod authorisation;
mod bulk;
mod faults;
mod groups;
mod introspection;
mod lists;
mod rates;
mod scale;
mod users;
mod versions;

use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::{Behaviour, Fault, Running, Settings, start};
use crate::scim::schema;

/// A sandbox and a client of it.
struct Vendor {
    running: Running,
    http: reqwest::Client,
}

/// What came back.
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Vendor {
    async fn strict() -> Self {
        Self::with(Behaviour::default(), &[]).await
    }

    async fn with(behaviour: Behaviour, faults: &[&str]) -> Self {
        // Whoever comes second finds it done.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let faults = faults.iter().map(|text| Fault::parse(text).unwrap()).collect();
        let running = start(Settings { behaviour, faults, ..Settings::default() }).await.unwrap();
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).build().unwrap();
        Self { running, http }
    }

    fn url(&self, path: &str) -> String {
        if path.starts_with("/_sandbox") || path.starts_with("/oauth") {
            format!("http://{}{path}", self.running.addr())
        } else {
            format!("{}{path}", self.running.base_url())
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path))
    }

    async fn get(&self, path: &str) -> Reply {
        send(self.request(Method::GET, path)).await.unwrap()
    }

    async fn delete(&self, path: &str) -> Reply {
        send(self.request(Method::DELETE, path)).await.unwrap()
    }

    async fn write(&self, method: Method, path: &str, body: &Value) -> Reply {
        self.try_write(method, path, body).await.unwrap()
    }

    async fn try_write(&self, method: Method, path: &str, body: &Value) -> reqwest::Result<Reply> {
        send(with_json(self.request(method, path), body)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.write(Method::POST, path, body).await
    }

    async fn put(&self, path: &str, body: &Value) -> Reply {
        self.write(Method::PUT, path, body).await
    }

    async fn patch(&self, path: &str, operations: Value) -> Reply {
        self.write(Method::PATCH, path, &json!({"schemas": [schema::PATCH_OP], "Operations": operations}))
            .await
    }

    /// Creates a user and gives its id.
    async fn user(&self, name: &str) -> String {
        let reply = self.post("/Users", &user(name)).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.id()
    }

    /// Creates a group and gives its id.
    async fn group(&self, name: &str, members: &[&str]) -> String {
        let reply = self.post("/Groups", &group(name, members)).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.id()
    }

    /// Who is in a group, whatever the vendor shows to clients.
    async fn members(&self, id: &str) -> Vec<String> {
        let state = self.get("/_sandbox/state").await.json();
        let groups = state["groups"].as_array().unwrap();
        let group = groups.iter().find(|group| group["id"] == id).unwrap();
        crate::scim::resource::member_ids(group).unwrap_or_default()
    }
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    fn id(&self) -> String {
        self.json()["id"].as_str().unwrap_or_default().to_owned()
    }

    fn scim_type(&self) -> String {
        self.json()["scimType"].as_str().unwrap_or_default().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn with_json(request: reqwest::RequestBuilder, body: &Value) -> reqwest::RequestBuilder {
    request.header("content-type", schema::MEDIA_TYPE).body(body.to_string())
}

async fn send(request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Reply { status, headers, text: response.text().await? })
}

fn user(name: &str) -> Value {
    json!({"schemas": [schema::USER], "userName": name})
}

fn group(name: &str, members: &[&str]) -> Value {
    json!({"schemas": [schema::GROUP], "displayName": name, "members": values(members)})
}

fn values(ids: &[&str]) -> Vec<Value> {
    ids.iter().map(|id| json!({"value": id})).collect()
}
