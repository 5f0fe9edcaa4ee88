//! `--sha256`: the digest of each file of a model, against the name that a hub gave it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::facts::line;
use crate::cli::digest::{promised, sha256, sha256_of_file};
use crate::cli::failure::{Failure, Result};
use crate::cli::locate::{Place, part_number};
use crate::cli::nano;
use crate::cli::progress::{Progress, Unit};
use crate::cli::signals::Signals;

/// One file.
#[derive(Debug)]
pub(super) struct FileDigest {
    file: String,
    bytes: u64,
    sha256: String,
    /// What the hub says, for a file of the cache.
    promised: Option<String>,
}

/// Digests of all files of a model, and of more.
pub(super) fn of_model(place: &Place, parts: usize, more: &[PathBuf], signals: &Signals) -> Result<Vec<FileDigest>> {
    let mut digests = Vec::new();
    let paths = match place {
        Place::File(path) => paths(path, parts),
        Place::Nano => {
            let bytes = nano::bytes()?;
            digests.push(FileDigest {
                file: nano::NAME.into(),
                bytes: bytes.len() as u64,
                sha256: sha256(&bytes),
                promised: None,
            });
            Vec::new()
        }
    };
    let cancel = signals.watch();
    for path in paths.iter().chain(more) {
        let size = std::fs::metadata(path).map_or(0, |facts| facts.len());
        let mut progress = Progress::bar_only("reading", Unit::Bytes);
        let read = sha256_of_file(path, &mut |done| {
            progress.set(done, size);
            !cancel.is_cancelled()
        })?;
        let (sha256, bytes) = read.ok_or_else(|| signals.failure())?;
        digests.push(FileDigest { file: path.display().to_string(), bytes, sha256, promised: promised(path) });
    }
    Ok(digests)
}

/// The files of a model in so many parts, by the name of its first.
fn paths(first: &Path, parts: usize) -> Vec<PathBuf> {
    let name = first.file_name().unwrap_or_default().to_string_lossy();
    match part_number(&name) {
        Some((1, count)) if parts > 1 => {
            let end = format!("-00001-of-{count:05}.gguf");
            let start = name.strip_suffix(&end).unwrap_or(&name);
            (1..=count).map(|part| first.with_file_name(format!("{start}-{part:05}-of-{count:05}.gguf"))).collect()
        }
        _ => vec![first.to_owned()],
    }
}

pub(super) fn text(digests: &[FileDigest]) -> String {
    let word = |digest: &FileDigest| match &digest.promised {
        Some(promised) if *promised == digest.sha256 => ", as the hub says",
        _ => "",
    };
    digests.iter().map(|d| line("sha256", &format!("{}  {}{}", d.sha256, d.file, word(d)))).collect()
}

pub(super) fn json(digests: &[FileDigest]) -> Value {
    let files = digests.iter().map(|digest| {
        json!({
            "file": digest.file,
            "bytes": digest.bytes,
            "sha256": digest.sha256,
            "expected": digest.promised,
        })
    });
    files.collect()
}

/// An error for the first file that is not what the hub says.
pub(super) fn verdict(digests: &[FileDigest]) -> Result<()> {
    let wrong = digests.iter().find_map(|d| Some((d, d.promised.as_ref().filter(|promised| **promised != d.sha256)?)));
    match wrong {
        None => Ok(()),
        Some((digest, promised)) => {
            let message =
                format!("{}: found the digest {} (expected {promised}, as the hub says)", digest.file, digest.sha256);
            Err(Failure::bad_file("digest", message).hint("lemmy rm NAME, then lemmy pull NAME, fetches it anew"))
        }
    }
}
