use std::sync::atomic::Ordering;

use super::client::send;
use super::faulty::Mood;
use super::fixture::{VIEWER, deletion, parts, served};
use crate::http::router;
use crate::store::Store;

#[tokio::test]
async fn the_relay_lives_whatever_the_store_does_and_is_ready_only_while_it_writes() {
    let served = served().await;
    for (mood, ready, reason) in [
        (Mood::Well, 200, ""),
        (Mood::Down, 503, "the store cannot be written or read"),
        (Mood::Busy, 503, "the store is over its queue limit"),
        (Mood::Silent, 503, "the store did not answer within 1 s"),
        (Mood::Well, 200, ""),
    ] {
        served.set_mood(mood);
        assert_eq!(send(served.address, "GET", "/healthz", &[], b"").await.status, 200, "{mood:?}");
        let answer = send(served.address, "GET", "/readyz", &[], b"").await;
        assert_eq!(answer.status, ready, "{mood:?}");
        assert!(ready == 200 || answer.detail() == reason, "{answer:?}");
    }
}

#[tokio::test]
async fn metrics_show_the_backlog_as_it_is() {
    let served = served().await;
    served.hook("evt-1", &deletion("u-1")).await;
    let metrics = async || send(served.address, "GET", "/metrics", &[], b"").await.body;
    let text = metrics().await;
    assert!(text.contains("scim_relay_events_total{source=\"hr\",outcome=\"accepted\"} 1"), "{text}");
    assert!(text.contains("scim_relay_unprojected 1"), "{text}");
    assert!(text.contains("scim_relay_target_state{target=\"genesys\",state=\"running\"} 1"), "{text}");
    assert!(text.contains("scim_relay_target_state{target=\"genesys\",state=\"paused\"} 0"), "{text}");
    served.parts.store.project(&*served.parts.relay.sources, 10).await.unwrap();
    let text = metrics().await;
    assert!(text.contains("scim_relay_unprojected 0"), "{text}");
    assert!(text.contains("scim_relay_pending{target=\"genesys\",lane=\"deprovision\"} 1"), "{text}");
    assert!(text.contains("scim_relay_oldest_pending_seconds{target=\"genesys\"} 0"), "{text}");
    assert!(text.contains("scim_relay_parked{target=\"genesys\"} 0"), "{text}");
    served.set_mood(Mood::Down);
    assert!(metrics().await.contains("scim_relay_events_total"));
}

#[tokio::test]
async fn with_two_listeners_each_serves_its_own() {
    let parts = parts().await;
    let (public, admin) = router(&parts.relay);
    let status = async |router: &axum::Router, path: &str| {
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        tower::ServiceExt::oneshot(router.clone(), request).await.unwrap().status().as_u16()
    };
    for (path, on_public, on_admin) in
        [("/healthz", 200, 404), ("/metrics", 404, 200), ("/admin/v1/status", 404, 401)]
    {
        assert_eq!(
            (status(&public, path).await, status(&admin, path).await),
            (on_public, on_admin),
            "{path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_administrator_is_not_kept_waiting_for_ever() {
    let parts = parts().await;
    *parts.store.mood.lock().unwrap() = Mood::Silent;
    let request =
        axum::http::Request::get("/admin/v1/status").header("authorization", format!("Bearer {VIEWER}"));
    let request = request.body(axum::body::Body::empty()).unwrap();
    let started = tokio::time::Instant::now();
    let answer = tower::ServiceExt::oneshot(router(&parts.relay).1, request).await.unwrap();
    assert_eq!((answer.status().as_u16(), started.elapsed().as_secs()), (503, 30));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn a_handler_that_panics_answers_with_a_problem_and_the_server_goes_on() {
    let served = served().await;
    served.parts.target.broken.store(true, Ordering::SeqCst);
    let answer = send(served.address, "GET", "/metrics", &[], b"").await;
    assert_eq!((answer.status, answer.detail().as_str()), (500, ""));
    assert!(!answer.body.contains("broken"), "{answer:?}");
    served.parts.target.broken.store(false, Ordering::SeqCst);
    assert_eq!(send(served.address, "GET", "/metrics", &[], b"").await.status, 200);
}
