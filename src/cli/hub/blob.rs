//! One file from the hub to its place in the cache: resumed, verified, and under its final name only when it is whole.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lemmy_core::CancelToken;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::api::{Hub, RemoteFile, Trouble};
use super::cache::RepoFolder;
use super::stream::{Broken, Source};
use crate::cli::digest::hex;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::note;
use crate::cli::units::bytes;

/// Free space that a download leaves.
const RESERVE: u64 = 256 << 20;
/// Files above this come over several connections, if nothing else is said.
const LARGE: u64 = 1 << 30;
const CONNECTIONS: usize = 4;

/// How to download.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    pub(crate) connections: Option<usize>,
    /// Bytes a second, at most.
    pub(crate) rate: Option<u64>,
    pub(crate) cancel: CancelToken,
}

/// What happens to a file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// So many bytes are on disk.
    Download(u64),
    /// So many bytes that were there were read again.
    Verify(u64),
}

/// Makes sure that the bytes of a file are in the cache. Whether they were there already.
pub(crate) fn fetch(
    hub: &Arc<Hub>,
    folder: &RepoFolder,
    commit: &str,
    file: &RemoteFile,
    manner: &Manner,
    watch: &mut dyn FnMut(Step),
) -> Result<bool, Trouble> {
    if is_whole(&folder.blob(&file.etag), file.size) {
        return Ok(true);
    }
    hub.check(&folder.repo, commit, file)?;
    let _lock = lock(&folder.lock(&file.etag), file, &manner.cancel)?;
    if is_whole(&folder.blob(&file.etag), file.size) {
        note(format_args!("{}: another process has downloaded it", file.path));
        return Ok(true);
    }
    let mut part = Part::open(folder, file)?;
    check_space(&folder.blobs(), file.size.saturating_sub(part.held()))?;
    part.reserve();
    part.digest_again(&manner.cancel, &mut |done| watch(Step::Verify(done)))?;
    let address = hub.address(&folder.repo, commit, &file.path);
    let source = Arc::new(Source::new(hub.clone(), folder.repo.clone(), address, file.size));
    for is_last in [false, true] {
        part.fill(&source, manner, watch)?;
        match part.digest.clone().hex() {
            found if found == file.etag => {
                part.finish(&folder.blob(&file.etag))?;
                return Ok(false);
            }
            found if is_last => {
                let _ = fs::remove_file(&part.path);
                let message =
                    format!("{}: {}: found the digest {found} (expected {})", folder.repo, file.path, file.etag);
                let hint = "the bytes were changed on their way or at the hub; they were thrown away";
                return Err(Failure::bad_file("digest", message).hint(hint).into());
            }
            _ => {
                note(format_args!("note: {}: the digest is wrong; downloading it again from its beginning", file.path));
                part.restart()?;
            }
        }
    }
    Ok(false)
}

/// Whether the blob is there. Its name came last, when its bytes were right.
fn is_whole(blob: &Path, size: u64) -> bool {
    fs::metadata(blob).is_ok_and(|facts| facts.is_file() && facts.len() == size)
}

