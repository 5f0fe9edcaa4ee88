//! A model from the hub: which files, how much is missing, and all of them or none.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::api::{Hub, RemoteFile, Trouble};
use super::blob::{self, Manner, Step};
use super::cache::RepoFolder;
use super::choice::{Entry, Found, choose, models, projector};
use super::name::{HubName, Pick};
use crate::cli::failure::{Failure, Result};

/// Which files beside the model itself.
#[derive(Debug, Clone, Default)]
pub(crate) enum Companion {
    /// The projector, if there is one.
    #[default]
    Usual,
    None,
    /// This projector: a file or a type.
    Named(String),
}

/// Files that make a model, and what is missing of them.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: HubName,
    pub(crate) commit: String,
    /// In the order of the models and their parts, projectors last.
    pub(crate) files: Vec<RemoteFile>,
    /// Bytes that are not there yet.
    pub(crate) missing: u64,
    first: String,
}

impl Plan {
    /// Asks the hub. With `all` every model of the repository.
    pub(crate) fn new(
        hub: &Hub,
        folder: &RepoFolder,
        name: &HubName,
        companion: &Companion,
        all: bool,
    ) -> Result<Self, Trouble> {
        let commit = hub.commit(&name.repo, &name.revision)?;
        let remote = hub.files(&name.repo, &commit)?;
        let entries: Vec<_> = remote.iter().map(|file| Entry { path: file.path.clone(), size: file.size }).collect();
        let chosen = if all { every(name, &entries)? } else { vec![choose(name, &entries)?] };
        let first = chosen.first().map(|found| found.path().to_owned()).unwrap_or_default();
        let mut paths: Vec<_> = chosen.iter().flat_map(|found| &found.parts).map(|part| part.path.clone()).collect();
        // Whoever names a file wants that file.
        let is_alone = matches!(name.pick, Pick::File(_)) && matches!(companion, Companion::Usual);
        if !is_alone && !matches!(companion, Companion::None) {
            let wish = if let Companion::Named(wish) = companion { Some(wish.as_str()) } else { None };
            for found in &chosen {
                paths.extend(projector(found, wish, &entries)?.map(|entry| entry.path));
            }
        }
        let mut seen = BTreeSet::new();
        paths.retain(|path| seen.insert(path.clone()));
        let find = |path: &String| remote.iter().find(|file| file.path == *path).cloned();
        let files: Vec<_> = paths.iter().filter_map(find).collect();
        let missing = files.iter().map(|file| missing(folder, file)).fold(0, u64::saturating_add);
        Ok(Self { name: name.clone(), commit, files, missing, first })
    }

    /// Where the model will be.
    pub(crate) fn path(&self, folder: &RepoFolder) -> PathBuf {
        folder.snapshot(&self.commit).join(&self.first)
    }

    /// Of all files together.
    pub(crate) fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }

    /// Downloads what is missing. Only when all is there and verified does the revision mean this commit.
    pub(crate) fn execute(
        &self,
        hub: &Arc<Hub>,
        folder: &RepoFolder,
        manner: &Manner,
        watcher: &mut dyn Watcher,
    ) -> Result<PathBuf, Trouble> {
        for file in &self.files {
            watcher.begin(file);
            let was_there = blob::fetch(hub, folder, &self.commit, file, manner, &mut |step| watcher.step(file, step))?;
            folder.link(&self.commit, &file.path, &file.etag)?;
            watcher.end(file, &folder.snapshot(&self.commit).join(&file.path), was_there)?;
        }
        folder.set_ref(&self.name.revision, &self.commit)?;
        Ok(self.path(folder))
    }
}

/// Whoever shows how far a download is.
pub(crate) trait Watcher {
    fn begin(&mut self, file: &RemoteFile);
    fn step(&mut self, file: &RemoteFile, step: Step);
    fn end(&mut self, file: &RemoteFile, path: &std::path::Path, was_there: bool) -> Result<()>;
}

fn every(name: &HubName, entries: &[Entry]) -> Result<Vec<Found>> {
    let all = models(entries).into_iter().collect::<Result<Vec<_>>>()?;
    match all.as_slice() {
        [] => Err(Failure::not_found(format!("{}: found no .gguf files", name.repo))),
        _ => Ok(all),
    }
}

/// Bytes of a file that are not there yet.
fn missing(folder: &RepoFolder, file: &RemoteFile) -> u64 {
    let len = |path: PathBuf| std::fs::metadata(path).map_or(0, |facts| facts.len());
    if len(folder.blob(&file.etag)) == file.size { 0 } else { file.size.saturating_sub(len(folder.part(&file.etag))) }
}
