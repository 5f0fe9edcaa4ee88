//! From what stands for MODEL on the command line to a model's bytes.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lemmy_core::gguf::Gguf;
use lemmy_core::{CancelToken, LoadMode, Model, ModelBuilder};

use super::failure::{Failure, Result};
use super::hub::{self, HubArgs, HubName};
use super::nano;

/// Where a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    File(PathBuf),
    /// In the program itself.
    Nano,
}

impl Place {
    /// What `name` means: the embedded model, unless there is a file of its name; or as [`locate`].
    pub(crate) fn find(name: &str, hub: &HubArgs, with_tower: bool) -> Result<Self> {
        let is_file = || std::fs::metadata(name).is_ok_and(|facts| facts.is_file());
        if name == nano::NAME && !is_file() { Ok(Self::Nano) } else { locate(name, hub, with_tower).map(Self::File) }
    }

    /// Options for loading it.
    pub(crate) fn builder(&self) -> Result<ModelBuilder> {
        match self {
            Self::File(path) => Ok(Model::builder(path)),
            Self::Nano => Ok(Model::builder_from_bytes(nano::bytes()?)),
        }
    }

    /// Opens it for its keys and tensor table; its weights are not read.
    pub(crate) fn open_header(&self) -> Result<Gguf> {
        match self {
            Self::File(path) => {
                Ok(Gguf::open(path, LoadMode::Mmap, &CancelToken::new(), &mut |_, _| ControlFlow::Continue(()))?)
            }
            Self::Nano => Ok(Gguf::from_bytes(nano::bytes()?)?),
        }
    }
}

/// The file that `name` means: a file, the single model in a folder, the first part of a split model, or a model of
/// the hub, which is downloaded where it is not there yet; with its vision tower if that is wanted.
///
/// Only ordinary files are answered, so that whoever opens it cannot wait for a pipe for ever.
pub(crate) fn locate(name: &str, hub: &HubArgs, with_tower: bool) -> Result<PathBuf> {
    if name.is_empty() {
        return Err(Failure::usage("MODEL: found an empty name (expected the path of a .gguf file)"));
    }
    let path = expand_home(name);
    match std::fs::metadata(&path) {
        Ok(facts) if facts.is_dir() => model_in_folder(&path),
        Ok(facts) if facts.is_file() => readable(path),
        Ok(facts) => {
            let message = format!("{}: found {} (expected a GGUF file)", path.display(), kind_of(&facts));
            Err(Failure::bad_file("not_a_file", message))
        }
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Failure::io(path.display(), &e)),
        Err(_) if is_path(name) => Err(Failure::not_found(format!("{}: no such file", path.display()))),
        Err(_) => match HubName::parse(name)? {
            Some(found) => readable(hub::model(&found, hub, with_tower)?),
            None => Err(Failure::not_found(format!("{name}: no such file, and no name of a model")).hint(HINT)),
        },
    }
}

fn readable(path: PathBuf) -> Result<PathBuf> {
    match std::fs::File::open(&path) {
        Ok(_) => Ok(path),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            Err(Failure::usage(format!("{}: {e} (expected a file that you may read)", path.display())))
        }
        Err(e) => Err(Failure::io(path.display(), &e)),
    }
}

/// Whether a name can only be meant as a path.
fn is_path(name: &str) -> bool {
    name.starts_with(['.', '/', '~']) || name.to_ascii_lowercase().ends_with(".gguf") && !name.contains("://")
}

const HINT: &str =
    "lemmy list shows what is there, lemmy pull ORG/REPO:TAG downloads; without a model: lemmy run -p \"Hello\"";

/// `~/` is the home folder.
pub(crate) fn expand_home(name: &str) -> PathBuf {
    match (name.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => name.into(),
    }
}

fn model_in_folder(folder: &Path) -> Result<PathBuf> {
    let fail = |e: io::Error| Failure::io(folder.display(), &e);
    let mut models = Vec::new();
    let mut safetensors = false;
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        safetensors |= name.ends_with(".safetensors");
        if name.ends_with(".gguf") && is_model(&name) && path.is_file() {
            models.push(path);
        }
    }
    models.sort();
    match models.as_slice() {
        [one] => Ok(one.clone()),
        [] if safetensors => {
            let message = format!("{}: found safetensors (this release reads GGUF files)", folder.display());
            Err(Failure::bad_file("unsupported", message))
        }
        [] => Err(Failure::usage(format!("{}: found a folder without a .gguf model", folder.display()))),
        several => {
            let names: Vec<_> = several.iter().map(|p| p.display().to_string()).collect();
            let message =
                format!("{}: found {} models (expected one): {}", folder.display(), several.len(), names.join(", "));
            Err(Failure::usage(message).hint("name one of the files"))
        }
    }
}

/// Whether a lower-case file name is that of a model's companion.
pub(crate) fn is_companion(name: &str) -> bool {
    ["mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "draft"].iter().any(|word| name.contains(word))
}

/// Whether a lower-case file name is a model's own (first) file.
fn is_model(name: &str) -> bool {
    !is_companion(name) && part_number(name).is_none_or(|(part, _)| part == 1)
}

/// `(2, 3)` of `model-00002-of-00003.gguf`.
pub(crate) fn part_number(name: &str) -> Option<(u32, u32)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (_, part) = rest.rsplit_once('-')?;
    (part.len() == 5 && count.len() == 5).then_some(())?;
    Some((part.parse().ok()?, count.parse().ok()?))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Nano => f.write_str(nano::NAME),
        }
    }
}

/// What something is that is no ordinary file.
pub(crate) fn kind_of(facts: &Metadata) -> &'static str {
    if facts.is_dir() {
        return "a folder";
    } else if facts.is_symlink() {
        return "a link";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = facts.file_type();
        if kind.is_fifo() {
            return "a named pipe";
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    "something that is no file"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_split_models() {
        assert_eq!(part_number("m-00002-of-00003.gguf"), Some((2, 3)));
        assert_eq!(part_number("m-2-of-3.gguf"), None);
        assert_eq!(part_number("m.gguf"), None);
    }

    #[test]
    fn companions_are_no_models() {
        assert!(is_model("gemma-q4_k_m.gguf"));
        assert!(is_model("gemma-00001-of-00002.gguf"));
        assert!(!is_model("gemma-00002-of-00002.gguf"));
        assert!(!is_model("mmproj-f16.gguf"));
        assert!(!is_model("mtp-head.gguf"));
    }

    #[test]
    fn names_and_paths() {
        assert!(is_path("a.gguf") && is_path("./a") && is_path("~/a") && is_path("/a"));
        assert!(!is_path("org/repo") && !is_path("nano") && !is_path("https://host/a.gguf"));
    }
}