/// Waits until no other process downloads the same.
fn lock(path: &Path, file: &RemoteFile, cancel: &CancelToken) -> Result<File> {
    let fail = |e: io::Error| Failure::io(format_args!("cannot lock {}", path.display()), &e);
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(fail)?;
    let lock = File::options().write(true).create(true).truncate(false).open(path).map_err(fail)?;
    let mut is_told = false;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => return Ok(lock),
            Err(TryLockError::Error(e)) => return Err(fail(e)),
            Err(TryLockError::WouldBlock) if cancel.is_cancelled() => return Err(Failure::signal(false)),
            Err(TryLockError::WouldBlock) => {
                if !is_told {
                    note(format_args!("{}: another process is downloading it; waiting", file.path));
                    is_told = true;
                }
                sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Refuses to begin what the disk cannot hold.
fn check_space(folder: &Path, missing: u64) -> Result<()> {
    let needed = missing.saturating_add(RESERVE);
    match free_space(folder) {
        Some(free) if free < needed => {
            let message = format!("{}: needs {} ({} free)", folder.display(), bytes(needed), bytes(free));
            Err(Failure::resources("storage_full", message).hint("lemmy list shows what takes room, lemmy rm frees it"))
        }
        _ => Ok(()),
    }
}

/// Bytes that can still be written where a folder is, if the system tells.
#[cfg(unix)]
pub(crate) fn free_space(folder: &Path) -> Option<u64> {
    let facts = nix::sys::statvfs::statvfs(folder).ok()?;
    // The types differ between systems.
    #[allow(clippy::useless_conversion)]
    let (blocks, size) = (u64::try_from(facts.blocks_available()).ok()?, u64::try_from(facts.fragment_size()).ok()?);
    blocks.checked_mul(size)
}

/// Bytes that can still be written where a folder is: the system is not asked.
#[cfg(not(unix))]
pub(crate) fn free_space(_: &Path) -> Option<u64> {
    None
}

/// The beginning of a file, and the digest of it.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
    len: u64,
    size: u64,
    digest: Digester,
}

impl Part {
    /// Takes over what another run, or another tool, has left.
    fn open(folder: &RepoFolder, wanted: &RemoteFile) -> Result<Self> {
        let path = folder.part(&wanted.etag);
        let fail = |e: io::Error| Failure::io(format_args!("cannot create {}", path.display()), &e);
        fs::create_dir_all(folder.blobs()).map_err(fail)?;
        // A link would lead what is written elsewhere.
        if fs::symlink_metadata(&path).is_ok_and(|facts| !facts.is_file()) {
            return Err(Failure::failed("io", format!("{}: found something that is no file", path.display())));
        }
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        let digest = Digester::new(&wanted.etag, wanted.size);
        let mut part = Self { path, file, len, size: wanted.size, digest };
        if part.len > part.size {
            part.restart()?;
        }
        Ok(part)
    }

    /// Bytes that the disk holds for it already: what is written, and what an earlier run had set aside.
    fn held(&self) -> u64 {
        #[cfg(unix)]
        if let Ok(facts) = self.file.metadata() {
            use std::os::unix::fs::MetadataExt;
            return self.len.max(facts.blocks().saturating_mul(512));
        }
        self.len
    }

    /// Lets the system set the room aside, without changing the length; where it cannot, writing will tell.
    fn reserve(&self) {
        #[cfg(target_os = "linux")]
        {
            use nix::fcntl::{FallocateFlags, fallocate};
            if let (Ok(from), Ok(more)) = (i64::try_from(self.len), i64::try_from(self.size - self.len)) {
                let _ = fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, more);
            }
        }
    }

    /// Reads what is there.
    fn digest_again(&mut self, cancel: &CancelToken, watch: &mut dyn FnMut(u64)) -> Result<()> {
        let mut piece = vec![0; 1 << 20];
        let mut done = 0;
        self.file.rewind().map_err(|e| self.failure(&e))?;
        while done < self.len {
            if cancel.is_cancelled() {
                return Err(Failure::signal(false));
            }
            let read = self.file.read(&mut piece).map_err(|e| self.failure(&e))?;
            if read == 0 {
                break;
            }
            self.digest.update(piece.get(..read).unwrap_or_default());
            done += read as u64;
            watch(done);
        }
        self.len = done;
        Ok(())
    }

    /// Downloads what is missing. A server that cannot begin in the middle gets one try for the whole.
    fn fill(&mut self, source: &Arc<Source>, manner: &Manner, watch: &mut dyn FnMut(Step)) -> Result<(), Trouble> {
        let usual = if self.size > LARGE { CONNECTIONS } else { 1 };
        let mut connections = manner.connections.unwrap_or(usual).max(1);
        for is_last in [false, true] {
            let (began, from) = (Instant::now(), self.len);
            let mut write = |bytes: &[u8]| {
                self.append(bytes)?;
                watch(Step::Download(self.len));
                hold_back(self.len - from, began, manner);
                Ok(())
            };
            match source.stream(from, connections, &manner.cancel, &mut write) {
                Ok(()) => return Ok(()),
                Err(Broken::Stopped) => return Err(Failure::signal(false).into()),
                Err(Broken::Trouble(trouble)) => return Err(trouble),
                Err(Broken::NoRanges) if is_last => break,
                Err(Broken::NoRanges) => {
                    if self.len > 0 {
                        note(format_args!("note: the hub cannot go on in the middle of this file; beginning again"));
                    }
                    self.restart()?;
                    connections = 1;
                }
            }
        }
        let message =
            format!("{}: {}: the hub breaks off and cannot go on in the middle", source.repo, self.path.display());
        Err(Failure::failed("hub", message).into())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.seek(SeekFrom::Start(self.len)).and_then(|_| self.file.write_all(bytes));
        if let Err(e) = written {
            // A piece that was written by half is no part of the beginning.
            let _ = self.file.set_len(self.len);
            return Err(self.failure(&e).hint("make room; the same command then goes on where this one stopped"));
        }
        self.digest.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|e| self.failure(&e))?;
        self.len = 0;
        self.digest = self.digest.fresh(self.size);
        Ok(())
    }

    /// Makes it durable, then gives it its name.
    fn finish(&self, blob: &Path) -> Result<()> {
        self.file.sync_all().map_err(|e| self.failure(&e))?;
        fs::rename(&self.path, blob).map_err(|e| Failure::io(format_args!("cannot create {}", blob.display()), &e))?;
        if let Some(folder) = blob.parent() {
            // Systems that cannot do that for folders say so here.
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }

    fn failure(&self, e: &io::Error) -> Failure {
        Failure::io(format_args!("cannot write {}", self.path.display()), e)
    }
}

