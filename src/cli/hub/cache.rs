//! The cache of downloaded models, in the layout that huggingface_hub and llama.cpp share.
//!
//! ```text
//! models--ORG--REPO/
//!   refs/main                    a commit
//!   blobs/ETAG                   bytes
//!   blobs/ETAG.incomplete        the beginning of them
//!   snapshots/COMMIT/PATH        a relative link to a blob
//! .locks/models--ORG--REPO/ETAG.lock
//! ```
//!
//! Every name in it is checked before it becomes part of a path, those that other programs wrote too.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::choice::Entry;
use super::name::{Repo, is_commit, is_etag, is_path};
use crate::cli::failure::{Failure, Result};

/// The deepest folder in a snapshot that is looked into.
const DEEPEST: usize = 16;

/// The folder of all repositories.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// The folder of one repository.
#[derive(Debug, Clone)]
pub(crate) struct RepoFolder {
    pub(crate) repo: Repo,
    root: PathBuf,
    locks: PathBuf,
}

impl Cache {
    /// The folder that is named, or that the environment names; as huggingface_hub looks for it.
    pub(crate) fn open(named: Option<&Path>) -> Result<Self> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = named
            .map(Path::to_owned)
            .or_else(|| variable("HF_HUB_CACHE"))
            .or_else(|| variable("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| hf_home().map(|home| home.join("hub")))
            .ok_or_else(|| {
                Failure::usage("found no folder for models (expected HOME, HF_HOME or HF_HUB_CACHE in the environment)")
                    .hint("--cache-dir FOLDER names one")
            })?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn repo(&self, repo: &Repo) -> RepoFolder {
        let folder = repo.folder();
        RepoFolder { repo: repo.clone(), root: self.root.join(&folder), locks: self.root.join(".locks").join(&folder) }
    }

    /// All repositories that are there, sorted by name.
    pub(crate) fn repos(&self) -> Result<Vec<RepoFolder>> {
        let mut repos = Vec::new();
        for entry in entries(&self.root)? {
            if let Some(repo) = entry.file_name().to_str().and_then(Repo::of_folder) {
                repos.push(self.repo(&repo));
            }
        }
        repos.sort_by_key(|folder| folder.repo.to_string());
        Ok(repos)
    }
}

impl RepoFolder {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The commit that a revision is known to mean.
    pub(crate) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return self.snapshot(revision).is_dir().then(|| revision.to_owned());
        }
        let text = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// All snapshots' commits, sorted.
    pub(crate) fn commits(&self) -> Result<Vec<String>> {
        let names = entries(&self.root.join("snapshots"))?.into_iter();
        let mut commits: Vec<_> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        commits.retain(|commit| is_commit(commit));
        commits.sort();
        Ok(commits)
    }

    /// Revisions and the commits that they mean.
    pub(crate) fn refs(&self) -> Result<Vec<(String, String)>> {
        let refs = self.root.join("refs");
        let mut found = Vec::new();
        walk(&refs, &mut |path, _| {
            let name = relative(&refs, path);
            if let Some((name, commit)) = name.and_then(|name| self.commit(&name).map(|commit| (name, commit))) {
                found.push((name, commit));
            }
        })?;
        Ok(found)
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// Files of a snapshot that are there with their bytes.
    pub(crate) fn files(&self, commit: &str) -> Result<Vec<Entry>> {
        let root = self.snapshot(commit);
        let mut files = Vec::new();
        walk(&root, &mut |path, facts| {
            if let Some(path) = relative(&root, path) {
                files.push(Entry { path, size: facts.len() });
            }
        })?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The file that whoever downloads a blob locks.
    pub(crate) fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    /// Beginnings of blobs, with their sizes and times.
    pub(crate) fn parts(&self) -> Result<Vec<(PathBuf, Metadata)>> {
        self.blobs_if(|name| name.strip_suffix(".incomplete").is_some_and(is_etag))
    }

    /// Blobs under their final names, with their sizes and times.
    pub(crate) fn whole_blobs(&self) -> Result<Vec<(PathBuf, Metadata)>> {
        self.blobs_if(is_etag)
    }

    fn blobs_if(&self, is_meant: fn(&str) -> bool) -> Result<Vec<(PathBuf, Metadata)>> {
        let mut blobs = Vec::new();
        for entry in entries(&self.blobs())? {
            if let (true, Ok(facts)) = (entry.file_name().to_str().is_some_and(is_meant), entry.metadata()) {
                blobs.push((entry.path(), facts));
            }
        }
        Ok(blobs)
    }
}

/// What a download does.
#[cfg(feature = "pull")]
impl RepoFolder {
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.blobs().join(etag)
    }

    /// The beginning of a blob that is being downloaded.
    pub(crate) fn part(&self, etag: &str) -> PathBuf {
        self.blobs().join(format!("{etag}.incomplete"))
    }

    /// Puts a blob into a snapshot: as a link, or where there are none, as a second name or a copy.
    pub(crate) fn link(&self, commit: &str, path: &str, etag: &str) -> Result<()> {
        let at = self.snapshot(commit).join(path);
        let blob = self.blob(etag);
        let fail = |e: io::Error| Failure::io(format_args!("cannot create {}", at.display()), &e);
        let is_there = |at: &Path| matches!((fs::canonicalize(at), fs::canonicalize(&blob)), (Ok(a), Ok(b)) if a == b);
        if is_there(&at) {
            return Ok(());
        }
        let folder = at.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(fail)?;
        let mut fresh = at.clone().into_os_string();
        fresh.push(format!(".{}.new", std::process::id()));
        let fresh = PathBuf::from(fresh);
        let _ = fs::remove_file(&fresh);
        let target = format!("{}../../blobs/{etag}", "../".repeat(path.matches('/').count()));
        symbolic_link(&target, &fresh)
            .or_else(|_| fs::hard_link(&blob, &fresh))
            .or_else(|_| fs::copy(&blob, &fresh).map(drop))
            .and_then(|()| fs::rename(&fresh, &at))
            .map_err(fail)
    }

    /// Writes down what commit a revision means, for all who come later.
    pub(crate) fn set_ref(&self, revision: &str, commit: &str) -> Result<()> {
        if is_commit(revision) {
            return Ok(());
        }
        let at = self.root.join("refs").join(revision);
        let fail = |e: io::Error| Failure::io(format_args!("cannot write {}", at.display()), &e);
        fs::create_dir_all(at.parent().unwrap_or(&self.root)).map_err(fail)?;
        let fresh = at.with_extension(format!("{}.new", std::process::id()));
        fs::write(&fresh, commit).and_then(|()| fs::rename(&fresh, &at)).map_err(fail)
    }
}

/// `$HF_HOME`, or where it is if nobody says.
pub(crate) fn hf_home() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("HF_HOME")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache").join("huggingface")))
}

#[cfg(all(unix, feature = "pull"))]
fn symbolic_link(target: &str, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

#[cfg(all(windows, feature = "pull"))]
fn symbolic_link(target: &str, at: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target.replace('/', "\\"), at)
}

/// What is in a folder; nothing, if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    let fail = |e: io::Error| Failure::io(folder.display(), &e);
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect::<io::Result<_>>().map_err(fail),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(fail(e)),
    }
}

/// All ordinary files below a folder, with the facts of what links lead to. Links to folders are not followed.
fn walk(folder: &Path, visit: &mut dyn FnMut(&Path, &Metadata)) -> Result<()> {
    fn step(folder: &Path, depth: usize, visit: &mut dyn FnMut(&Path, &Metadata)) -> Result<()> {
        for entry in entries(folder)? {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if depth < DEEPEST {
                    step(&path, depth + 1, visit)?;
                }
            } else if let Some(facts) = fs::metadata(&path).ok().filter(Metadata::is_file) {
                visit(&path, &facts);
            }
        }
        Ok(())
    }
    step(folder, 0, visit)
}

/// A path below a folder, with `/`, if it is one that we would write.
fn relative(root: &Path, path: &Path) -> Option<String> {
    let parts: Option<Vec<_>> = path.strip_prefix(root).ok()?.iter().map(|part| part.to_str()).collect();
    Some(parts?.join("/")).filter(|path| is_path(path))
}
