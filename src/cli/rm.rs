//! `lemmy rm`: models out of the cache.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Context;
use super::failure::{Failure, Result};
use super::hub::{Cache, HubName, Pick, PlaceArgs, RepoFolder, choose, is_commit};
use super::question::ask;
use super::units::bytes;

/// Remove downloaded models
#[derive(Debug, clap::Args)]
#[command(after_help = "\
NAME alone means everything of the repository, NAME:TAG one model. A program that has a model
open keeps it until it ends; the room is free after that.

Examples:
  lemmy rm lthn/lemmy-gguf:Q8_0
  lemmy rm org/repo --yes")]
pub(crate) struct Args {
    /// Names of models, as lemmy list shows them
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let cache = Cache::open(args.place.cache_dir.as_deref())?;
    let mut freed = 0_u64;
    for text in &args.names {
        let name = HubName::parse(text)?;
        let name = name.ok_or_else(|| {
            Failure::usage(format!("{text}: found no name of a model (expected one that lemmy list shows)"))
        })?;
        let folder = cache.repo(&name.repo);
        let doomed = Doomed::find(&folder, &name)?;
        if !args.yes {
            match ask(format_args!("Remove {name}, {}?", bytes(doomed.size()))) {
                Some(true) => {}
                Some(false) => continue,
                None => return Err(Failure::usage(format!("{name}: found nobody to ask (expected --yes)"))),
            }
        }
        let room = doomed.remove(&folder)?;
        freed = freed.saturating_add(room);
        if !args.json {
            context.out.text(&format!("{name}: {} freed\n", bytes(room)))?;
        }
    }
    if args.json { context.out.json(&json!({ "freed_bytes": freed })) } else { Ok(()) }
}

/// What goes.
#[derive(Debug)]
struct Doomed {
    /// Names in snapshots.
    links: BTreeSet<PathBuf>,
    /// Blobs that no other name leads to, with their sizes.
    blobs: Vec<(PathBuf, u64)>,
    /// Whether nothing of the repository stays.
    is_all: bool,
}

impl Doomed {
    fn find(folder: &RepoFolder, name: &HubName) -> Result<Self> {
        let absent = || Failure::not_found(format!("{name}: not downloaded")).hint("lemmy list shows what is there");
        let commits = match (name.revision.as_str(), &name.pick) {
            // A tag without a revision is meant wherever it is.
            ("main", _) => folder.commits()?,
            (revision, _) => vec![folder.commit(revision).ok_or_else(absent)?],
        };
        let (mut links, mut others, mut models_left) = (BTreeSet::new(), BTreeSet::new(), 0);
        for commit in folder.commits()? {
            let entries = folder.files(&commit)?;
            let is_meant = commits.contains(&commit);
            let parts: Vec<_> = match &name.pick {
                Pick::Usual if is_meant => entries.iter().map(|entry| entry.path.clone()).collect(),
                _ if is_meant => match choose(name, &entries) {
                    Ok(found) => found.parts.into_iter().map(|part| part.path).collect(),
                    Err(failure) if failure.is_usage() => return Err(failure),
                    Err(_) => Vec::new(),
                },
                _ => Vec::new(),
            };
            for entry in entries {
                let path = folder.snapshot(&commit).join(&entry.path);
                if parts.contains(&entry.path) {
                    links.insert(path);
                } else {
                    models_left += usize::from(is_model(&entry.path));
                    others.insert(path);
                }
            }
        }
        let is_all = models_left == 0 && (!links.is_empty() || folder.root().is_dir() && name.pick == Pick::Usual);
        if links.is_empty() && !is_all {
            return Err(absent());
        }
        if is_all {
            links.append(&mut others);
        }
        let kept: BTreeSet<_> = others.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
        let gone: BTreeSet<_> = links.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
        let size = |path: PathBuf| fs::metadata(&path).ok().map(|facts| (path, facts.len()));
        // What a link leads to elsewhere belongs to somebody else: only the link goes.
        let own = fs::canonicalize(folder.root()).unwrap_or_default();
        let is_own = |path: &PathBuf| path.starts_with(&own);
        let mut blobs: Vec<_> = gone.difference(&kept).filter(|path| is_own(path)).cloned().filter_map(size).collect();
        if is_all {
            blobs.extend(folder.parts()?.into_iter().map(|(path, facts)| (path, facts.len())));
        }
        Ok(Self { links, blobs, is_all })
    }

    fn size(&self) -> u64 {
        self.blobs.iter().map(|(_, size)| size).sum()
    }

    /// Removes the names first, so that at no time one leads to nothing that was whole; the answer is the room that
    /// is freed.
    fn remove(&self, folder: &RepoFolder) -> Result<u64> {
        let _locks = self.locks(folder)?;
        let mut room = 0;
        for link in &self.links {
            fs::remove_file(link).map_err(|e| failure(link, &e))?;
        }
        for (blob, size) in &self.blobs {
            match fs::remove_file(blob) {
                Ok(()) => {}
                // It was no link but the file itself.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(failure(blob, &e)),
            }
            room += size;
        }
        if self.is_all {
            fs::remove_dir_all(folder.root()).map_err(|e| failure(folder.root(), &e))?;
        } else {
            remove_empty(&folder.root().join("snapshots"));
            for (revision, commit) in folder.refs()? {
                if is_commit(&commit) && !folder.snapshot(&commit).exists() {
                    let _ = fs::remove_file(folder.root().join("refs").join(revision));
                }
            }
        }
        Ok(room)
    }

    /// Refuses to take away what another process is downloading.
    fn locks(&self, folder: &RepoFolder) -> Result<Vec<File>> {
        let mut locks = Vec::new();
        for (blob, _) in &self.blobs {
            let Some(etag) = blob.file_stem().and_then(|name| name.to_str()) else { continue };
            let Ok(lock) = File::options().write(true).open(folder.lock(etag)) else { continue };
            if matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)) {
                return Err(Failure::failed("in_use", format!("{}: another process is downloading it", folder.repo)));
            }
            locks.push(lock);
        }
        Ok(locks)
    }
}

fn is_model(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    name.ends_with(".gguf") && !super::locate::is_companion(&name)
}

/// Removes folders below that hold nothing.
fn remove_empty(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_empty(&entry.path());
        // One that holds something stays, by this call's own rule.
        let _ = fs::remove_dir(entry.path());
    }
}

fn failure(path: &Path, e: &io::Error) -> Failure {
    Failure::io(format_args!("cannot remove {}", path.display()), e)
}
