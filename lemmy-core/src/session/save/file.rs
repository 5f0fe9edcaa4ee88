//! Saved sessions in files: whole, or not there.

#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::super::{Session, SessionBuilder};
use crate::error::{Error, Result};
use crate::model::Model;

impl Session {
    /// [`save`](Self::save)s to a file, which only the owner may read. A file of that name is replaced when the new one
    /// is whole and on the disk; until then, and after an error, it is as it was. Bytes written.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], also for a directory, a device or a pipe of that name; as [`save`](Self::save).
    pub fn save_file(&self, path: impl AsRef<Path>) -> Result<u64> {
        let path = path.as_ref();
        let target = target(path)?;
        let mut part = Part::create(&target)?;
        let mut writer = BufWriter::with_capacity(BUFFER, &mut part.file);
        let bytes = self.save(&mut writer)?;
        drop(writer);
        part.finish(&target)?;
        Ok(bytes)
    }
}

impl Model {
    /// [`restore`](Self::restore)s from a file that [`Session::save_file`] has written.
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore); [`Error::Session`] for bytes behind the session as well.
    pub fn restore_file(&self, path: impl AsRef<Path>) -> Result<Session> {
        self.session().restore_file(path)
    }
}

impl SessionBuilder {
    /// As [`Model::restore_file`], with this builder's cancel token.
    ///
    /// # Errors
    ///
    /// As [`Model::restore_file`].
    pub fn restore_file(self, path: impl AsRef<Path>) -> Result<Session> {
        let path = path.as_ref();
        let file = open(path)?;
        let mut reader = BufReader::with_capacity(BUFFER, file);
        let session = self.restore(&mut reader)?;
        match reader.read(&mut [0]).map_err(|e| failed("cannot read", path, e))? {
            0 => Ok(session),
            _ => {
                Err(Error::Session { what: "end", found: "more bytes".into(), expected: "the end of the file".into() })
            }
        }
    }
}

/// Bytes between us and the system.
const BUFFER: usize = 1 << 20;
/// Names that are tried for the unfinished file.
const MOST_NAMES: u32 = 1000;

/// The file that a name leads to, behind links; it must be a regular one if it is there.
fn target(path: &Path) -> Result<PathBuf> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => fs::canonicalize(path).map_err(|e| failed("cannot write", path, e)),
        Ok(_) => Err(failed("cannot write", path, not_regular())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(path.to_path_buf()),
        Err(e) => Err(failed("cannot write", path, e)),
    }
}

/// Opens a regular file; never waits for the other end of a pipe.
fn open(path: &Path) -> Result<File> {
    let fail = |e| failed("cannot open", path, e);
    if !fs::metadata(path).map_err(fail)?.is_file() {
        return Err(fail(not_regular()));
    }
    File::open(path).map_err(fail)
}

/// A file under another name beside its place, until it is whole. Removed when dropped unless it was finished.
struct Part {
    path: PathBuf,
    file: File,
    finished: bool,
}

impl Part {
    fn create(target: &Path) -> Result<Self> {
        let name = target.file_name().ok_or_else(|| failed("cannot write", target, not_regular()))?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // Several threads and processes may save at once, each to a name of its own.
        let mut number = 0;
        loop {
            let mut name = name.to_owned();
            name.push(format!(".{}-{number}.part", std::process::id()));
            let path = target.with_file_name(name);
            match options.open(&path) {
                Ok(file) => return Ok(Self { path, file, finished: false }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && number < MOST_NAMES => number += 1,
                Err(e) => return Err(failed("cannot create", &path, e)),
            }
        }
    }

    /// Makes it durable, then gives it its name.
    fn finish(mut self, target: &Path) -> Result<()> {
        self.file.flush().and_then(|()| self.file.sync_all()).map_err(|e| failed("cannot write", &self.path, e))?;
        fs::rename(&self.path, target).map_err(|e| failed("cannot replace", target, e))?;
        self.finished = true;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The name is durable when its folder is; systems that cannot do that for folders say so here.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

fn failed(what: &str, path: &Path, source: io::Error) -> Error {
    Error::Io { what: format!("{what} {}", path.display()), source }
}
