//! From a path to the bytes of a file.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use super::cursor::reserve;
use super::{FileBytes, LoadMode};
use crate::error::{Error, GgufError, Result};
use crate::threads::CancelToken;

/// Bytes between two looks at the cancel token.
const PIECE: u64 = 8 << 20;

/// Loads files and reports how far it is.
pub(super) struct Loader<'a> {
    pub(super) mode: LoadMode,
    pub(super) cancel: &'a CancelToken,
    pub(super) progress: &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    /// Bytes of the files that are loaded.
    pub(super) done: u64,
    /// Bytes of all files.
    pub(super) total: u64,
}

impl Loader<'_> {
    /// The bytes of a file, and what it takes to notice later that a mapped file has changed.
    pub(super) fn load(&mut self, path: &Path) -> Result<(FileBytes, Option<Watch>)> {
        self.check()?;
        let file = open_regular(path)?;
        let meta = file.metadata().map_err(|e| io("cannot look at", path, e))?;
        let watch = Watch { stamp: Stamp::of(&meta), file };
        let end = self.done.saturating_add(meta.len());
        self.total = self.total.max(end);
        let loaded = match self.mode {
            LoadMode::Mmap => (FileBytes::Mapped(map(&watch.file, meta.len(), path)?), Some(watch)),
            LoadMode::Read => {
                let bytes = self.read(&watch.file, meta.len(), path)?;
                watch.check(path)?;
                (FileBytes::Owned(bytes), None)
            }
        };
        self.done = end;
        self.check()?;
        Ok(loaded)
    }

    fn read(&mut self, file: &File, len: u64, path: &Path) -> Result<Vec<u8>> {
        let mut bytes = reserve(len, &path.display().to_string())?;
        while (bytes.len() as u64) < len {
            let piece = PIECE.min(len - bytes.len() as u64);
            let n = file.take(piece).read_to_end(&mut bytes).map_err(|e| io("cannot read", path, e))?;
            if n == 0 {
                return Err(Error::FileChanged(format!("{} became shorter while it was read", path.display())));
            }
            self.done = self.done.saturating_add(n as u64);
            self.check()?;
        }
        Ok(bytes)
    }

    /// Tells the caller how far it is, and whether to go on.
    fn check(&mut self) -> Result<()> {
        if self.cancel.is_cancelled() || (self.progress)(self.done, self.total).is_break() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}

/// Notices that a file is no longer as it was.
#[derive(Debug)]
pub(super) struct Watch {
    file: File,
    stamp: Stamp,
}

impl Watch {
    /// [`Error::FileChanged`] if the file has changed since it was opened.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        let meta = self.file.metadata().map_err(|e| io("cannot look at", path, e))?;
        if !self.stamp.shows_same_content(&Stamp::of(&meta)) {
            return Err(Error::FileChanged(path.display().to_string()));
        }
        Ok(())
    }
}

/// What changes when a file's content does.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    #[cfg(unix)]
    inode: (u64, u64),
    #[cfg(unix)]
    links: u64,
    #[cfg(unix)]
    modified: (i64, i64),
    #[cfg(unix)]
    changed: (i64, i64),
    #[cfg(not(unix))]
    modified: Option<std::time::SystemTime>,
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            size: meta.len(),
            #[cfg(unix)]
            inode: (meta.dev(), meta.ino()),
            #[cfg(unix)]
            links: meta.nlink(),
            #[cfg(unix)]
            modified: (meta.mtime(), meta.mtime_nsec()),
            #[cfg(unix)]
            changed: (meta.ctime(), meta.ctime_nsec()),
            #[cfg(not(unix))]
            modified: meta.modified().ok(),
        }
    }

    /// The time of the last change of the inode (ctime) cannot be set back by a program that writes. It moves as well when
    /// a name of the file comes or goes, which the number of links tells: a file that was deleted, or replaced by a
    /// rename, lives on in its map.
    #[cfg(unix)]
    fn shows_same_content(&self, now: &Self) -> bool {
        let facts = |stamp: &Self| (stamp.size, stamp.inode, stamp.modified);
        facts(self) == facts(now) && (self.changed == now.changed || self.links != now.links)
    }

    #[cfg(not(unix))]
    fn shows_same_content(&self, now: &Self) -> bool {
        self == now
    }
}

/// Opens a file that has bytes of its own. Never waits: neither for the other end of a pipe nor for a device.
fn open_regular(path: &Path) -> Result<File> {
    let fail = |e| io("cannot open", path, e);
    // Before opening, because opening a device can have effects; and after it, because the path may mean another file by then.
    check_regular(path, &std::fs::metadata(path).map_err(fail)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path).map_err(fail)?;
    check_regular(path, &file.metadata().map_err(fail)?)?;
    Ok(file)
}

fn check_regular(path: &Path, meta: &Metadata) -> Result<()> {
    let found = match meta.is_file() {
        true if meta.len() > 0 => return Ok(()),
        true => "an empty file",
        false => special_kind(meta),
    };
    Err(Error::Gguf {
        file: path.display().to_string(),
        source: GgufError::Malformed {
            at: 0,
            what: "kind of file".into(),
            found: found.into(),
            expected: "a regular file with content".into(),
        },
    })
}

fn special_kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_dir() {
        return "a directory";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    "a special file"
}

fn map(file: &File, len: u64, path: &Path) -> Result<memmap2::Mmap> {
    let too_large = || Error::OutOfMemory { what: path.display().to_string(), needed: len, limit: usize::MAX as u64 };
    let len = usize::try_from(len).map_err(|_| too_large())?;
    // SAFETY: the map is private to us and read-only, and as long as the file was a moment ago, so every page of it
    // exists. It cannot be proved that it stays so: another process may write to the file (then we read other bytes:
    // all code that reads model files keeps its checks at the place of use, and `Watch` notices the change), or cut
    // it (then the system sends SIGBUS on touching a page beyond the end). Nobody can prevent this from inside of a
    // process; `LoadMode::Read` exists for files that others may touch, and the documentation of `LoadMode` says so.
    unsafe { memmap2::MmapOptions::new().len(len).map(file) }.map_err(|e| io("cannot map", path, e))
}

fn io(attempt: &str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { what: format!("{attempt} {}", path.display()), source }
}
