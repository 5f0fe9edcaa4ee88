//! A hub on loopback: it serves files from memory, counts who asks for what, and can be told to misbehave.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) const REPO: &str = "org/repo";
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong with the next download of a file.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// 200 and the whole file, whatever range is asked for.
    NoRanges,
    /// A range of another place.
    WrongRange,
    /// Other bytes of the same length.
    WrongBytes,
    /// This status and, if not empty, these headers.
    Status(u16, &'static str),
    /// So long a wait before each 1000 bytes.
    Drip(Duration),
    /// A content encoding.
    Encoded,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) at_cdn: bool,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<(String, Vec<u8>)>,
    /// Files whose names are only listed.
    listed: Vec<Value>,
    faults: HashMap<String, Vec<Fault>>,
    /// Status and headers of all answers about the repository.
    refusal: Option<(u16, &'static str)>,
    /// Whether files are served by the other port.
    redirects: bool,
    /// Entries of a page of the list.
    page: usize,
    requests: Vec<Request>,
    port: u16,
}

/// The hub, with a second port in the part of its delivery network.
pub(crate) struct Hub {
    pub(crate) port: u16,
    cdn: u16,
    state: Arc<Mutex<State>>,
}

impl Hub {
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Self {
        let state = Arc::new(Mutex::new(State { page: usize::MAX, ..State::default() }));
        let [hub, cdn] = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [port, cdn_port] = [&hub, &cdn].map(|listener| listener.local_addr().unwrap().port());
        state.lock().unwrap().port = port;
        for (listener, at_cdn) in [(hub, false), (cdn, true)] {
            let state = state.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = state.clone();
                    // A client that goes away in the middle is one of the tests.
                    std::thread::spawn(move || drop(serve(&stream, &state, cdn_port, at_cdn)));
                }
            });
        }
        let hub = Self { port, cdn: cdn_port, state };
        for (path, bytes) in files {
            hub.put(path, bytes);
        }
        hub
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        state.files.retain(|(name, _)| name != path);
        state.files.push((path.to_owned(), bytes.to_owned()));
    }

    pub(crate) fn list(&self, entry: Value) {
        self.state.lock().unwrap().listed.push(entry);
    }

    /// The next downloads of a file go wrong, in this order.
    pub(crate) fn spoil(&self, path: &str, faults: &[Fault]) {
        self.state.lock().unwrap().faults.insert(path.to_owned(), faults.to_vec());
    }

    pub(crate) fn refuse(&self, status: u16, headers: &'static str) {
        self.state.lock().unwrap().refusal = Some((status, headers));
    }

    pub(crate) fn redirect(&self) {
        self.state.lock().unwrap().redirects = true;
    }

    pub(crate) fn paginate(&self, page: usize) {
        self.state.lock().unwrap().page = page;
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Downloads of files, by either port.
    pub(crate) fn downloads(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|r| r.method == "GET" && (r.at_cdn || r.path.contains("/resolve/")));
        requests
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn cdn(&self) -> u16 {
        self.cdn
    }
}

/// The SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn serve(stream: &TcpStream, state: &Mutex<State>, cdn: u16, at_cdn: bool) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method, path, range: None, authorization: None, agent: None, at_cdn };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "authorization" => request.authorization = Some(value.to_owned()),
            "user-agent" => request.agent = Some(value.to_owned()),
            _ => {}
        }
    }
    let (answer, pace) = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        answer(&mut state, &request, cdn)
    };
    let mut stream = stream;
    match pace {
        None => stream.write_all(&answer),
        Some(pace) => answer.chunks(1000).try_for_each(|piece| {
            sleep(pace);
            stream.write_all(piece)
        }),
    }
}

