//! TLS to the database, by the same rules as to vendors: never without checking who answers.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::postgres::OpenError;
use crate::store::postgres::address::Address;

/// What makes a connection's TLS. It trusts the platform's roots, or those in the address's file.
pub(super) fn connector(address: &Address) -> Result<MakeRustlsConnect, OpenError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(
            |source| OpenError::Roots { place: "the TLS versions".to_owned(), source: Box::new(source) },
        )?;
    let plain = address.config().get_ssl_mode() == SslMode::Disable;
    let config = match address.root_certificates() {
        Some(file) => builder.with_root_certificates(roots(file)?).with_no_client_auth(),
        // Nothing asks for it, and a machine without roots can do without.
        None if plain => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
        None => {
            let verified = builder.with_platform_verifier().map_err(|source| OpenError::Roots {
                place: "the platform's root certificates".to_owned(),
                source: Box::new(source),
            })?;
            verified.with_no_client_auth()
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots(file: &Path) -> Result<RootCertStore, OpenError> {
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Roots {
        place: file.display().to_string(),
        source,
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| refused(Box::new(error)))? {
        let certificate = certificate.map_err(|error| refused(Box::new(error)))?;
        store.add(certificate).map_err(|error| refused(Box::new(error)))?;
    }
    if store.is_empty() { Err(refused("it holds no certificate".into())) } else { Ok(store) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(content: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let url = format!("postgres://u@h/db?sslrootcert={}", file.path().display());
        let error = connector(&Address::parse(&url).unwrap()).err().unwrap();
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
        std::error::Error::source(&error).unwrap().to_string()
    }

    #[test]
    fn a_file_of_roots_that_holds_none_is_refused() {
        assert!(refusal("").contains("no certificate"));
        refusal("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let absent = Address::parse("postgres://u@h/db?sslrootcert=/nowhere/ca.pem").unwrap();
        assert!(connector(&absent).err().unwrap().to_string().contains("/nowhere/ca.pem"));
    }

    #[test]
    fn without_tls_no_roots_are_needed() {
        connector(&Address::parse("postgres://u@h/db?sslmode=disable").unwrap()).unwrap();
    }
}
