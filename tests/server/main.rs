//! End-to-end tests of `lemmy serve`: the built binary, asked over loopback.

#![cfg(all(feature = "serve", feature = "nano"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod access;
mod anthropic;
mod chat;
mod client;
mod completion;
mod fields;
mod life;
mod limits;
mod load;
mod native;
mod ollama;
mod responses;
mod stream;
mod tools;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use client::{Answer, Client};
use serde_json::{Value, json};

/// Far more than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of its own, ended when dropped.
struct Server {
    child: Child,
    client: Client,
}

impl Server {
    /// Lemmy Nano with these flags, ready to answer.
    fn start(flags: &[&str]) -> Self {
        let server = Self::begin(flags);
        server.wait_until_ready();
        server
    }

    /// As [`start`](Self::start), as soon as it listens.
    fn begin(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lemmy"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LEMMY_") {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--port", "0"]).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| Some(line.strip_prefix("listening on http://")?.split(' ').next()?.to_owned()));
        // Whoever writes to a pipe that nobody reads stands still.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, client: Client::new(&address.expect("the server says where it listens")) }
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        while self.client.get("/health").status != 200 {
            assert!(began.elapsed() < PATIENCE, "not ready");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A signal by its name.
    fn signal(&self, name: &str) {
        Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
    }

    /// Waits for its end.
    fn end(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a number of `/health` is this.
    fn wait_for(&self, name: &str, value: u64) {
        let began = Instant::now();
        while self.client.get("/health").json()[name] != value {
            assert!(began.elapsed() < PATIENCE, "{name} is not {value}: {}", self.client.get("/health").text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The client of a server that tests share if they ask for nothing special: one that is never stopped or filled.
fn shared() -> &'static Client {
    static SERVER: OnceLock<(Server, Child)> = OnceLock::new();
    let (server, _) = SERVER.get_or_init(|| {
        let server = Server::start(&["--parallel", "4", "--queue", "256"]);
        // Nobody drops what is static: when the tests end, so does this one's stdin, and with it the server.
        let script = format!("read -r _; kill {}", server.child.id());
        let keeper = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        (server, keeper)
    });
    &server.client
}

/// A greedy request with one message.
fn question(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }], "temperature": 0 })
}

/// The same with more members.
fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// A stream that ends when its context is full: no control token may come, so nothing ends it before.
fn endless() -> Value {
    let bias: Vec<(u32, i32)> = (0..24).map(|control| (control, -100)).collect();
    json!({ "messages": [{ "role": "user", "content": "Tell me a story." }], "stream": true, "logit_bias": bias })
}

const CHAT: &str = "/v1/chat/completions";

/// An answer that has to be a problem of this status and code.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) -> Value {
    let body = answer.json();
    assert_eq!((answer.status, &body["error"]["code"]), (status, &json!(code)), "{body}");
    assert!(body["error"]["param"].is_null() || body["error"]["param"].is_string(), "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|m| !m.is_empty() && !m.contains("0x")), "{body}");
    body["error"].clone()
}
