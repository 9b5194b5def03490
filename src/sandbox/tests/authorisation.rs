use std::time::Duration;

use super::*;
use crate::sandbox::settings::Auth;

async fn status(vendor: &Vendor, token: &str) -> u16 {
    send(vendor.request(Method::GET, "/Users").bearer_auth(token)).await.unwrap().status
}

#[tokio::test]
async fn only_accepted_tokens_pass() {
    let auth = Auth::Bearer(vec!["one".into(), "two".into()]);
    let vendor = Vendor::with(Behaviour { auth, ..Behaviour::default() }, &[]).await;
    assert_eq!(
        [status(&vendor, "one").await, status(&vendor, "two").await, status(&vendor, "three").await],
        [200, 200, 401]
    );
    let refused = vendor.get("/Users").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer"));
}

#[tokio::test]
async fn client_credentials_give_tokens_that_can_be_revoked() {
    let auth = Auth::OAuth2 {
        client_id: "relay".to_owned(),
        client_secret: "secret".into(),
        token_life: Duration::from_hours(1),
    };
    let vendor = Vendor::with(Behaviour { auth, ..Behaviour::default() }, &[]).await;
    let ask = |secret: &'static str| {
        let request = vendor.request(Method::POST, "/oauth/token").basic_auth("relay", Some(secret));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        send(request.body("grant_type=client_credentials"))
    };
    assert_eq!(ask("wrong").await.unwrap().status, 401);
    let reply = ask("secret").await.unwrap();
    assert_eq!((reply.status, &reply.json()["expires_in"]), (200, &json!(3_600)));
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(status(&vendor, &token).await, 200);
    assert_eq!(vendor.get("/_sandbox/counts").await.json()["tokens_issued"], 1);
    assert_eq!(vendor.post("/_sandbox/tokens/revoke", &json!(null)).await.json()["revoked"], 1);
    assert_eq!(status(&vendor, &token).await, 401);
}
