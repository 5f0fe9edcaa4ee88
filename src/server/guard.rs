//! Who may ask: keys, the `Host` a request is meant for, the `Origin` of the page that sends it.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{self, HeaderMap};
use hyper::{Method, StatusCode, Uri};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::{Problem, Result};

/// The keys that a client may come with; without any, everybody may.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<[u8; 32]>);

impl Keys {
    pub(crate) fn new<'k>(keys: impl IntoIterator<Item = &'k str>) -> Self {
        Self(keys.into_iter().map(digest).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of the key that a request came with; 0 for all where no key is needed.
    ///
    /// # Errors
    ///
    /// 401 if there is none, or an unknown one.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<usize> {
        if self.0.is_empty() {
            return Ok(0);
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        let given = bearer.or_else(|| headers.get("x-api-key").and_then(|value| value.to_str().ok()));
        let refuse =
            |message| Problem::new(StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key", message);
        let given =
            given.ok_or_else(|| refuse("no API key came with the request; send `Authorization: Bearer KEY`"))?;
        // Digests are of one length and all of them are compared, so that the time tells nothing about a key.
        let given = digest(given);
        let found = self.0.iter().enumerate().fold(None, |found, (i, key)| match bool::from(key.ct_eq(&given)) {
            true => Some(i),
            false => found,
        });
        found.ok_or_else(|| refuse("the API key that came with the request is not one of this server's"))
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The names under which the server may be reached, and the pages that may.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Whether only this machine can reach it.
    pub(crate) is_loopback: bool,
    /// The name that it was bound to.
    pub(crate) bound: String,
    /// More names; `*` for all.
    pub(crate) hosts: Vec<String>,
    /// Origins of pages on other machines; `*` for all.
    pub(crate) origins: Vec<String>,
}

/// What a page may learn of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// No page asked.
    None,
    /// The page of this origin.
    With(String),
    /// Any page.
    All,
}

impl Names {
    /// Whether a request is meant for this server. A page that had its own name resolved to this machine (DNS
    /// rebinding) sends that name.
    ///
    /// # Errors
    ///
    /// 403 for another host or none, 400 for two.
    pub(crate) fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<()> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        if hosts.next().is_some() {
            return Err(Problem::bad("invalid_value", "found two Host headers, expected one").closing());
        }
        let target = uri.authority().map(|authority| authority.as_str());
        if self.hosts.iter().any(|allowed| allowed == "*") {
            return Ok(());
        }
        let is_ours = |host: &str| self.allows(without_port(host));
        if host.is_some_and(is_ours) && target.is_none_or(is_ours) {
            return Ok(());
        }
        let message =
            "the Host of the request is not one of this server's; start it with --allowed-host NAME to allow it";
        Err(forbidden("host_not_allowed", message))
    }

    fn allows(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if name.is_empty() {
            return false;
        }
        let is_named = name == self.bound || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name));
        match address(&name) {
            Some(address) => is_named || address.is_loopback() || !self.is_loopback,
            None => is_named || name == "localhost" || name.ends_with(".localhost"),
        }
    }

    /// Which page may read the answer.
    ///
    /// # Errors
    ///
    /// 403 for a page of another machine that wants to change something.
    pub(crate) fn check_origin(&self, method: &Method, headers: &HeaderMap) -> Result<Sharing> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(Sharing::None) };
        let origin = origin.to_str().unwrap_or_default();
        if self.origins.iter().any(|allowed| allowed == "*") {
            return Ok(Sharing::All);
        }
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let is_own = authority.is_some() && authority == host;
        let is_loopback = authority.map(without_port).is_some_and(|name| {
            name == "localhost" || name.ends_with(".localhost") || address(name).is_some_and(|a| a.is_loopback())
        });
        if is_own || is_loopback || self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return Ok(Sharing::With(origin.to_owned()));
        }
        if method == Method::GET || method == Method::HEAD {
            // The browser keeps the answer from the page, since nothing allows it.
            return Ok(Sharing::None);
        }
        let message = "pages of this origin may not use this server; start it with --cors-origin ORIGIN to allow it";
        Err(forbidden("origin_not_allowed", message))
    }
}

