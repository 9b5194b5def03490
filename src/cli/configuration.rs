//! `--config`, for every command that needs a configuration, and where it says that the relay is.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use url::Url;

use super::EXIT_USAGE;
use crate::config::{Config, Environment, Problem};

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigArgument {
    /// The configuration file
    #[arg(long = "config", value_name = "FILE", env = "SCIM_RELAY_CONFIG")]
    pub path: PathBuf,
}

impl ConfigArgument {
    /// Reads the configuration, without a word about it.
    pub fn load(&self) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        Config::load(&self.path, &Environment::of_process())
    }

    /// Reads the configuration, problems to standard error. Not usable: with what the command exits.
    pub fn load_or_report(&self) -> Result<Config, ExitCode> {
        let (loaded, problems) = match self.load() {
            Ok((config, warnings)) => (Ok(config), warnings),
            Err(problems) => (Err(ExitCode::from(EXIT_USAGE)), problems),
        };
        // Nobody is left to tell when standard error is closed.
        let _ = print_problems(&mut io::stderr().lock(), &problems);
        loaded
    }
}

/// One paragraph a problem.
pub fn print_problems(out: &mut impl Write, problems: &[Problem]) -> io::Result<()> {
    problems.iter().try_for_each(|problem| writeln!(out, "{problem}\n"))
}

/// Where a relay that listens there is reached from its own machine.
pub fn own_address(listen: SocketAddr) -> Result<Url, String> {
    if listen.port() == 0 {
        return Err("the configuration leaves the port open; say where the relay is with --url".to_owned());
    }
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    let address = SocketAddr::new(host, listen.port());
    Ok(Url::parse(&format!("http://{address}")).expect("a socket address makes a URL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_every_address_is_reached_on_the_machine_itself() {
        let cases = [
            ("0.0.0.0:8080", "http://127.0.0.1:8080/"),
            ("[::]:8080", "http://[::1]:8080/"),
            ("192.0.2.1:80", "http://192.0.2.1/"),
        ];
        for (listen, url) in cases {
            assert_eq!(own_address(listen.parse().unwrap()).unwrap().as_str(), url);
        }
        assert!(own_address("127.0.0.1:0".parse().unwrap()).is_err());
    }
}
