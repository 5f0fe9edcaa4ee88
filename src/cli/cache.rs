//! `lemmy cache prune`: what lies about in the cache and belongs to no model.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::Context;
use super::failure::{Failure, Result};
use super::hub::{Cache, PlaceArgs, RepoFolder};
use super::units::bytes;

/// Tidy the folder of downloaded models
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Prune(PruneArgs),
}

/// Remove downloads that did not end, and bytes that no model has
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lemmy cache prune
  lemmy cache prune --incomplete --older 7d")]
pub(crate) struct PruneArgs {
    /// Only downloads that did not end
    #[arg(long)]
    incomplete: bool,
    /// Only what nobody has written to for so long: 30m, 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = age)]
    older: Option<Duration>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

fn age(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split).unwrap_or((text, ""));
    let seconds = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let time = seconds.and_then(|seconds: u64| number.parse::<u64>().ok()?.checked_mul(seconds));
    time.map(Duration::from_secs).ok_or_else(|| "expected a time such as 30m, 12h or 7d".into())
}

pub(crate) fn execute(args: &Args, context: &mut Context) -> Result<()> {
    let Action::Prune(args) = &args.action;
    let cache = Cache::open(args.place.cache_dir.as_deref())?;
    let mut freed = 0_u64;
    for folder in cache.repos()? {
        for (path, size) in superfluous(&folder, args)? {
            if is_in_use(&folder, &path) {
                continue;
            }
            fs::remove_file(&path).map_err(|e| Failure::io(format_args!("cannot remove {}", path.display()), &e))?;
            freed = freed.saturating_add(size);
            if !args.json {
                context.out.text(&format!("{}: {}, {}\n", folder.repo, path.display(), bytes(size)))?;
            }
        }
    }
    if args.json {
        return context.out.json(&json!({ "freed_bytes": freed }));
    }
    context.out.text(&format!("{} freed\n", bytes(freed)))
}

/// Files that may go, with their sizes.
fn superfluous(folder: &RepoFolder, args: &PruneArgs) -> Result<Vec<(PathBuf, u64)>> {
    let is_old = |facts: &fs::Metadata| match (args.older, facts.modified()) {
        (None, _) => true,
        (Some(older), Ok(modified)) => SystemTime::now().duration_since(modified).is_ok_and(|age| age >= older),
        (Some(_), Err(_)) => false,
    };
    let mut found: Vec<_> = folder.parts()?;
    if !args.incomplete {
        let mut needed = BTreeSet::new();
        for commit in folder.commits()? {
            let snapshot = folder.snapshot(&commit);
            needed.extend(
                folder.files(&commit)?.iter().filter_map(|file| fs::canonicalize(snapshot.join(&file.path)).ok()),
            );
        }
        let is_needed = |path: &Path| fs::canonicalize(path).is_ok_and(|path| needed.contains(&path));
        found.extend(folder.whole_blobs()?.into_iter().filter(|(path, _)| !is_needed(path)));
    }
    Ok(found.into_iter().filter(|(_, facts)| is_old(facts)).map(|(path, facts)| (path, facts.len())).collect())
}

/// Whether another process is downloading it.
fn is_in_use(folder: &RepoFolder, blob: &Path) -> bool {
    let Some(etag) = blob.file_stem().and_then(|name| name.to_str()) else { return true };
    let Ok(lock) = File::options().write(true).open(folder.lock(etag)) else { return false };
    matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        assert_eq!(age("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(age("30m"), Ok(Duration::from_secs(1800)));
        for text in ["", "7", "d", "1w", "99999999999999999d"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
