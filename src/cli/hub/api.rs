//! What the hub is asked, over HTTP.
//!
//! Whatever it answers is a stranger's: sizes of answers are bounded, names are checked before they are believed,
//! and the token goes to the hub's own host and to no other, wherever a redirect leads.

use std::io::Read;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use super::endpoint::{Endpoint, Token};
use super::name::{Repo, is_commit, is_etag, is_path};
use crate::cli::failure::{Failure, Result};
use crate::cli::output::note;

/// Redirects that are followed for one request.
const REDIRECTS: usize = 5;
/// Times that a request is made again because the hub is busy.
const RETRIES: u32 = 5;
/// The longest that a hub may ask us to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// Bytes of one answer in JSON.
const LARGEST_ANSWER: u64 = 64 << 20;
/// Files of one repository.
const MOST_FILES: usize = 100_000;
/// Answers that the list of files may be cut into.
const MOST_PAGES: usize = 1000;

/// A hub that can be asked.
#[derive(Debug)]
pub(crate) struct Hub {
    agent: Agent,
    endpoint: Endpoint,
    token: Option<Token>,
}

/// Why a question got no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody answered; what is there already may do.
    Unreachable(Failure),
    Failed(Failure),
}

/// A file of a repository, as the hub lists it.
#[derive(Debug, Clone)]
pub(crate) struct RemoteFile {
    pub(crate) path: String,
    pub(crate) size: u64,
    /// The SHA-256 of a large file, the SHA-1 of git of a small one.
    pub(crate) etag: String,
}

/// How a request ended.
pub(crate) struct Answer {
    pub(crate) response: Response<Body>,
    /// Where it came from, behind all redirects.
    pub(crate) url: String,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unreachable(failure) | Trouble::Failed(failure) => failure,
        }
    }
}

impl Hub {
    pub(crate) fn new(endpoint: Endpoint, token: Option<Token>) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .user_agent(concat!("lemmy/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(Duration::from_secs(30)))
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .build();
        Self { agent: config.new_agent(), endpoint, token }
    }

    /// Whether anybody answers.
    pub(crate) fn ping(&self) -> Result<(), Trouble> {
        self.once("HEAD", self.endpoint.as_str(), None).map(drop).map_err(|e| self.unreachable(&e))
    }

    /// The commit that a revision means now.
    pub(crate) fn commit(&self, repo: &Repo, revision: &str) -> Result<String, Trouble> {
        let url =
            format!("{}/api/models/{repo}/revision/{}", self.endpoint.as_str(), escaped(revision).replace('/', "%2F"));
        let (answer, _) = self.json(&url, repo)?;
        match answer.get("sha").and_then(Value::as_str) {
            Some(sha) if is_commit(sha) => Ok(sha.to_owned()),
            _ => Err(nonsense(repo, "no commit of 40 digits").into()),
        }
    }

    /// All files of a commit.
    pub(crate) fn files(&self, repo: &Repo, commit: &str) -> Result<Vec<RemoteFile>, Trouble> {
        let mut files = Vec::new();
        let mut next = Some(format!("{}/api/models/{repo}/tree/{commit}?recursive=true", self.endpoint.as_str()));
        for _ in 0..MOST_PAGES {
            let Some(url) = next else { return Ok(files) };
            let (page, headers) = self.json(&url, repo)?;
            let list = page.as_array().ok_or_else(|| nonsense(repo, "no list of files"))?;
            files.extend(list.iter().filter_map(listed));
            if files.len() > MOST_FILES {
                break;
            }
            next = headers.get("link").and_then(|link| next_page(link.to_str().ok()?));
            if next.as_ref().is_some_and(|url| !self.is_own(url)) {
                return Err(nonsense(repo, "a list of files that goes on at another host").into());
            }
        }
        Err(nonsense(repo, "more files than any repository of models has").into())
    }

    /// Asks for a file's size and name of its bytes, which must be those that were listed; says if it may not be had.
    pub(crate) fn check(&self, repo: &Repo, commit: &str, file: &RemoteFile) -> Result<(), Trouble> {
        let mut url = self.address(repo, commit, &file.path);
        let mut headers = HeaderMap::new();
        // A hub may lead on to another place of its own; another host is not asked.
        for _ in 0..REDIRECTS {
            let response = self.request("HEAD", &url, None, true, repo)?;
            headers = response.headers().clone();
            let is_told = headers.contains_key("x-linked-etag") || headers.contains_key("etag");
            match target(&url, &response).filter(|target| !is_told && self.is_own(target)) {
                Some(target) => url = target,
                None => break,
            }
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let etag = header("x-linked-etag").or_else(|| header("etag")).map(plain_etag);
        let size = header("x-linked-size").or_else(|| header("content-length")).and_then(|text| text.parse().ok());
        let is_other = etag.is_some_and(|etag| etag != file.etag);
        if is_other || header("x-linked-size").is_some() && size != Some(file.size) {
            let (path, found) = (&file.path, etag.filter(|etag| is_etag(etag)).unwrap_or("something else"));
            let message = format!("{repo}: {path}: the hub has {found} (expected {}, as it lists)", file.etag);
            return Err(Failure::failed("hub_changed", message)
                .hint("try again: the repository may just have changed")
                .into());
        }
        Ok(())
    }

    /// Where a file's bytes are.
    pub(crate) fn address(&self, repo: &Repo, commit: &str, path: &str) -> String {
        format!("{}/{repo}/resolve/{commit}/{}", self.endpoint.as_str(), escaped(path))
    }

    /// Begins to get bytes: those from `range.0` up to, not with, `range.1`; or all. Redirects are followed.
    pub(crate) fn get(&self, repo: &Repo, url: &str, range: Option<(u64, u64)>) -> Result<Answer, Trouble> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS {
            let response = self.request("GET", &url, range, false, repo)?;
            match target(&url, &response) {
                None if response.status().is_redirection() => break,
                None => return Ok(Answer { response, url }),
                Some(target) if url.starts_with("https:") && !target.starts_with("https:") => {
                    return Err(nonsense(repo, "a redirect from https to something else").into());
                }
                Some(target) => url = target,
            }
        }
        Err(nonsense(repo, "redirects without an end").into())
    }

    fn json(&self, url: &str, repo: &Repo) -> Result<(Value, HeaderMap), Trouble> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS {
            let mut response = self.request("GET", &url, None, true, repo)?;
            if let Some(target) = target(&url, &response) {
                // A repository that was renamed; the question stays with the hub.
                if !self.is_own(&target) {
                    break;
                }
                url = target;
                continue;
            }
            let mut text = Vec::new();
            let read = response.body_mut().as_reader().take(LARGEST_ANSWER + 1).read_to_end(&mut text);
            let value = match read {
                Err(e) => return Err(self.unreachable(&e)),
                Ok(_) if text.len() as u64 > LARGEST_ANSWER => {
                    return Err(nonsense(repo, "an answer of more than 64 MiB").into());
                }
                Ok(_) => serde_json::from_slice(&text).map_err(|_| nonsense(repo, "an answer that is no JSON"))?,
            };
            return Ok((value, response.headers().clone()));
        }
        Err(nonsense(repo, "redirects that lead away").into())
    }

