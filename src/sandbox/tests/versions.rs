use super::*;
use crate::sandbox::settings::{ETagForm, IfMatch, Stale, Versions};

async fn with_versions(etag: Versions) -> (Vendor, String) {
    let vendor = Vendor::with(Behaviour { etag, ..Behaviour::default() }, &[]).await;
    let path = format!("/Users/{}", vendor.user("jane").await);
    (vendor, path)
}

/// Statuses of PUT, PATCH and DELETE, in this order, each under `if_match`.
async fn writes(vendor: &Vendor, path: &str, if_match: &str) -> [u16; 3] {
    let nothing_new = json!({"schemas": [schema::PATCH_OP], "Operations": [{"op": "add", "path": "userName", "value": "jane"}]});
    let mut statuses = [0; 3];
    for (index, (method, body)) in
        [(Method::PUT, user("jane")), (Method::PATCH, nothing_new), (Method::DELETE, Value::Null)]
            .into_iter()
            .enumerate()
    {
        let request = with_json(vendor.request(method, path), &body).header("if-match", if_match);
        statuses[index] = send(request).await.unwrap().status;
    }
    statuses
}

#[tokio::test]
async fn a_stale_write_is_refused_in_the_vendors_dialect() {
    for (stale, status, kind) in [
        (Stale::PreconditionFailed, 412, ""),
        (Stale::Conflict, 409, ""),
        (Stale::InvalidVers, 400, "invalidVers"),
    ] {
        let (vendor, path) = with_versions(Versions { stale, ..Versions::default() }).await;
        assert_eq!(writes(&vendor, &path, "W/\"0\"").await, [status; 3], "{stale:?}");
        let request = vendor.request(Method::DELETE, &path).header("if-match", "\"0\"");
        assert_eq!(send(request).await.unwrap().scim_type(), kind);
        assert_eq!(writes(&vendor, &path, "W/\"1\"").await, [200, 200, 204], "{stale:?}");
    }
}

#[tokio::test]
async fn if_match_may_be_ignored_or_required() {
    let (vendor, path) = with_versions(Versions { if_match: IfMatch::Ignored, ..Versions::default() }).await;
    assert_eq!(writes(&vendor, &path, "\"0\"").await, [200, 200, 204]);
    assert_eq!(vendor.get("/ServiceProviderConfig").await.json()["etag"]["supported"], false);
    let (vendor, path) = with_versions(Versions { if_match: IfMatch::Required, ..Versions::default() }).await;
    assert_eq!(vendor.delete(&path).await.status, 428);
    assert_eq!(writes(&vendor, &path, "*").await, [200, 200, 204]);
}

#[tokio::test]
async fn a_tag_is_strong_or_weak_and_in_the_header_the_body_or_neither() {
    for (form, tag) in [(ETagForm::Strong, "\"1\""), (ETagForm::Weak, "W/\"1\"")] {
        for (header, meta_version) in [(true, true), (true, false), (false, true), (false, false)] {
            let etag = Versions { form, header, meta_version, ..Versions::default() };
            let (vendor, path) = with_versions(etag).await;
            let reply = vendor.get(&path).await;
            assert_eq!(reply.header("etag"), if header { tag } else { "" });
            let expected = if meta_version { json!(tag) } else { Value::Null };
            assert_eq!(reply.json()["meta"]["version"], expected);
            assert_eq!(vendor.get("/Users").await.json()["Resources"][0]["meta"]["version"], expected);
        }
    }
}

#[tokio::test]
async fn a_read_of_what_is_known_is_a_304() {
    for (if_none_match, status) in [(true, 304), (false, 200)] {
        let (vendor, path) = with_versions(Versions { if_none_match, ..Versions::default() }).await;
        let known = vendor.request(Method::GET, &path).header("if-none-match", "W/\"1\"");
        let reply = send(known).await.unwrap();
        assert_eq!((reply.status, reply.text.is_empty()), (status, if_none_match));
        let other = vendor.request(Method::GET, &path).header("if-none-match", "W/\"2\"");
        assert_eq!(send(other).await.unwrap().status, 200);
    }
}
