//! A browser without a window, driven through its DevTools protocol on two pipes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A busy machine needs this long.
const PATIENCE: Duration = Duration::from_secs(90);
/// What the browser is called on different machines.
const NAMES: [&str; 4] = ["chromium", "google-chrome", "google-chrome-stable", "chromium-browser"];

pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    number: u64,
    session: Option<String>,
    /// What it reported besides answers.
    pub(crate) events: Vec<Value>,
    _profile: tempfile::TempDir,
}

/// The browser of this machine, or a line that reports that the test was skipped. In CI there has to be one.
pub(crate) fn browser(test: &str) -> Option<Browser> {
    let Some(program) = NAMES.iter().find_map(|name| which::which(name).ok()) else {
        assert!(std::env::var_os("CI").is_none(), "{test} needs chromium, which scripts/test.sh installs");
        // libtest would keep what `eprintln!` prints to itself.
        let _ = writeln!(std::io::stderr().lock(), "SKIPPED: {test}: needs chromium");
        return None;
    };
    Some(Browser::start(&program))
}

impl Browser {
    fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // It reads commands from descriptor 3 and answers on 4.
        let script = "exec \"$0\" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
            --disable-background-networking --disable-component-update --user-data-dir=\"$1\" --remote-debugging-pipe about:blank \
            3<&0 4>&1 </dev/null >/dev/null 2>&1";
        #[expect(
            clippy::disallowed_methods,
            reason = "the testkit has no pipes in both directions while a program runs"
        )]
        let mut child = Command::new("sh")
            .args(["-c", script])
            .args([program, profile.path()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, messages) = channel();
        std::thread::spawn(move || {
            for message in output.split(0) {
                let Ok(message) = message else { return };
                if send.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser =
            Self { child, input, messages, number: 0, session: None, events: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        browser.session = browser.call("Target.attachToTarget", &target)["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// The answer to a command.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.input.write_all(&bytes).unwrap();
        loop {
            let answer = self.messages.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{method}: {error}"));
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method} {params}: {answer}");
                return answer["result"].clone();
            }
            if answer["method"].is_string() {
                self.events.push(answer);
            }
        }
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", &json!({"expression": expression, "returnByValue": true}));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression in the page is true.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, expression: &str) {
        let start = Instant::now();
        while self.value(expression) != true {
            assert!(start.elapsed() < PATIENCE, "never true: {expression}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Opens a file in a window of this size, and forgets what was reported before.
    #[track_caller]
    pub(crate) fn open(&mut self, file: &Path, width: u32, dark: bool) {
        let phone = width < 600;
        self.call(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": phone}),
        );
        let scheme = json!([{"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": scheme}));
        self.events.clear();
        self.call("Page.navigate", &json!({"url": format!("file://{}", file.display())}));
        self.wait_until("document.readyState === 'complete' && location.protocol === 'file:'");
    }

    /// Moves the mouse with its button down from a place to another one, as parts of an element's width and height.
    #[track_caller]
    pub(crate) fn drag(&mut self, element: &str, from: (f64, f64), to: (f64, f64)) {
        let place = |(x, y)| {
            format!(
                "(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect(); \
            return [b.left + b.width * {x}, b.top + b.height * {y}]; }})()"
            )
        };
        let [from, to] = [from, to].map(|at| self.value(&place(at)));
        for (kind, at) in [("mousePressed", &from), ("mouseMoved", &to), ("mouseReleased", &to)] {
            let event = json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "buttons": 1, "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Clicks in the middle of an element.
    #[track_caller]
    pub(crate) fn click(&mut self, element: &str) {
        self.drag(element, (0.5, 0.5), (0.5, 0.5));
    }

    /// Whatever the page complained about, or asked the network for.
    pub(crate) fn complaints(&self) -> Vec<&Value> {
        let is_complaint = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded") => true,
            Some("Network.requestWillBeSent") => event["params"]["type"] != "Document",
            _ => false,
        };
        self.events.iter().filter(is_complaint).collect()
    }

    /// Keeps a picture of the whole page, where `NETOBSERV_SCREENSHOTS` names a folder for them.
    pub(crate) fn screenshot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("NETOBSERV_SCREENSHOTS") else { return };
        let picture = self.call("Page.captureScreenshot", &json!({"captureBeyondViewport": true}));
        std::fs::write(Path::new(&folder).join(format!("{name}.png.base64")), picture["data"].as_str().unwrap())
            .unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // With all of its processes.
        let group = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
