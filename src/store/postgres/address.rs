//! Where the database is: `postgres://user:password@host:port/database?parameter=value`.

use std::fmt;
use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// The names of the scheme.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
const PORT: u16 = 5432;

/// A PostgreSQL database, who the relay is there, and how far the way to it is trusted. It prints
/// without the password.
///
/// The parameters are those of libpq as far as the driver knows them. Of `sslmode`, `disable` is plain,
/// `prefer` (the default) is plain where the server offers no TLS, and `require` and `verify-full` are
/// both TLS or nothing. TLS is never used unverified: the certificate must lead to the platform's roots,
/// or to those in the PEM file `sslrootcert`, and bear the host's name.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    config: Config,
    root_certificates: Option<PathBuf>,
}

impl Address {
    /// Parses a URL. The error repeats nothing of its secret parts.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        if !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
            return Err(AddressError::Scheme);
        }
        let (place, parameters) = url.split_once('?').unwrap_or((url, ""));
        let (own, others): (Vec<&str>, Vec<&str>) = parameters
            .split('&')
            .filter(|pair| !pair.is_empty())
            .partition(|pair| matches!(pair.split_once('='), Some(("sslmode" | "sslrootcert", _))));
        let driven = format!("{place}?{}", others.join("&"));
        let mut config: Config = driven.parse().map_err(AddressError::of_driver)?;
        let mut root_certificates = None;
        for pair in own {
            match pair.split_once('=') {
                Some(("sslmode", mode)) => config.ssl_mode(ssl_mode(mode)?),
                Some((_, path)) => {
                    root_certificates = Some(decoded_path(path)?);
                    &mut config
                }
                None => &mut config,
            };
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(AddressError::Host);
        }
        if config.get_target_session_attrs() == TargetSessionAttrs::ReadOnly {
            return Err(AddressError::ReadOnly);
        }
        // One host that is a standby is refused with its own words; of several the right one is taken.
        if config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self { config, root_certificates })
    }

    /// Whether the URL holds a password.
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// What the driver needs.
    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// The PEM file of the roots to trust in place of the platform's.
    pub(super) fn root_certificates(&self) -> Option<&Path> {
        self.root_certificates.as_deref()
    }
}

