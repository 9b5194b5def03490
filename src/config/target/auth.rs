//! `auth` of a target: what every call to the vendor bears.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::warn_of_plain_http;
use crate::config::reader::Section;

/// How long before its end a token is replaced, where nothing is configured.
const REFRESH_MARGIN: Duration = Duration::from_mins(1);

/// Credentials of a vendor's API.
#[derive(Clone, Debug)]
pub enum Auth {
    /// One token, sent as it is.
    Bearer {
        /// The token.
        token: SecretString,
    },
    /// OAuth 2.0 client credentials (RFC 6749, section 4.4).
    OAuth2 {
        /// Where tokens are issued.
        token_url: Url,
        /// The client's id.
        client_id: String,
        /// The client's secret.
        client_secret: SecretString,
        /// What the token is to allow; empty: whatever the client may do.
        scopes: Vec<String>,
        /// Where the id and the secret are put.
        client_auth: ClientAuth,
        /// How long before its end a token is replaced.
        refresh_margin: Duration,
    },
}

/// Where a client puts its credentials (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// The `Authorization` header.
    Basic,
    /// The form.
    Body,
}

#[derive(Clone, Copy)]
enum Kind {
    Bearer,
    OAuth2,
}

/// Reads `auth` of a target.
pub fn read(target: &mut Section<'_>) -> Option<Auth> {
    let remedy = "write auth = { type = \"bearer\", token = \"env:NAME\" } or type = \"oauth2\"";
    let section = target.section("auth");
    let mut section = target.require("auth", section, remedy)?;
    let kind = section.choice("type", &[("bearer", Kind::Bearer), ("oauth2", Kind::OAuth2)]);
    match section.require("type", kind, "write type = \"bearer\" or type = \"oauth2\"")? {
        Kind::Bearer => bearer(section),
        Kind::OAuth2 => oauth2(section),
    }
}

fn bearer(mut section: Section<'_>) -> Option<Auth> {
    let token = section.secret("token");
    let token = section.require("token", token, "write token = \"env:NAME\"");
    section.finish();
    Some(Auth::Bearer { token: token? })
}

fn oauth2(mut section: Section<'_>) -> Option<Auth> {
    let token_url = section.url("token_url");
    let token_url = section.require("token_url", token_url, "write the address that issues tokens");
    if let Some(url) = &token_url {
        warn_of_plain_http(&section, "token_url", url);
    }
    let client_id = section.reference("client_id");
    let client_id = section.require("client_id", client_id, "write client_id = \"env:NAME\"");
    let client_secret = section.secret("client_secret");
    let client_secret = section.require("client_secret", client_secret, "write client_secret = \"env:NAME\"");
    let scopes = section.texts("scopes").unwrap_or_default();
    let client_auth =
        section.choice("client_auth", &[("basic", ClientAuth::Basic), ("body", ClientAuth::Body)]);
    let refresh_margin = section.duration("refresh_margin", Duration::ZERO..=Duration::from_hours(1));
    section.finish();
    Some(Auth::OAuth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scopes,
        client_auth: client_auth.unwrap_or(ClientAuth::Basic),
        refresh_margin: refresh_margin.unwrap_or(REFRESH_MARGIN),
    })
}
