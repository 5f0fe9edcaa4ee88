//! Names of models on a hub.

use std::fmt;

use crate::cli::failure::{Failure, Result};

/// Repository of the model that this program is for.
const OWN: (&str, &str) = ("lemmy", "lthn/lemmy-gguf");

/// What stands before ORG/REPO in a name, longest first.
const PREFIXES: [&str; 8] = [
    "https://www.huggingface.co/",
    "https://huggingface.co/",
    "https://hf.co/",
    "www.huggingface.co/",
    "huggingface.co/",
    "hf.co/",
    "hf://",
    "hf:",
];

/// A repository, a revision of it, and which of its models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubName {
    pub(crate) repo: Repo,
    /// A branch, a tag or a commit.
    pub(crate) revision: String,
    pub(crate) pick: Pick,
}

/// ORG/REPO, checked: it is a path of two plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repo(String);

/// Which of a repository's models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The usual one.
    Usual,
    /// The one with this word in its name, mostly a number type.
    Tag(String),
    /// This file.
    File(String),
}

impl HubName {
    /// Reads a name. `None`: it is no name of a hub.
    ///
    /// # Errors
    ///
    /// It can only be meant as one, and something is wrong with it.
    pub(crate) fn parse(name: &str) -> Result<Option<Self>> {
        let (own, repo) = OWN;
        if name == own || name.strip_prefix(own).is_some_and(|rest| rest.starts_with(':')) {
            return Self::parse(&name.replacen(own, repo, 1));
        }
        let prefix =
            PREFIXES.iter().find(|prefix| name.get(..prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(prefix)));
        let rest = prefix.and_then(|prefix| name.get(prefix.len()..)).unwrap_or(name);
        if prefix.is_none() && (rest.contains("://") || rest.contains(char::is_whitespace)) {
            return Ok(None);
        }
        // The query of a link that was copied from a browser.
        let rest = rest.split(['?', '#']).next().unwrap_or(rest).trim_end_matches('/');
        match Self::parts(rest, prefix.is_some()) {
            Some(found) => Ok(Some(found)),
            None if prefix.is_some() => Err(Failure::usage(format!(
                "{name}: found no repository in it (expected hf.co/ORG/REPO, hf.co/ORG/REPO:TAG or the address of a file)"
            ))),
            None => Ok(None),
        }
    }

    fn parts(rest: &str, is_address: bool) -> Option<Self> {
        let (org, rest) = rest.split_once('/')?;
        let end = rest.find(['/', '@', ':']).unwrap_or(rest.len());
        let (repo, rest) = rest.split_at_checked(end)?;
        let repo = Repo::new(&format!("{org}/{repo}"))?;
        let mut revision = "main".to_owned();
        if let Some(path) = rest.strip_prefix('/') {
            if !is_address {
                return None;
            }
            let (_kind, path) =
                path.split_once('/').filter(|(kind, _)| matches!(*kind, "resolve" | "blob" | "tree"))?;
            let (rev, file) = path.split_once('/').unwrap_or((path, ""));
            let pick = if file.is_empty() { Pick::Usual } else { Pick::File(file.to_owned()) };
            return Self { repo, revision: rev.into(), pick }.checked();
        }
        let rest = match rest.strip_prefix('@') {
            Some(rest) => {
                let end = rest.find(':').unwrap_or(rest.len());
                let (found, rest) = rest.split_at_checked(end)?;
                found.clone_into(&mut revision);
                rest
            }
            None => rest,
        };
        let pick = match rest.strip_prefix(':') {
            None => Pick::Usual,
            Some("latest") => Pick::Usual,
            Some(file) if file.to_ascii_lowercase().ends_with(".gguf") => Pick::File(file.to_owned()),
            Some(tag) => Pick::Tag(tag.to_owned()),
        };
        Self { repo, revision, pick }.checked()
    }

