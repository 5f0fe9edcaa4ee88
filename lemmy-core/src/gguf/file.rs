//! One model: the parts of its file, its keys, its tensor table.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cursor::shown;
use super::header::Header;
use super::load::{Loader, Watch};
use super::names::NameIndex;
use super::split::{self, Split};
use super::{FileBytes, SharedBytes, TensorInfo, Value};
use crate::error::{Error, GgufError, Result};
use crate::threads::CancelToken;

/// How a file gets into memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadMode {
    /// Map the file; pages come when they are touched and are shared between processes.
    ///
    /// Other programs must leave the file alone meanwhile: one that writes to it changes the weights under our feet
    /// (noticed by [`Gguf::check_unchanged`]); one that truncates it makes the system end this process with SIGBUS when
    /// a lost page is touched.
    #[default]
    Mmap,
    /// Read it into memory; later changes of the file cannot hurt.
    Read,
}

/// A parsed GGUF model. A clone is a reference count.
///
/// ```
/// use lemmy_core::gguf::{FileBytes, Gguf, GgufWriter};
/// use lemmy_core::quant::DType;
///
/// let mut writer = GgufWriter::new();
/// writer.key("general.architecture", "gemma4");
/// writer.tensor("output_norm.weight", DType::F32, &[2])?;
/// let mut data = writer.begin(Vec::new())?;
/// data.write(&[0; 8])?;
/// let file = data.finish()?;
///
/// let model = Gguf::from_bytes(FileBytes::Owned(file))?;
/// assert_eq!(model.get("general.architecture").and_then(|v| v.as_str()), Some("gemma4"));
/// let norm = model.tensor("output_norm.weight").expect("written above");
/// assert_eq!(model.tensor_bytes(norm).as_slice(), [0; 8]);
/// # Ok::<(), lemmy_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Gguf(Arc<Inner>);

struct Inner {
    name: String,
    /// The first part's header; its tensor list holds the tensors of all parts.
    header: Header,
    tensor_index: NameIndex,
    parts: Vec<Part>,
}

struct Part {
    path: PathBuf,
    bytes: Arc<FileBytes>,
    watch: Option<Watch>,
}

impl Gguf {
    /// Opens a file and, if it is the first of a split model, the other parts beside it.
    ///
    /// `progress(done, total)` counts bytes read or mapped; it is called before and after each part and, while a part is
    /// read ([`LoadMode::Read`]), every few megabytes. Answering `Break` gives [`Error::Cancelled`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses, [`Error::Gguf`] if the file is none (a directory, a pipe, a device), if its
    /// content is damaged or hostile, or if parts do not belong together, [`Error::OutOfMemory`], [`Error::Cancelled`],
    /// and [`Error::FileChanged`] if somebody writes while we read.
    pub fn open(
        path: &Path,
        mode: LoadMode,
        cancel: &CancelToken,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Self> {
        let mut loader = Loader { mode, cancel, progress, done: 0, total: expected_bytes(path) };
        let name = path.display().to_string();
        let (part, mut header) = open_part(&mut loader, path, 0)?;
        let mut parts = vec![part];

        let in_file = |source| Error::Gguf { file: name.clone(), source };
        if let Some(split) = Split::of(&header).map_err(in_file)? {
            split.check_first().map_err(in_file)?;
            for (no, path) in split::parts(path, split.count).map_err(in_file)?.iter().enumerate().skip(1) {
                let (part, mut part_header) = open_part(&mut loader, path, no)?;
                split
                    .check_part(no, &header, &part_header)
                    .map_err(|source| Error::Gguf { file: path.display().to_string(), source })?;
                header.tensors.append(&mut part_header.tensors);
                parts.push(part);
            }
            split.check_tensors(header.tensors.len()).map_err(in_file)?;
        }
        Self::assemble(name, header, parts)
    }

    /// Parses bytes that the caller has. They must be a whole model, not a part of a split one.
    ///
    /// # Errors
    ///
    /// [`Error::Gguf`] if they are damaged, hostile, or one of several parts; [`Error::OutOfMemory`].
    pub fn from_bytes(bytes: impl Into<Arc<FileBytes>>) -> Result<Self> {
        let name = "(bytes)";
        let bytes = bytes.into();
        let header = Header::parse(name, &bytes, 0)?;
        let in_bytes = |source| Error::Gguf { file: name.into(), source };
        if let Some(split) = Split::of(&header).map_err(in_bytes)? {
            split.check_first().map_err(in_bytes)?;
            split::parts(Path::new(name), split.count).map_err(in_bytes)?;
            split.check_tensors(header.tensors.len()).map_err(in_bytes)?;
        }
        Self::assemble(name.into(), header, vec![Part { path: PathBuf::new(), bytes, watch: None }])
    }

    fn assemble(name: String, header: Header, parts: Vec<Part>) -> Result<Self> {
        let in_model = |source| Error::Gguf { file: name.clone(), source };
        let tensor_index = NameIndex::new(&header.tensors, |t| &t.name).map_err(|tensor| {
            in_model(GgufError::Tensor {
                tensor: shown(&tensor),
                found: "it twice".into(),
                expected: "every tensor once".into(),
            })
        })?;
        Ok(Self(Arc::new(Inner { name, header, tensor_index, parts })))
    }

    /// Name for messages: the path, or "(bytes)".
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Container version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.0.header.version
    }

