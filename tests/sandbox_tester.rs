//! The sandbox against an independent judge: the `scim` command's compliance tests.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use scim_relay::sandbox::settings::Auth;
use scim_relay::sandbox::{self, Behaviour, Settings};
use tokio::process::Command;

const TOKEN: &str = "a token of the tests";

/// Several hundred requests over the loopback take seconds; this only ends a run that hangs.
const RUN_MAX: Duration = Duration::from_mins(3);

#[tokio::test]
async fn an_independent_tester_finds_no_error_in_the_strict_sandbox() {
    let behaviour = Behaviour { auth: Auth::Bearer(vec![TOKEN.into()]), ..Behaviour::default() };
    let vendor = sandbox::start(Settings { behaviour, ..Settings::default() }).await.unwrap();
    let command = Command::new(tester())
        .arg("--url")
        .arg(vendor.base_url())
        .arg("-h")
        .arg(format!("Authorization: Bearer {TOKEN}"))
        .arg("test")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(RUN_MAX, command).await.expect("the tester ends").unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the tester failed:\n{report}\n{complaints}");

    let verdicts = |word: &str| report.lines().filter(|line| line.trim_start().starts_with(word)).count();
    assert!(verdicts("SUCCESS") > 100, "too few checks ran:\n{report}");
    for bad in ["ERROR", "CRITICAL"] {
        assert_eq!(verdicts(bad), 0, "a check found a deviation:\n{report}");
    }
    vendor.shutdown().await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "the virtual environment is the test runner's, not the service's"
)]
fn tester() -> PathBuf {
    let venv = env::var_os("SCIM_RELAY_TEST_VENV")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv"), PathBuf::from);
    let scim = venv.join("bin/scim");
    assert!(
        scim.is_file(),
        "{} is missing: run the tests through ./scripts/test, which makes the virtual environment, \
         or set SCIM_RELAY_TEST_VENV to one that has scim2-cli and scim2-tester",
        scim.display()
    );
    scim
}