fn forbidden(code: &'static str, message: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "permission_error", code, message).closing()
}

/// The host of `host:port`, `[::1]:port` or either without a port.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, _)) => host.get(..inner.len() + 2).unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// The address that a host spells, IPv6 in brackets.
fn address(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_our_names_are_served() {
        let local = Names { is_loopback: true, bound: "127.0.0.1".into(), ..Names::default() };
        let open = Names { bound: "0.0.0.0".into(), hosts: vec!["lemmy.example".into()], ..Names::default() };
        let check =
            |names: &Names, host: &str| names.check_host(&"/".parse().unwrap(), &headers(&[("host", host)])).is_ok();
        for (host, locally, openly) in [
            ("localhost:8080", true, true),
            ("a.localhost", true, true),
            ("127.0.0.1:1", true, true),
            ("127.9.9.9", true, true),
            ("[::1]:8080", true, true),
            ("192.168.1.7:8080", false, true),
            ("lemmy.example", false, true),
            ("LEMMY.example.:80", false, true),
            ("evil.example", false, false),
            ("localhost.evil.example", false, false),
            ("127.0.0.1.evil.example", false, false),
            (":8080", false, false),
            ("", false, false),
        ] {
            assert_eq!((check(&local, host), check(&open, host)), (locally, openly), "{host:?}");
        }
        let uri = "http://evil.example/v1/models".parse().unwrap();
        assert!(local.check_host(&uri, &headers(&[("host", "localhost")])).is_err());
        assert!(local.check_host(&"/".parse().unwrap(), &headers(&[])).is_err());
        let all = Names { is_loopback: true, hosts: vec!["*".into()], ..Names::default() };
        assert!(check(&all, "evil.example"));
    }

    #[test]
    fn pages_of_others_may_not_post() {
        let names = Names { is_loopback: true, origins: vec!["https://app.example".into()], ..Names::default() };
        let check = |method: Method, origin: &str| {
            names.check_origin(&method, &headers(&[("origin", origin), ("host", "box.test:8080")]))
        };
        for origin in ["http://localhost:3000", "http://[::1]:5", "http://box.test:8080", "https://app.example"] {
            assert_eq!(check(Method::POST, origin).unwrap(), Sharing::With(origin.into()), "{origin}");
        }
        for origin in ["https://evil.example", "null", "http://localhost.evil.example", "http://box.test"] {
            assert_eq!(check(Method::POST, origin).unwrap_err().code, Some("origin_not_allowed"), "{origin}");
            assert_eq!(check(Method::GET, origin).unwrap(), Sharing::None);
        }
        let all = Names { origins: vec!["*".into()], ..Names::default() };
        assert_eq!(all.check_origin(&Method::POST, &headers(&[("origin", "null")])).unwrap(), Sharing::All);
    }

    #[test]
    fn keys_are_known_by_their_digest() {
        let keys = Keys::new(["first", "second"]);
        let check = |name, value| keys.check(&headers(&[(name, value)]));
        assert_eq!(check("authorization", "Bearer first").unwrap(), 0);
        assert_eq!(check("authorization", "bEARER  second").unwrap(), 1);
        assert_eq!(check("x-api-key", "second").unwrap(), 1);
        for (name, value) in [("authorization", "Basic first"), ("authorization", "Bearer firs"), ("x-api-key", "")] {
            let problem = check(name, value).unwrap_err();
            assert_eq!((problem.status, problem.code), (StatusCode::UNAUTHORIZED, Some("invalid_api_key")));
        }
        assert_eq!(Keys::default().check(&headers(&[("authorization", "Bearer anything")])).unwrap(), 0);
    }
}
