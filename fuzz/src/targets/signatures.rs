//! Who sent a webhook: headers, query and body of every scheme, by whoever does not know the secret.

use std::sync::LazyLock;

use http::HeaderName;
use http::header::AUTHORIZATION;
use scim_relay::source::signature::Scheme;
use scim_relay::source::signature::shared::Place;
use scim_relay::source::signature::standard_webhooks::HeaderNames;
use scim_relay::source::{Delivery, Kind, Registered};

use super::sources::{fixtures, number_of};
use crate::configured::{ALL, NOW};
use crate::input::Input;

/// Each source with the headers that its scheme reads.
static SIGNED: LazyLock<Vec<(&'static Registered, Vec<HeaderName>)>> = LazyLock::new(|| {
    ALL.iter().map(|registered| (*registered, headers_of(&registered.settings.kind))).collect()
});

/// A source by number, a line for the query, a line for each of its headers, and a body.
pub fn verify(input: &[u8]) {
    let mut input = Input::of(input);
    let (registered, names) = input.pick(&SIGNED);
    let query = input.text_line();
    let headers = input.values_of(names);
    let delivery = Delivery { headers: &headers, query, body: input.rest() };
    let proof = registered.source.verify(&delivery, NOW);
    assert!(proof.is_err(), "{} believes somebody without its secret", registered.settings.name);
}

/// Well-formed headers of each form, and the fixtures' bodies, for none of which a secret is known.
pub fn seeds() -> Vec<Vec<u8>> {
    const HEX: &str = "7fe0d8d2bd3f5a1c7fe0d8d2bd3f5a1c7fe0d8d2bd3f5a1c7fe0d8d2bd3f5a1c";
    const BASE64: &str = "K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=";
    let mut seeds = Vec::new();
    for (registered, names) in SIGNED.iter() {
        let name = &registered.settings.name;
        let body = fixtures_of(registered).unwrap_or_else(|| b"{}".to_vec());
        for value in [
            HEX.to_owned(),
            BASE64.to_owned(),
            format!("v1,{BASE64} v1a,{BASE64}"),
            format!("t=1786000000,v1={HEX},s={HEX}"),
            format!("sha1={HEX}"),
            format!("Bearer {BASE64}"),
            "1786000000".to_owned(),
        ] {
            let lines = format!("key={BASE64}\n{}", format!("{value}\n").repeat(names.len()));
            seeds.push([&[number_of(name)], lines.as_bytes(), &body].concat());
        }
    }
    seeds
}

fn fixtures_of(registered: &Registered) -> Option<Vec<u8>> {
    match registered.settings.kind {
        Kind::Preset(preset, _) => fixtures(preset.name).pop().map(|(_, body)| body),
        Kind::Native | Kind::Mapped(_) | Kind::ScimEvents(_) | Kind::Fed | Kind::File(_) => None,
    }
}

fn headers_of(kind: &Kind) -> Vec<HeaderName> {
    match kind {
        Kind::Preset(preset, options) => headers_of_scheme(&(preset.scheme)(options)),
        Kind::Mapped(mapping) => headers_of_scheme(&mapping.scheme),
        Kind::Native => headers_of_scheme(&Scheme::StandardWebhooks(HeaderNames::STANDARD)),
        Kind::ScimEvents(_) => vec![AUTHORIZATION],
        Kind::Fed | Kind::File(_) => Vec::new(),
    }
}

fn headers_of_scheme(scheme: &Scheme) -> Vec<HeaderName> {
    match scheme {
        Scheme::StandardWebhooks(names) => names.all().map(HeaderName::from_static).to_vec(),
        Scheme::Keyed(keyed) => {
            let time = keyed.time.iter().filter_map(|time| time.header.clone());
            let extra = HeaderName::from_static("x-extra");
            keyed.headers.iter().cloned().chain(time).chain(keyed.id_header.clone()).chain([extra]).collect()
        }
        Scheme::Shared(Place::Header { name, .. }) => vec![name.clone()],
        Scheme::Shared(Place::Query(_) | Place::EachItem { .. }) => Vec::new(),
    }
}
