//! The targets, one line each; what they share is how an input is taken apart.

mod connectors;
mod expressions;
mod feeds;
mod grants;
mod json;
mod listings;
mod requests;
mod scim;
mod settings;
mod signatures;
mod sources;
mod subscriptions;
mod tokens;
mod vendor;

/// Something that reads what comes from outside.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Reads one input.
    pub run: fn(&[u8]),
    /// The inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "sources", run: sources::read, seeds: sources::seeds },
    Target { name: "handshakes", run: sources::handshake, seeds: sources::handshake_seeds },
    Target { name: "signatures", run: signatures::verify, seeds: signatures::seeds },
    Target { name: "tokens", run: tokens::verify, seeds: tokens::seeds },
    Target { name: "json", run: json::parse, seeds: json::seeds },
    Target { name: "files", run: feeds::file, seeds: feeds::file_seeds },
    Target { name: "pages", run: feeds::page, seeds: feeds::page_seeds },
    Target { name: "connectors", run: connectors::answer, seeds: connectors::seeds },
    Target { name: "subscriptions", run: subscriptions::answer, seeds: subscriptions::seeds },
    Target { name: "grants", run: grants::answer, seeds: grants::answer_seeds },
    Target { name: "key_files", run: grants::key_file, seeds: grants::key_file_seeds },
    Target { name: "filters", run: scim::filter, seeds: scim::filter_seeds },
    Target { name: "paths", run: scim::path, seeds: scim::path_seeds },
    Target { name: "patches", run: scim::patch, seeds: scim::patch_seeds },
    Target { name: "bulk", run: scim::bulk, seeds: scim::bulk_seeds },
    Target { name: "messages", run: scim::message, seeds: scim::message_seeds },
    Target { name: "answers", run: vendor::answer, seeds: vendor::answer_seeds },
    Target { name: "limits", run: vendor::limit, seeds: vendor::limit_seeds },
    Target { name: "discovery", run: vendor::discovery, seeds: vendor::discovery_seeds },
    Target { name: "listings", run: listings::read, seeds: listings::seeds },
    Target { name: "requests", run: requests::answer, seeds: requests::seeds },
    Target { name: "profiles", run: settings::profile, seeds: settings::profile_seeds },
    Target { name: "configurations", run: settings::configuration, seeds: settings::configuration_seeds },
    Target { name: "expressions", run: expressions::compile, seeds: expressions::seeds },
];

/// Seeds that are texts.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
