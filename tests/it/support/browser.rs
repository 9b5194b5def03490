//! A real browser, driven over `WebDriver` (W3C), which is JSON over HTTP.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::relay::JsonValue as _;
use super::{eventually, http_client};

const LIMIT: Duration = Duration::from_secs(30);
/// The key under which `WebDriver` names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Nothing of it looks anything up outside, and root may run it.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
];
/// What one may press: by what a screen reader says of it.
const PRESSABLE: &str = "const words = arguments[0];
    const named = (one) => (one.getAttribute('aria-label') ?? one.textContent).trim() === words;
    return [...document.querySelectorAll('button, a, input[type=checkbox]')].find(named) ?? null;";

/// A browser with one window and a profile of its own. It ends with the test, however that ends.
pub struct Browser {
    driver: Child,
    session: String,
    pid: u32,
    folder: tempfile::TempDir,
}

impl Browser {
    pub async fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver: run ./scripts/test once");
        let port = port_of(&mut driver).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        let arguments: Vec<&str> = ARGUMENTS.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}});
        let url = format!("http://127.0.0.1:{port}/session");
        let session = call(Method::POST, &url, &wanted).await.expect("a session");
        let id = session["sessionId"].as_str().expect("a session has an id");
        let pid = session["capabilities"]["goog:processID"].as_u64().expect("Chromium tells its process");
        let pid = u32::try_from(pid).expect("a process");
        let browser = Self { driver, session: format!("{url}/{id}"), pid, folder };
        let downloads = json!({"behavior": "allow", "downloadPath": browser.downloads()});
        browser.chromium("Browser.setDownloadBehavior", &downloads).await;
        browser
    }

    /// Where files go that a page hands over.
    pub fn downloads(&self) -> &Path {
        self.folder.path()
    }

    /// The one file that was handed over, once it is whole.
    pub async fn downloaded(&self) -> (String, String) {
        eventually("a file was handed over", LIMIT, async || {
            let files = std::fs::read_dir(self.downloads()).expect("a folder").flatten();
            let file =
                files.into_iter().find(|file| file.path().extension().is_some_and(|end| end == "csv"))?;
            let text = std::fs::read_to_string(file.path()).ok().filter(|text| !text.is_empty())?;
            Some((file.file_name().to_string_lossy().into_owned(), text))
        })
        .await
    }

    pub async fn go(&self, url: &str) {
        self.post("url", &json!({ "url": url })).await.expect("a page");
    }

    /// Makes the window so many pixels wide.
    pub async fn width(&self, pixels: u32) {
        let size = json!({"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.chromium("Emulation.setDeviceMetricsOverride", &size).await;
    }

    /// What a script in the page returns.
    pub async fn script(&self, script: &str, arguments: &[Value]) -> Value {
        let body = json!({ "script": script, "args": arguments });
        self.post("execute/sync", &body).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// What a person sees of the page.
    pub async fn text(&self) -> String {
        self.script("return document.body.innerText", &[]).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until all of this is to be seen, in whatever letters the style chooses.
    pub async fn sees(&self, parts: &[&str]) {
        let mut last = String::new();
        let all = async || {
            last = self.text().await;
            parts.iter().all(|part| last.contains(part)).then_some(())
        };
        let deadline = tokio::time::timeout(LIMIT, eventually("it is seen", LIMIT * 2, all)).await;
        assert!(deadline.is_ok(), "not all of {parts:?} in:\n{last}");
    }

    /// Waits until this is not to be seen any more.
    pub async fn sees_no_more(&self, part: &str) {
        let gone = async || (!self.text().await.contains(part)).then_some(());
        eventually(&format!("{part} is gone"), LIMIT, gone).await;
    }

    /// Presses the button, link or box of this name as a mouse does. The page may have just been drawn
    /// anew, or something lie above: then once more.
    pub async fn press(&self, name: &str) {
        eventually(&format!("{name} is pressed"), LIMIT, async || {
            let found = self.script(PRESSABLE, &[json!(name)]).await;
            let element = found[ELEMENT].as_str()?;
            self.post(&format!("element/{element}/click"), &json!({})).await.ok()
        })
        .await;
    }

    /// Whether there is a button, link or box of this name.
    pub async fn offers(&self, name: &str) -> bool {
        !self.script(PRESSABLE, &[json!(name)]).await.is_null()
    }

    /// Types into the field of this label, and Enter.
    pub async fn enter(&self, label: &str, text: &str) {
        let field = "const words = arguments[0];
            const label = [...document.querySelectorAll('label')].find((one) => one.textContent.trim() === words);
            return label?.control ?? null;";
        eventually(&format!("{label} is filled in"), LIMIT, async || {
            let found = self.script(field, &[json!(label)]).await;
            let element = found[ELEMENT].as_str()?;
            self.post(&format!("element/{element}/clear"), &json!({})).await.ok()?;
            self.post(&format!("element/{element}/value"), &json!({ "text": format!("{text}\u{e007}") }))
                .await
                .ok()
        })
        .await;
    }

    /// Presses keys wherever the focus is.
    pub async fn keys(&self, keys: &str) {
        let presses = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        });
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": presses.collect::<Vec<_>>() });
        self.post("actions", &json!({ "actions": [keyboard] })).await.expect("keys");
    }

    async fn chromium(&self, command: &str, parameters: &Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.post("goog/cdp/execute", &body).await.expect("a command of Chromium's");
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        call(Method::POST, &format!("{}/{path}", self.session), body).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let kill =
            |pid: u32| std::process::Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status();
        drop(kill(self.pid));
        drop(self.driver.start_kill());
    }
}

async fn port_of(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
    loop {
        let line = lines.next_line().await.expect("readable").expect("chromedriver says where it listens");
        if let Some((_, port)) = line.trim_end_matches('.').split_once("successfully on port ") {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return port.parse().expect("a port");
        }
    }
}

/// What the driver answers, or the error's own word, such as `stale element reference`.
async fn call(method: Method, url: &str, body: &Value) -> Result<Value, String> {
    let request = http_client().request(method, url).header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await.map_err(|error| error.to_string())?;
    let failed = !answer.status().is_success();
    let value = answer.json_value().await["value"].take();
    if failed { Err(format!("{}: {}", value["error"], value["message"])) } else { Ok(value) }
}