    /// One request, made again while the hub is busy. Statuses up to 399 and 416 are answers, the others are errors.
    fn request(
        &self,
        method: &str,
        url: &str,
        range: Option<(u64, u64)>,
        is_patient: bool,
        repo: &Repo,
    ) -> Result<Response<Body>, Trouble> {
        let mut attempt = 0;
        loop {
            let response = match self.once(method, url, range) {
                Ok(response) => response,
                // A connection that was kept open may have been closed in the meantime.
                Err(_) if attempt == 0 => {
                    attempt += 1;
                    continue;
                }
                Err(e) => return Err(self.unreachable(&e)),
            };
            let status = response.status().as_u16();
            match status {
                0..400 | 416 => return Ok(response),
                429 | 500.. if attempt < RETRIES => {
                    let wait = asked_wait(response.headers()).unwrap_or_else(|| backoff(attempt));
                    if is_patient || wait > Duration::from_secs(3) {
                        note(format_args!(
                            "note: the hub is busy (HTTP {status}); trying again in {:.0} s",
                            wait.as_secs_f64()
                        ));
                    }
                    sleep(wait);
                    attempt += 1;
                }
                _ => return Err(refusal(repo, url, status, response.headers(), self.token.is_some()).into()),
            }
        }
    }

    fn once(&self, method: &str, url: &str, range: Option<(u64, u64)>) -> Result<Response<Body>, ureq::Error> {
        let request = if method == "HEAD" { self.agent.head(url) } else { self.agent.get(url) };
        let request = match &self.token {
            Some(token) if self.is_own(url) => request.header("Authorization", token.header()),
            _ => request,
        };
        let request = match range {
            Some((from, to)) => request.header("Range", format!("bytes={from}-{}", to.saturating_sub(1))),
            None => request,
        };
        // What is compressed on the way has another size and another digest.
        request.header("Accept-Encoding", "identity").call()
    }

    /// Whether an address is on the hub's own host, and port.
    fn is_own(&self, url: &str) -> bool {
        let origin = |url: &str| {
            let uri: Uri = url.parse().ok()?;
            Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_ascii_lowercase()))
        };
        origin(url).is_some_and(|own| origin(self.endpoint.as_str()) == Some(own))
    }

    pub(crate) fn unreachable(&self, e: &dyn std::fmt::Display) -> Trouble {
        const HINT: &str =
            "--offline uses what is there already; HTTPS_PROXY names a proxy, SSL_CERT_FILE certificates";
        let message = format!("{}: the hub cannot be reached: {e}", self.endpoint.as_str());
        Trouble::Unreachable(Failure::failed("network", message).hint(HINT))
    }
}