fn answer(state: &mut State, request: &Request, cdn: u16) -> (Vec<u8>, Option<Duration>) {
    let path = request.path.as_str();
    if let Some((status, headers)) = state.refusal {
        return (plain(status, headers, b"{}", request), None);
    }
    if path.starts_with(&format!("/api/models/{REPO}/revision/")) {
        return match path.rsplit('/').next() {
            Some("main" | "v1" | COMMIT) => {
                (plain(200, "", json!({ "sha": COMMIT }).to_string().as_bytes(), request), None)
            }
            _ => (plain(404, "X-Error-Code: RevisionNotFound\r\n", b"{}", request), None),
        };
    }
    if path.starts_with(&format!("/api/models/{REPO}/tree/{COMMIT}")) {
        return (tree(state, request), None);
    }
    let file = path.split('?').next().unwrap_or(path);
    let file = file.split_once(&format!("/resolve/{COMMIT}/")).or_else(|| file.split_once("/cdn/"));
    let found = file.and_then(|(_, name)| state.files.iter().find(|(path, _)| path == name).cloned());
    match found {
        Some((name, bytes)) => download(state, request, &name, bytes, cdn),
        None => (plain(404, "X-Error-Code: RepoNotFound\r\n", b"{}", request), None),
    }
}

fn tree(state: &State, request: &Request) -> Vec<u8> {
    let file = |(path, bytes): &(String, Vec<u8>)| {
        let sha = sha256(bytes);
        json!({"type": "file", "path": path, "size": bytes.len(), "oid": "0".repeat(40), "lfs": {"oid": sha, "size": bytes.len()}})
    };
    let mut all: Vec<_> = state.listed.clone();
    all.extend(state.files.iter().map(file));
    let page: usize = request.path.split_once("page=").map_or(0, |(_, page)| page.parse().unwrap());
    let rest: Vec<_> = all.into_iter().skip(page.saturating_mul(state.page)).collect();
    let here: Vec<_> = rest.iter().take(state.page).collect();
    let address = format!("http://127.0.0.1:{}/api/models/{REPO}/tree/{COMMIT}?recursive=true", state.port);
    let link = match rest.len() > state.page {
        true => format!("Link: <{address}&page={}>; rel=\"next\"\r\n", page + 1),
        false => String::new(),
    };
    plain(200, &link, json!(here).to_string().as_bytes(), request)
}

/// A file, or what is in its place.
fn download(
    state: &mut State,
    request: &Request,
    name: &str,
    mut bytes: Vec<u8>,
    cdn: u16,
) -> (Vec<u8>, Option<Duration>) {
    let etag = sha256(&bytes);
    let linked = format!("X-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {}\r\n", bytes.len());
    if request.method == "HEAD" {
        return (plain(200, &linked, &bytes, request), None);
    }
    if state.redirects && !request.at_cdn {
        let there = format!("{linked}Location: http://127.0.0.1:{cdn}/cdn/{name}?signature=secret\r\n");
        return (plain(302, &there, b"", request), None);
    }
    let faults = state.faults.entry(name.to_owned()).or_default();
    let fault = if faults.is_empty() { None } else { Some(faults.remove(0)) };
    let range = request.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let range = range.map(|(from, to)| (from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap()));
    let total = bytes.len();
    let mut status = 200;
    let mut headers = format!("{linked}Accept-Ranges: bytes\r\n");
    if let (Some((from, to)), false) = (range, matches!(fault, Some(Fault::NoRanges))) {
        status = 206;
        let told = if matches!(fault, Some(Fault::WrongRange)) { from + 1 } else { from };
        headers += &format!("Content-Range: bytes {told}-{to}/{total}\r\n");
        bytes = bytes[from..=to].to_vec();
    }
    match fault {
        Some(Fault::Status(status, headers)) => (plain(status, headers, b"", request), None),
        Some(Fault::WrongBytes) => {
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
            (plain(status, &headers, &bytes, request), None)
        }
        Some(Fault::Encoded) => (plain(status, &format!("{headers}Content-Encoding: gzip\r\n"), &bytes, request), None),
        Some(Fault::Cut(after)) => {
            let mut answer = plain(status, &headers, &bytes, request);
            answer.truncate(answer.len() - bytes.len().saturating_sub(after));
            (answer, None)
        }
        Some(Fault::Drip(pace)) => (plain(status, &headers, &bytes, request), Some(pace)),
        _ => (plain(status, &headers, &bytes, request), None),
    }
}

/// An answer; without the body to HEAD.
fn plain(status: u16, headers: &str, body: &[u8], request: &Request) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())
            .into_bytes();
    if request.method != "HEAD" {
        answer.extend_from_slice(body);
    }
    answer
}
