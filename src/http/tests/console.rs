use axum::body::Body;
use axum::extract::Request;
use tower::ServiceExt as _;

use super::client::send;
use super::fixture::{parts, served};
use crate::http::router;

#[tokio::test]
async fn the_page_needs_no_key_and_holds_nothing_that_would() {
    let served = served().await;
    let short = send(served.address, "GET", "/console", &[], b"").await;
    assert_eq!((short.status, short.header("location")), (308, Some("/console/")));
    for (path, media_type) in [
        ("/console/", "text/html; charset=utf-8"),
        ("/console/main.js", "text/javascript; charset=utf-8"),
        ("/console/views/story.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = send(served.address, "GET", path, &[], b"").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media_type)), "{path}");
        assert!(
            answer.header("content-security-policy").unwrap().starts_with("default-src 'none'"),
            "{path}"
        );
    }
    let nothing = send(served.address, "GET", "/console/nothing.js", &[], b"").await;
    assert_eq!((nothing.status, nothing.detail().as_str()), (404, "the console has no such file"));
    assert_eq!(send(served.address, "POST", "/console/", &[], b"").await.status, 405);
}

#[tokio::test]
async fn the_page_is_on_the_listener_of_administrators_alone() {
    let parts = parts().await;
    let (public, administration) = router(&parts.relay);
    for (router, expected) in [(public, 404), (administration, 200)] {
        let request = Request::get("/console/").body(Body::empty()).unwrap();
        assert_eq!(router.oneshot(request).await.unwrap().status(), expected);
    }
}