/// Waits while the download is faster than it may be.
fn hold_back(done: u64, began: Instant, manner: &Manner) {
    let Some(rate) = manner.rate.filter(|rate| *rate > 0) else { return };
    let due = Duration::from_millis(done.saturating_mul(1000) / rate);
    while began.elapsed() < due && !manner.cancel.is_cancelled() {
        sleep((due.saturating_sub(began.elapsed())).min(Duration::from_millis(50)));
    }
}

/// Computes what a blob is named by: SHA-256, or for small files the SHA-1 of git, which covers the length too.
#[derive(Debug, Clone)]
enum Digester {
    Large(Sha256),
    Small(Sha1),
}

impl Digester {
    fn new(etag: &str, size: u64) -> Self {
        if etag.len() == 64 { Self::Large(Sha256::new()) } else { Self::git(size) }
    }

    fn git(size: u64) -> Self {
        Self::Small(Sha1::new_with_prefix(format!("blob {size}\0")))
    }

    fn fresh(&self, size: u64) -> Self {
        match self {
            Self::Large(_) => Self::Large(Sha256::new()),
            Self::Small(_) => Self::git(size),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Large(digest) => digest.update(bytes),
            Self::Small(digest) => digest.update(bytes),
        }
    }

    fn hex(self) -> String {
        match self {
            Self::Large(digest) => hex(digest.finalize().as_slice()),
            Self::Small(digest) => hex(digest.finalize().as_slice()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn room_that_was_set_aside_is_not_asked_for_again() {
        let path = std::env::temp_dir().join(format!("lemmy-reserve-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let size = 4 << 20;
        let part = Part { path: path.clone(), file, len: 0, size, digest: Digester::new(&"0".repeat(64), size) };
        part.reserve();
        // A file system that cannot set room aside holds nothing.
        let is_set_aside = nix::fcntl::fallocate(&part.file, nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 4096);
        assert_eq!(part.held() >= size, is_set_aside.is_ok());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn digests() {
        let digest = |etag_len: usize, bytes: &[u8]| {
            let mut digest = Digester::new(&"0".repeat(etag_len), bytes.len() as u64);
            digest.update(bytes);
            digest.hex()
        };
        // FIPS 180-4, and what `printf abc | git hash-object --stdin` says.
        assert_eq!(digest(64, b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest(40, b"abc"), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
    }
}
