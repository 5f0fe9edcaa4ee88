//! `lemmy list`: models that are in the cache.

use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::Context;
use super::failure::Result;
use super::hub::{Cache, Found, PlaceArgs, RepoFolder, models};
use super::units::{bytes, utc};

/// Show the models that were downloaded
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The names can stand wherever MODEL stands. lemmy pull adds to the list, lemmy rm takes away.

Examples:
  lemmy list
  lemmy list --json")]
pub(crate) struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// A model of the cache.
#[derive(Debug)]
struct Row {
    name: String,
    found: Found,
    path: PathBuf,
    modified: Option<SystemTime>,
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let cache = Cache::open(args.place.cache_dir.as_deref())?;
    let mut rows = Vec::new();
    let mut parts = Vec::new();
    for folder in cache.repos()? {
        rows.extend(rows_of(&folder)?);
        parts.extend(folder.parts()?.into_iter().map(|(path, facts)| (folder.repo.to_string(), path, facts.len())));
    }
    if args.json {
        let part = |(name, path, size): &(String, PathBuf, u64)| {
            let path = path.display().to_string();
            json!({ "name": name, "path": path, "size_bytes": size, "complete": false })
        };
        let models: Vec<_> = rows.iter().map(Row::json).chain(parts.iter().map(part)).collect();
        return context.out.json(&json!({ "cache": cache.root().display().to_string(), "models": models }));
    }
    if rows.is_empty() && parts.is_empty() {
        super::output::note(format_args!("no models in {}; lemmy pull lemmy downloads one", cache.root().display()));
        return Ok(());
    }
    let width =
        rows.iter().map(|row| row.name.len()).chain(parts.iter().map(|(name, ..)| name.len())).fold(4, usize::max);
    context.out.text(&format!("{:width$}  {:>9}  {:16}  FILE\n", "NAME", "SIZE", "MODIFIED"))?;
    for row in &rows {
        let modified = row.modified.map(utc).unwrap_or_default();
        let modified = modified.get(..16).unwrap_or_default().replace('T', " ");
        let size = bytes(row.found.size());
        context.out.text(&format!("{:width$}  {size:>9}  {modified:16}  {}\n", row.name, row.path.display()))?;
    }
    for (name, path, size) in &parts {
        context.out.text(&format!(
            "{name:width$}  {:>9}  {:16}  {}\n",
            bytes(*size),
            "not complete",
            path.display()
        ))?;
    }
    Ok(())
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "size_bytes": self.found.size(),
            "quant": self.found.tag(),
            "modified": self.modified.map(utc),
            "path": self.path.display().to_string(),
            "files": self.found.parts.len(),
            "complete": true,
        })
    }
}

/// The models of a repository, with names that lead to them again.
fn rows_of(folder: &RepoFolder) -> Result<Vec<Row>> {
    let refs = folder.refs()?;
    let mut rows = Vec::new();
    for commit in folder.commits()? {
        let names: Vec<_> = refs.iter().filter(|(_, known)| *known == commit).map(|(name, _)| name.as_str()).collect();
        let revision = match names.contains(&"main") {
            true => String::new(),
            false => format!("@{}", names.first().copied().unwrap_or(&commit)),
        };
        // Models of which a part is missing are not models yet.
        let found: Vec<_> = models(&folder.files(&commit)?).into_iter().flatten().collect();
        for model in &found {
            let is_alone = found.iter().filter(|other| other.tag() == model.tag()).count() == 1;
            let tag = if is_alone { model.tag() } else { model.path().to_owned() };
            let path = folder.snapshot(&commit).join(model.path());
            let modified = std::fs::metadata(&path).and_then(|facts| facts.modified()).ok();
            rows.push(Row { name: format!("{}{revision}:{tag}", folder.repo), found: model.clone(), path, modified });
        }
    }
    Ok(rows)
}
