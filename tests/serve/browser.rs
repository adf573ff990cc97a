//! A headless Chromium, driven over its pipe by the DevTools protocol.

use crate::support::Folder;
use base64::Engine;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The names of the program, where it may be.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// How long the page may take for what a test waits for.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A page in a browser.
pub(super) struct Browser {
    process: Child,
    to: File,
    from: BufReader<File>,
    number: u64,
    session: String,
    _folder: Folder,
}

impl Browser {
    /// Starts a browser with one empty page. `None` where there is no Chromium.
    pub(super) fn start() -> Option<Browser> {
        let is_there = |name: &&&str| Command::new(name).arg("--version").output().is_ok();
        let name = NAMES.iter().find(is_there)?;
        let folder = Folder::new();
        let (to, from, profile) = (folder.path("to"), folder.path("from"), folder.path("profile"));
        assert!(Command::new("mkfifo").args([&to, &from]).status().unwrap().success());
        let flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars \
                     --no-first-run --disable-background-networking --disable-component-update --disable-sync \
                     --disable-quic --remote-debugging-pipe";
        let script =
            format!("exec {name} {flags} --user-data-dir='{profile}' about:blank 3<'{to}' 4>'{from}'");
        let process = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // In the order in which the shell opens them: each waits for its other end.
        let to = File::options().write(true).open(to).unwrap();
        let from = BufReader::new(File::open(from).unwrap());
        let mut browser = Browser { process, to, from, number: 0, session: String::new(), _folder: folder };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        browser.call("Page.enable", json!({}));
        Some(browser)
    }

    /// Calls a method, and waits for its result.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "the browser has ended");
            let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["id"] == self.number {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// Opens a page of so many points, in light or in dark.
    pub(super) fn open(&mut self, url: &str, (width, height): (u32, u32), scheme: &str) {
        self.look(width, height, scheme);
        self.call("Page.navigate", json!({"url": url}));
    }

    /// Sets the size of the window, and whether it is light or dark.
    pub(super) fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", scheme);
    }

    /// The value of an expression of the page.
    pub(super) fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.call("Runtime.evaluate", params);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until an expression has this value, and returns how long it took.
    #[track_caller]
    pub(super) fn wait_for(&mut self, expression: &str, expected: &Value) -> Duration {
        let start = Instant::now();
        loop {
            let value = self.value(expression);
            if value == *expected {
                return start.elapsed();
            }
            assert!(start.elapsed() < WAIT_MAX, "{expression} is {value}, not {expected}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes a picture of the page, the whole of it.
    pub(super) fn picture(&mut self, folder: &Path, name: &str) -> PathBuf {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", params);
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
