//! Which hub is asked, and who asks.

use std::fs;
use std::path::PathBuf;

use super::cache::hf_home;
use crate::cli::failure::{Failure, Result};

/// The hub that is asked where no other is named.
const HUB: &str = "https://huggingface.co";

/// The address of a hub, without a `/` at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

/// What proves to the hub who asks. Never shown.
#[derive(Clone)]
pub(crate) struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Endpoint {
    /// That of `HF_ENDPOINT` or `MODEL_ENDPOINT`, else the public one.
    pub(crate) fn from_environment() -> Result<Self> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::new(&set("HF_ENDPOINT").or_else(|| set("MODEL_ENDPOINT")).unwrap_or_else(|| HUB.into()))
    }

    fn new(address: &str) -> Result<Self> {
        let address = address.trim_end_matches('/');
        let host = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")).unwrap_or_default();
        let is_plain = !host.contains(['@', '?', '#']) && !host.chars().any(|c| c.is_control() || c.is_whitespace());
        match host {
            "" => {
                Err(Failure::usage("HF_ENDPOINT: found no address of a hub (expected such as https://huggingface.co)"))
            }
            _ if !is_plain => Err(Failure::usage("HF_ENDPOINT: found an address with more than a host and a path")),
            _ => Ok(Self(address.to_owned())),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Token {
    /// From the flag, the environment, or the file that `hf auth login` writes.
    pub(crate) fn find(flag: Option<&str>) -> Result<Option<Self>> {
        let set = |name: &str| std::env::var(name).ok();
        let file = || {
            std::env::var_os("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| hf_home().map(|home| home.join("token")))
        };
        let found = [flag.map(str::to_owned), set("HF_TOKEN"), set("HUGGING_FACE_HUB_TOKEN")].into_iter().flatten();
        let found = found.map(|token| token.trim().to_owned()).find(|token| !token.is_empty());
        let found = found.or_else(|| fs::read_to_string(file()?).ok().map(|text| text.trim().to_owned()));
        match found.filter(|token| !token.is_empty()) {
            None => Ok(None),
            Some(token) if token.len() <= 1000 && token.bytes().all(|b| b.is_ascii_graphic()) => Ok(Some(Self(token))),
            Some(_) => Err(Failure::usage("the token for the hub: found characters that no token has")),
        }
    }

    /// The value of the header.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_of_hubs() {
        assert_eq!(Endpoint::new("http://127.0.0.1:80/").unwrap().as_str(), "http://127.0.0.1:80");
        assert_eq!(Endpoint::new("https://mirror.example/hf").unwrap().as_str(), "https://mirror.example/hf");
        for address in ["", "ftp://a", "https://", "huggingface.co", "https://a@b", "https://a/?b"] {
            assert!(Endpoint::new(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        assert_eq!(format!("{:?}", Token("hf_secret".into())), "Token");
    }
}
