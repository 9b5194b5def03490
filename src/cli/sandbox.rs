//! `scim-relay sandbox`: a SCIM vendor in a box, alone.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use super::{fail, printed, profiles};
use crate::sandbox::settings::{Auth, RateLimit};
use crate::sandbox::{self, Behaviour, Fault, Running, Settings};
use crate::target::Profile;
use crate::telemetry::chain;

/// How long a token of the box's own token endpoint is good.
const TOKEN_LIFE: Duration = Duration::from_hours(1);

/// Arguments of `sandbox`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Whose habits it has: a built-in profile, or a profile's file
    #[arg(long, value_name = "NAME", default_value = "rfc7644", value_parser = read_profile)]
    profile: Profile,
    /// Requests a second that it takes; more is answered 429 [default: the profile's limit]
    #[arg(long, value_name = "N", value_parser = read_rate)]
    rate: Option<f64>,
    /// Requests at once on top of the rate
    #[arg(long, value_name = "N", requires = "rate", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    burst: u32,
    /// What goes wrong, such as 503:every=10, lost:0.02, edit:every=10 or outage:5s..15s; repeatable
    #[arg(long = "fault", value_name = "FAULT", value_parser = Fault::parse)]
    faults: Vec<Fault>,
    /// How long every answer takes at least, such as 50ms
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// The bearer token that it wants; none: everybody may call
    #[arg(long, value_name = "TOKEN", env = "SCIM_SANDBOX_TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
    /// Wants OAuth 2.0 tokens instead, which POST /oauth/token gives for these client credentials
    #[arg(long, value_name = "ID:SECRET", conflicts_with = "token")]
    client: Option<SecretString>,
    /// A group that is there from the start, by its displayName; repeatable
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// Makes chance repeatable
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Runs until it is told to stop.
pub fn run(arguments: Arguments) -> ExitCode {
    let settings = match settings(arguments) {
        Ok(settings) => settings,
        Err(message) => return fail(&message, super::EXIT_USAGE),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("failed to start the runtime: {error}"), 1),
    };
    runtime.block_on(async {
        let stop = match super::stop_signal() {
            Ok(stop) => stop,
            Err(error) => return fail(&format!("failed to catch signals: {error}"), 1),
        };
        let listen = settings.listen;
        let vendor = match sandbox::start(settings).await {
            Ok(vendor) => vendor,
            Err(error) => return fail(&format!("failed to listen on {listen}: {error}"), 1),
        };
        let announced = announce(&mut io::stdout().lock(), &vendor);
        stop.await;
        vendor.shutdown().await;
        printed(announced, ExitCode::SUCCESS)
    })
}

fn settings(arguments: Arguments) -> Result<Settings, String> {
    let mut behaviour = Behaviour::from(&arguments.profile);
    if let Some(rate) = arguments.rate {
        let limit = RateLimit::new(rate, arguments.burst);
        let vendor_headers = arguments.profile.limits.headers.is_some();
        behaviour.rate = Some(RateLimit { vendor_headers, ..limit });
    }
    behaviour.auth = auth(arguments.token, arguments.client)?;
    Ok(Settings {
        listen: arguments.listen,
        behaviour,
        faults: arguments.faults,
        latency: arguments.latency,
        seed: arguments.seed,
        groups: arguments.groups,
        ..Settings::default()
    })
}

fn auth(token: Option<SecretString>, client: Option<SecretString>) -> Result<Auth, String> {
    use secrecy::ExposeSecret;

    match (token, client) {
        (Some(token), _) => Ok(Auth::Bearer(vec![token])),
        (None, None) => Ok(Auth::Open),
        (None, Some(client)) => {
            let parts = client.expose_secret().split_once(':');
            let (id, secret) = parts.ok_or("--client has no colon; write it as ID:SECRET")?;
            let client_secret = SecretString::from(secret);
            Ok(Auth::OAuth2 { client_id: id.to_owned(), client_secret, token_life: TOKEN_LIFE })
        }
    }
}

fn announce(out: &mut impl Write, vendor: &Running) -> io::Result<()> {
    writeln!(out, "listening on http://{}", vendor.addr())?;
    writeln!(out, "SCIM base URL {}", vendor.base_url())?;
    out.flush()
}

fn read_profile(text: &str) -> Result<Profile, String> {
    let content = profiles::text_of(text)?;
    Profile::parse(&content).map_err(|error| format!("failed to {}", chain(&error)))
}

fn read_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err("not over zero".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parsed(line: &str) -> Result<Settings, String> {
        let line = Line::try_parse_from(["sandbox"].into_iter().chain(line.split_whitespace()));
        settings(line.map_err(|error| error.to_string())?.arguments)
    }

    #[test]
    fn flags_override_the_profile() {
        let settings =
            parsed("--profile genesys-cloud --rate 2.5 --burst 4 --latency 50ms --fault 503:every=10")
                .unwrap();
        let rate = settings.behaviour.rate.unwrap();
        assert_eq!((rate.per_second, rate.burst, rate.vendor_headers), (2.5, 4, true));
        assert_eq!((settings.latency, settings.faults.len()), (Duration::from_millis(50), 1));
        assert_eq!(settings.behaviour.users_path, "users");
        assert!(parsed("").unwrap().behaviour.rate.is_none());
    }

    #[test]
    fn who_may_call_follows_the_flags() {
        assert!(matches!(parsed("").unwrap().behaviour.auth, Auth::Open));
        assert!(matches!(parsed("--token t").unwrap().behaviour.auth, Auth::Bearer(_)));
        let Auth::OAuth2 { client_id, .. } = parsed("--client me:secret:more").unwrap().behaviour.auth else {
            panic!("wrong kind of auth")
        };
        assert_eq!(client_id, "me");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, reason) in [
            ("--rate 0", "not over zero"),
            ("--rate nan", "not over zero"),
            ("--rate 1 --burst 0", "0 is not in"),
            ("--profile none", "genesys-cloud, "),
            ("--fault tea", "\"tea\""),
            ("--latency soon", "expected number"),
            ("--client x", "ID:SECRET"),
            ("--client a:b --token t", "cannot be used with"),
        ] {
            let said = parsed(line).unwrap_err();
            assert!(said.contains(reason), "{line}: {said}");
        }
    }
}