impl fmt::Display for Address {
    /// User, hosts, ports and database, as a URL would hold them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let addresses = self.config.get_hostaddrs().iter().map(|address| Host::Tcp(address.to_string()));
        let named = self.config.get_hosts().iter().cloned();
        let hosts: Vec<Host> =
            if self.config.get_hosts().is_empty() { addresses.collect() } else { named.collect() };
        let ports = self.config.get_ports();
        for (index, host) in hosts.iter().enumerate() {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(PORT);
            let comma = if index == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) if name.contains(':') => write!(f, "{comma}[{name}]:{port}")?,
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                Host::Unix(folder) => write!(f, "{comma}{}:{port}", folder.display())?,
            }
        }
        match self.config.get_dbname().or(self.config.get_user()) {
            Some(database) => write!(f, "/{database}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Why a text is no address of a database. To follow the name of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme, or none.
    #[error("does not begin with postgres:// or postgresql://")]
    Scheme,
    /// Nothing between scheme and database, and no `host`.
    #[error("names no host")]
    Host,
    /// libpq's weaker modes check less of the certificate than is safe.
    #[error("has an sslmode other than disable, prefer, require and verify-full")]
    SslMode,
    /// The relay writes.
    #[error("asks for a server that cannot be written")]
    ReadOnly,
    /// Percent-encoding that is no text.
    #[error("holds percent-encoding that is not UTF-8")]
    Encoding,
    /// What the driver did not like; it names parameters, not their values.
    #[error("is not understood: {0}")]
    Driver(String),
}

impl AddressError {
    fn of_driver(error: tokio_postgres::Error) -> Self {
        let said = error.to_string();
        Self::Driver(error.into_source().map_or(said, |cause| cause.to_string()))
    }
}

fn ssl_mode(word: &str) -> Result<SslMode, AddressError> {
    match word {
        "disable" => Ok(SslMode::Disable),
        "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-full" => Ok(SslMode::Require),
        _ => Err(AddressError::SslMode),
    }
}

fn decoded_path(text: &str) -> Result<PathBuf, AddressError> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    Ok(PathBuf::from(decoded.map_err(|_| AddressError::Encoding)?.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_everything_but_the_password() {
        let cases = [
            ("postgres://relay:s3cret@db.example/scim", "postgres://relay@db.example:5432/scim"),
            ("postgresql://relay@db:6000/scim?password=s3cret", "postgres://relay@db:6000/scim"),
            ("postgres://relay:s3cret@[::1]:7/scim", "postgres://relay@[::1]:7/scim"),
            ("postgres://relay@a:1,b:2/scim", "postgres://relay@a:1,b:2/scim"),
            ("postgres:///scim?host=/run/pg&user=relay", "postgres://relay@/run/pg:5432/scim"),
            ("postgres://relay@%2Frun%2Fpg/scim", "postgres://relay@/run/pg:5432/scim"),
            ("postgres://relay:p%40s3cret@db", "postgres://relay@db:5432/relay"),
            ("postgres://relay@/scim?hostaddr=10.0.0.1", "postgres://relay@10.0.0.1:5432/scim"),
        ];
        for (url, shown) in cases {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.has_password(), url.contains("s3cret"), "{url}");
            assert!(!format!("{address:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        let cases = [
            ("mysql://s3cret@h/db", AddressError::Scheme),
            ("host=h password=s3cret", AddressError::Scheme),
            ("postgres://", AddressError::Host),
            ("postgres:///db?user=s3cret", AddressError::Host),
            ("postgres://h/db?sslmode=allow", AddressError::SslMode),
            ("postgres://h/db?sslmode=verify-ca", AddressError::SslMode),
            ("postgres://h/db?sslmode=s3cret", AddressError::SslMode),
            ("postgres://h/db?target_session_attrs=read-only", AddressError::ReadOnly),
            ("postgres://h/db?sslrootcert=%FF", AddressError::Encoding),
        ];
        for (url, fault) in cases {
            assert_eq!(Address::parse(url), Err(fault), "{url}");
        }
        for url in
            ["postgres://u:s3cret@h:port/db", "postgres://h/db?port=s3cret", "postgres://h/db?shout=s3cret"]
        {
            let fault = Address::parse(url).unwrap_err().to_string();
            assert!(fault.contains("port") || fault.contains("shout"), "{fault}");
            assert!(!fault.contains("s3cret"), "{fault}");
        }
    }

    #[test]
    fn tls_modes_are_never_weaker_than_they_say() {
        let mode = |parameters: &str| {
            let address = Address::parse(&format!("postgres://u@h/db{parameters}")).unwrap();
            address.config().get_ssl_mode()
        };
        assert_eq!(mode(""), SslMode::Prefer);
        assert_eq!(mode("?sslmode=disable"), SslMode::Disable);
        assert_eq!(mode("?sslmode=prefer"), SslMode::Prefer);
        assert_eq!(mode("?application_name=x&sslmode=require"), SslMode::Require);
        assert_eq!(mode("?sslmode=verify-full&connect_timeout=3"), SslMode::Require);
        let address = Address::parse("postgres://u@h/db?sslrootcert=%2Fetc%2Fca.pem").unwrap();
        assert_eq!(address.root_certificates(), Some(Path::new("/etc/ca.pem")));
    }

    #[test]
    fn of_several_hosts_the_one_that_can_be_written_is_taken() {
        let attributes = |url| Address::parse(url).unwrap().config().get_target_session_attrs();
        assert_eq!(attributes("postgres://u@a/db"), TargetSessionAttrs::Any);
        assert_eq!(attributes("postgres://u@a,b/db"), TargetSessionAttrs::ReadWrite);
    }
}