    /// Bytes of all parts together.
    pub fn file_bytes(&self) -> u64 {
        self.0.parts.iter().map(|part| part.bytes.len() as u64).sum()
    }

    /// Parts of a split model, 1 for a whole one.
    pub fn parts(&self) -> usize {
        self.0.parts.len()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.header.get(key)
    }

    /// All keys in the file's order; of a split model those of its first part.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.header.keys.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// All tensors in the file's order, part by part.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.0.header.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.0.tensor_index.find(self.tensors(), name, |t| &t.name)
    }

    /// The bytes of a tensor of this model; empty for a tensor of another, if they lie outside of this one's file.
    pub fn tensor_bytes(&self, tensor: &TensorInfo) -> SharedBytes {
        let piece = || {
            let source = self.0.parts.get(tensor.part)?.bytes.clone();
            SharedBytes::new(source, tensor.offset.try_into().ok()?, tensor.bytes.try_into().ok()?)
        };
        piece().unwrap_or_else(|| Vec::new().into())
    }

    /// Puts this model's name on an error of its content.
    pub fn error(&self, e: GgufError) -> Error {
        Error::Gguf { file: self.0.name.clone(), source: e }
    }

    /// [`Error::FileChanged`] if a mapped file is no longer the one that was opened: its length, its time of
    /// modification or its inode's time of change differs. A file that was deleted or replaced by a rename is still the
    /// one that was opened. One question to the system per part; none for [`LoadMode::Read`].
    pub fn check_unchanged(&self) -> Result<()> {
        self.0.parts.iter().try_for_each(|part| part.watch.as_ref().map_or(Ok(()), |watch| watch.check(&part.path)))
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("name", &self.0.name)
            .field("version", &self.0.header.version)
            .field("keys", &self.0.header.keys.len())
            .field("tensors", &self.0.header.tensors.len())
            .field("parts", &self.0.parts.len())
            .finish()
    }
}

/// Opens and parses one file.
fn open_part(loader: &mut Loader<'_>, path: &Path, no: usize) -> Result<(Part, Header)> {
    let (bytes, watch) = loader.load(path)?;
    let bytes = bytes.into();
    let header = Header::parse(&path.display().to_string(), &bytes, no)?;
    Ok((Part { path: path.into(), bytes, watch }, header))
}

/// Bytes that will be loaded, as far as names tell: the sum over all parts if they are all there.
fn expected_bytes(path: &Path) -> u64 {
    let size = |path: &PathBuf| std::fs::metadata(path).ok().map(|meta| meta.len());
    let parts = split::parts_by_name(path).and_then(|paths| paths.iter().map(size).sum());
    parts.or_else(|| size(&path.into())).unwrap_or(0)
}
