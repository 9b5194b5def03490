//! The console: a page in the browser for administrators, which asks the admin API and nobody else.
//!
//! The files below `page/` are part of the binary and served as they are: there is no build step, and no
//! word of them comes from elsewhere. They hold nothing that is secret, so they need no key; whoever
//! reads them types one, and every call bears it. Texts of vendors and sources reach the page as text
//! alone: [`POLICY`] forbids inline scripts and turning text into markup.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::{Problem, Relay};

/// Where the console is, on the listener of the admin API.
pub const PATH: &str = "/console/";

/// What the page may load and do: its own files, calls to its own origin, and no more.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// What each answer says beside its media type. A new version of the relay is a new page at once.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// One file of the page.
struct File {
    /// Below [`PATH`]; empty for the page itself.
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($name:literal, $media_type:expr) => {
        File { name: $name, media_type: $media_type, text: include_str!(concat!("page/", $name)) }
    };
}

const FILES: &[File] = &[
    File { name: "", media_type: HTML, text: include_str!("page/index.html") },
    file!("style.css", CSS),
    file!("icon.svg", IMAGE),
    file!("main.js", SCRIPT),
    file!("api.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("parts.js", SCRIPT),
    file!("route.js", SCRIPT),
    file!("words.js", SCRIPT),
    file!("views/sign_in.js", SCRIPT),
    file!("views/targets.js", SCRIPT),
    file!("views/target.js", SCRIPT),
    file!("views/drift.js", SCRIPT),
    file!("views/report.js", SCRIPT),
    file!("views/parked.js", SCRIPT),
    file!("views/waiting.js", SCRIPT),
    file!("views/holds.js", SCRIPT),
    file!("views/hold.js", SCRIPT),
    file!("views/people.js", SCRIPT),
    file!("views/story.js", SCRIPT),
];

/// The console's routes. Its own path without the slash at the end leads to it.
pub(super) fn routes() -> Router<Relay> {
    Router::new()
        .route(PATH.trim_end_matches('/'), get(|| async { Redirect::permanent(PATH) }))
        .route(PATH, get(|| async { answer("") }))
        .route(&format!("{PATH}{{*file}}"), get(|Path(name): Path<String>| async move { answer(&name) }))
}

fn answer(name: &str) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Problem::not_found("the console has no such file").into_response();
    };
    let mut response = file.text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