/// What a status above 399 means.
fn refusal(repo: &Repo, url: &str, status: u16, headers: &HeaderMap, has_token: bool) -> Failure {
    let code = headers.get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
    match (status, code) {
        (401 | 403, "GatedRepo") => {
            let message = format!("{repo}: the hub asks for consent to its terms first (a gated repository)");
            Failure::failed("gated", message)
                .hint("accept them on the repository's page, then `hf auth login`, or set HF_TOKEN")
        }
        (401 | 403, _) if has_token => Failure::failed("unauthorised", format!("{repo}: the hub refuses this token"))
            .hint("a private repository needs a token that may read it: `hf auth login`, or set HF_TOKEN"),
        (401 | 403, _) => Failure::failed("unauthorised", format!("{repo}: no such repository, or a private one"))
            .hint("check the name; for a private one `hf auth login`, or set HF_TOKEN"),
        (404, "RevisionNotFound") => Failure::not_found(format!("{repo}: the hub has no such revision")),
        (404, "EntryNotFound") => Failure::not_found(format!("{repo}: the hub has no such file")),
        (404, _) => Failure::not_found(format!("{repo}: the hub has no such repository")),
        (429 | 500.., _) => {
            Failure::failed("hub_busy", format!("{repo}: the hub is busy (HTTP {status}, {} attempts)", RETRIES + 1))
        }
        _ => {
            let path = url.split('?').next().unwrap_or_default();
            Failure::failed("network", format!("{path}: found HTTP {status} (expected the file)"))
        }
    }
}

/// An answer that makes no sense.
fn nonsense(repo: &Repo, what: &str) -> Failure {
    Failure::failed("hub", format!("{repo}: the hub answers with {what}"))
}

/// A file of the list; what is no file, or has a name or numbers that cannot be right, is left out.
fn listed(value: &Value) -> Option<RemoteFile> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    if value.get("type").and_then(Value::as_str) != Some("file") {
        return None;
    }
    let path = text(value, "path")?;
    if !is_path(&path) {
        note(format_args!("note: the hub lists a file with an unsafe name, which is left out: {path:?}"));
        return None;
    }
    let (etag, size) = match value.get("lfs").filter(|lfs| lfs.is_object()) {
        Some(lfs) => (text(lfs, "oid")?, lfs.get("size")?.as_u64()?),
        None => (text(value, "oid")?, value.get("size")?.as_u64()?),
    };
    is_etag(&etag).then_some(RemoteFile { path, size, etag })
}

/// Where a redirect leads.
fn target(url: &str, response: &Response<Body>) -> Option<String> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get("location")?.to_str().ok()?;
    let (scheme, rest) = url.split_once("://")?;
    if location.starts_with("https://") || location.starts_with("http://") {
        Some(location.to_owned())
    } else if location.starts_with("//") {
        Some(format!("{scheme}:{location}"))
    } else {
        let host = rest.split(['/', '?']).next()?;
        location.starts_with('/').then(|| format!("{scheme}://{host}{location}"))
    }
}

/// The address behind `rel="next"` of a `Link` header.
fn next_page(link: &str) -> Option<String> {
    let part = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    Some(part.trim().strip_prefix('<')?.split_once('>')?.0.to_owned())
}

/// Without the marks of weakness and the quotes.
fn plain_etag(etag: &str) -> &str {
    etag.trim().trim_start_matches("W/").trim_matches('"')
}

/// The seconds that a busy hub asks for.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// 1, 2, 4 … seconds, and a part of a second by chance, so that many who were sent away do not come back together.
pub(crate) fn backoff(attempt: u32) -> Duration {
    let chance =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos() % 500_000_000);
    Duration::from_secs(1 << attempt.min(5)) + Duration::from_nanos(chance.into())
}

/// A path as part of an address.
fn escaped(path: &str) -> String {
    let mut escaped = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    #[test]
    fn pages_and_etags() {
        assert_eq!(next_page("<http://a/b?c=1>; rel=\"next\"").unwrap(), "http://a/b?c=1");
        assert_eq!(next_page("<http://a/0>; rel=\"first\", <http://a/2>; rel=\"next\"").unwrap(), "http://a/2");
        assert_eq!(next_page("<http://a/0>; rel=\"first\""), None);
        assert_eq!((plain_etag("W/\"ab\""), plain_etag("\"ab\""), plain_etag("ab")), ("ab", "ab", "ab"));
        assert_eq!(escaped("a b/ü.gguf"), "a%20b/%C3%BC.gguf");
    }

    #[test]
    fn only_sound_files_are_listed() {
        let (sha, git) = ("a".repeat(64), "b".repeat(40));
        let large = json!({"type": "file", "path": "m.gguf", "size": 5, "oid": git, "lfs": {"oid": sha, "size": 7}});
        assert_eq!(listed(&large).map(|file| (file.etag, file.size)), Some((sha, 7)));
        let small = json!({"type": "file", "path": "a", "size": 5, "oid": git, "lfs": null});
        assert_eq!(listed(&small).map(|file| (file.etag, file.size)), Some((git.clone(), 5)));
        for (path, oid, size) in [
            ("../a", git.as_str(), json!(5)),
            ("a", "../../x", json!(5)),
            ("a", &git, json!(-1)),
            ("a", &git, json!("5")),
        ] {
            assert!(listed(&json!({"type": "file", "path": path, "size": size, "oid": oid})).is_none());
        }
        assert!(listed(&json!({"type": "directory", "path": "a", "size": 0, "oid": git})).is_none());
    }
}
