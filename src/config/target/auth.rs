//! `auth` of a target: what every call to the vendor bears.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret as _;

use super::warn_of_plain_http;
use crate::config::problem::Problem;
use crate::config::reader::Section;
use crate::target::profile::{AuthHints, CredentialStyle};
use crate::target::{Auth, OAuth2, ServiceAccount};

/// Longest time before its end at which a token may be replaced.
const MARGIN_MAX: Duration = Duration::from_hours(1);

#[derive(Clone, Copy)]
enum Kind {
    Bearer,
    Basic,
    Header,
    OAuth2,
    ServiceAccount,
}

/// Reads `auth` of a target. `hints` are the profile's, where there is a profile: they hold for what is
/// not configured.
pub fn read(target: &mut Section<'_>, hints: Option<&AuthHints>) -> Option<Auth> {
    let remedy = "write auth = { type = \"bearer\", token = \"env:NAME\" }, or type = \"basic\", \"header\", \"oauth2\" or \"service_account\"";
    let section = target.section("auth");
    let mut section = target.require("auth", section, remedy)?;
    let kinds = [
        ("bearer", Kind::Bearer),
        ("basic", Kind::Basic),
        ("header", Kind::Header),
        ("oauth2", Kind::OAuth2),
        ("service_account", Kind::ServiceAccount),
    ];
    let kind = section.choice("type", &kinds);
    section.expires();
    let remedy = "write type = \"bearer\", \"basic\", \"header\", \"oauth2\" or \"service_account\"";
    match section.require("type", kind, remedy)? {
        Kind::Bearer => bearer(section),
        Kind::Basic => basic(section),
        Kind::Header => header(section),
        Kind::OAuth2 => oauth2(section, hints),
        Kind::ServiceAccount => service_account(section, hints),
    }
}

/// A name and a password (RFC 7617). Where the vendor wants a key in place of either, that is its matter.
fn basic(mut section: Section<'_>) -> Option<Auth> {
    let username = section.reference("username");
    let username = section.require("username", username, "write username = \"env:NAME\", or the name itself");
    let password = section.lasting_secret("password");
    let password = section.require("password", password, "write password = \"env:NAME\"");
    section.finish();
    let username = username?;
    let value = password?.map(move |password| {
        let pair = format!("{username}:{}", password.expose_secret());
        format!("Basic {}", STANDARD.encode(pair)).into()
    });
    Some(Auth::Header { name: AUTHORIZATION, value })
}

fn bearer(mut section: Section<'_>) -> Option<Auth> {
    let token = section.lasting_secret("token");
    let token = section.require("token", token, "write token = \"env:NAME\"");
    section.finish();
    Some(Auth::Bearer { token: token? })
}

fn header(mut section: Section<'_>) -> Option<Auth> {
    let name = section.header_name("name");
    let name = section.require("name", name, "write name = \"X-Api-Key\", as the vendor calls it");
    let value = section.lasting_secret("value");
    let value = section.require("value", value, "write value = \"env:NAME\"");
    section.finish();
    Some(Auth::Header { name: name?, value: value? })
}

fn oauth2(mut section: Section<'_>, hints: Option<&AuthHints>) -> Option<Auth> {
    let token_url = section.url("token_url");
    let token_url = section.require("token_url", token_url, "write the address that issues tokens");
    if let Some(url) = &token_url {
        warn_of_plain_http(&section, "token_url", url);
    }
    let client_id = section.reference("client_id");
    let client_id = section.require("client_id", client_id, "write client_id = \"env:NAME\"");
    let client_secret = section.lasting_secret("client_secret");
    let client_secret = section.require("client_secret", client_secret, "write client_secret = \"env:NAME\"");
    let scopes = section.texts("scopes").unwrap_or_default();
    let client_auth =
        section.choice("client_auth", &[("basic", CredentialStyle::Basic), ("body", CredentialStyle::Body)]);
    let refresh_margin = section.duration("refresh_margin", Duration::ZERO..=MARGIN_MAX);
    section.finish();
    let hints = hints.cloned().unwrap_or_default();
    Some(Auth::OAuth2(OAuth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scopes,
        style: client_auth.unwrap_or(hints.style),
        expiry_margin: refresh_margin.unwrap_or(hints.expiry_margin),
    }))
}

/// A key file is read once here, so that one that cannot sign is found before the first call.
fn service_account(mut section: Section<'_>, hints: Option<&AuthHints>) -> Option<Auth> {
    let key = section.lasting_secret("key");
    let key = section.require("key", key, "write key = \"file:PATH\", the account's key file");
    let configured = section.url("token_url");
    if let Some(url) = &configured {
        warn_of_plain_http(&section, "token_url", url);
    }
    let subject = section.reference("subject");
    let scopes = section.texts("scopes");
    let scopes = section.require("scopes", scopes, "write what to ask for, as the API's documents call it");
    let refresh_margin = section.duration("refresh_margin", Duration::ZERO..=MARGIN_MAX);
    let key = key?;
    let usable = ServiceAccount::check(key.at_start())
        .and_then(|()| ServiceAccount::token_url_of(key.at_start()))
        .map_err(|reason| {
            let remedy = "let it hold the JSON key file of the service account, unchanged";
            section.add(Problem::error(section.path_of("key"), format!("is no key: {reason}"), remedy));
        });
    let token_url = match (configured, usable) {
        (Some(url), Ok(_)) => Some(url),
        (None, Ok(named)) => section.require("token_url", named, "write the address that issues tokens"),
        (_, Err(())) => None,
    };
    section.finish();
    let expiry_margin = refresh_margin.unwrap_or_else(|| hints.cloned().unwrap_or_default().expiry_margin);
    Some(Auth::ServiceAccount(ServiceAccount {
        key,
        token_url: token_url?,
        subject,
        scopes: scopes?,
        expiry_margin,
    }))
}