    fn checked(self) -> Option<Self> {
        let is_tag = |tag: &str| {
            !tag.is_empty() && tag.len() <= 96 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        let is_sound = match &self.pick {
            Pick::Usual => true,
            Pick::Tag(tag) => is_tag(tag),
            Pick::File(file) => is_path(file),
        };
        (is_sound && is_revision(&self.revision)).then_some(self)
    }
}

impl Repo {
    /// ORG/REPO as hubs allow it: letters, digits, `-`, `_` and `.`, and nothing that is special in a file system or
    /// in the name of a cache's folder.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let is_word = |word: &str| {
            (1..=96).contains(&word.len())
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
                && !word.starts_with(['.', '-'])
                && !word.ends_with(['.', '-'])
                && !word.contains("..")
                && !word.contains("--")
        };
        let (org, repo) = name.split_once('/')?;
        (is_word(org) && is_word(repo)).then(|| Self(name.to_owned()))
    }

    /// `models--ORG--REPO`.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }

    /// Of a folder's name.
    pub(crate) fn of_folder(name: &str) -> Option<Self> {
        let (org, repo) = name.strip_prefix("models--")?.split_once("--")?;
        Self::new(&format!("{org}/{repo}"))
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repo.fmt(f)?;
        if self.revision != "main" {
            write!(f, "@{}", self.revision)?;
        }
        match &self.pick {
            Pick::Usual => Ok(()),
            Pick::Tag(word) | Pick::File(word) => write!(f, ":{word}"),
        }
    }
}

/// Whether it is a branch, tag or commit that can be part of a path.
fn is_revision(name: &str) -> bool {
    name.len() <= 255 && is_path(name) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b))
}

/// Whether a path that a stranger wrote leads from a folder to something inside of it, on every system.
pub(crate) fn is_path(path: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    (1..=512).contains(&path.len())
        && path.split('/').all(is_part)
        && !path.contains(['\\', ':'])
        && !path.chars().any(char::is_control)
}

/// Whether it is a full commit: 40 hexadecimal digits.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

/// Whether it is the name of a blob: the SHA-1 of git or a SHA-256.
pub(crate) fn is_etag(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn name(text: &str) -> HubName {
        HubName::parse(text).unwrap().unwrap()
    }

    #[test]
    fn forms_of_one_name() {
        let q8 = name("org/repo:Q8_0");
        assert_eq!(q8.repo.to_string(), "org/repo");
        assert_eq!((q8.revision.as_str(), &q8.pick), ("main", &Pick::Tag("Q8_0".into())));
        for prefix in PREFIXES {
            assert_eq!(name(&format!("{prefix}org/repo:Q8_0")), q8, "{prefix}");
        }
        assert_eq!(name("HF.co/org/repo:Q8_0"), q8);
        assert_eq!(name("org/repo").pick, Pick::Usual);
        assert_eq!(name("org/repo:latest").pick, Pick::Usual);
        assert_eq!(name("org/repo@refs/pr/1:Q8_0").revision, "refs/pr/1");
        assert_eq!(name("org/repo:a/b.gguf").pick, Pick::File("a/b.gguf".into()));
    }

    #[test]
    fn addresses() {
        let file = name("https://huggingface.co/org/repo/resolve/main/a/b.gguf?download=true");
        assert_eq!(file, name("org/repo:a/b.gguf"));
        assert_eq!(name("https://huggingface.co/org/repo/tree/v1"), name("org/repo@v1"));
        assert_eq!(name("https://huggingface.co/org/repo/"), name("org/repo"));
    }

    #[test]
    fn the_own_model_has_a_short_name() {
        assert_eq!(name("lemmy"), name("lthn/lemmy-gguf"));
        assert_eq!(name("lemmy:Q8_0"), name("hf.co/lthn/lemmy-gguf:Q8_0"));
        assert_eq!(HubName::parse("lemmyx").unwrap(), None);
    }

    #[test]
    fn what_is_no_name() {
        for text in [
            "",
            "model",
            "a/b/c",
            "https://example.com/org/repo",
            "a b/c",
            "../b",
            "a/..",
            "a--b/c",
            "a/b:",
            "a/b@..",
            "-a/b",
            "a/b:../c.gguf",
            "a/b:c/../../d.gguf",
        ] {
            assert_eq!(HubName::parse(text).unwrap(), None, "{text}");
        }
        for text in ["hf.co/org", "https://huggingface.co/org/repo/discussions", "hf.co/../..", "hf.co/a/b:../c.gguf"] {
            assert!(HubName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_read_back_and_folders_too() {
        for text in ["a/b", "a/b@v1", "a/b@v1:Q8_0", "a/b:c/d.gguf"] {
            assert_eq!(name(text).to_string(), text);
        }
        let repo = Repo::new("org/re-po.x").unwrap();
        assert_eq!(repo.folder(), "models--org--re-po.x");
        assert_eq!(Repo::of_folder(&repo.folder()), Some(repo));
    }

    #[test]
    fn paths_of_strangers() {
        assert!(is_path("a/b.gguf") && is_path("a"));
        let long = "a".repeat(513);
        for path in ["", "/a", "a/../b", "..", "./a", "a//b", "a/", "a\\b", "C:a", "a\0b", "a\nb", long.as_str()] {
            assert!(!is_path(path), "{path:?}");
        }
    }
}
