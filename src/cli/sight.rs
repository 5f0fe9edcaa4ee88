//! Pictures and the tower that sees them: flags, files, and the next step for who lacks one.

use std::path::{Path, PathBuf};

use lemmy_core::chat::Image;
use lemmy_core::limits;
use lemmy_core::vision::{Alpha, Budget, Layout, decode};

use super::failure::{Failure, Result};
use super::locate::{Place, expand_home, kind_of};
use super::output::note;

/// The file with a model's vision tower.
#[derive(Debug, clap::Args)]
pub(crate) struct TowerArgs {
    /// File with the model's vision tower
    #[arg(long, value_name = "FILE", env = "LEMMY_MMPROJ", hide_env = true)]
    mmproj: Option<String>,
    /// Take no vision tower, and download none
    #[arg(long, conflicts_with = "mmproj", hide = true)]
    no_mmproj: bool,
}

impl TowerArgs {
    /// Whether the model may get a tower.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.no_mmproj
    }

    /// The file that was named, if one was.
    pub(crate) fn file(&self) -> Result<Option<PathBuf>> {
        self.mmproj.as_deref().map(|name| ordinary(name).map(|(path, _)| path)).transpose()
    }

    /// The same; where pictures are shown and none was named, the one that lies beside the model.
    fn needed(&self, place: &Place) -> Result<PathBuf> {
        if let Some(file) = self.file()? {
            return Ok(file);
        }
        let missing = || Failure::usage("--image: found no vision tower for the model (expected --mmproj FILE)");
        let Place::File(model) = place else {
            return Err(missing().hint("lemmy run model.gguf --mmproj mmproj.gguf --image cat.jpg \"What is this?\""));
        };
        match towers_beside(model).as_slice() {
            [one] => {
                note(format_args!("note: seeing with {} (--mmproj chooses)", one.display()));
                Ok(one.clone())
            }
            [] => Err(missing().hint("the model's publisher has it as a file of its own, such as mmproj-F16.gguf")),
            several => {
                let names: Vec<_> = several.iter().map(|path| format!("--mmproj {}", path.display())).collect();
                Err(missing().hint(names.join(", or ")))
            }
        }
    }
}

/// Pictures that go before the first message.
#[derive(Debug, clap::Args)]
pub(crate) struct SightArgs {
    /// Show a picture before the text (may be given several times)
    #[arg(long, value_name = "FILE", conflicts_with = "no_mmproj")]
    image: Vec<String>,
    /// Most tokens of a picture: 70, 140, 280, 560 or 1120
    #[arg(long, value_name = "N", default_value_t = 280, env = "LEMMY_IMAGE_TOKENS", hide_env = true,
          hide_default_value = true, value_parser = image_tokens)]
    image_tokens: u16,
    #[command(flatten)]
    tower: TowerArgs,
}

impl SightArgs {
    /// Whether the model may get a tower.
    pub(crate) fn wants_tower(&self) -> bool {
        self.tower.is_wanted()
    }

    /// Whether there are pictures.
    pub(crate) fn is_shown(&self) -> bool {
        !self.image.is_empty()
    }

    /// The pictures, as files that can be decoded.
    pub(crate) fn read(&self) -> Result<Vec<Image>> {
        self.image.iter().map(|file| picture(file, self.image_tokens)).collect()
    }

    /// The tower to load: as named, or needed.
    pub(crate) fn tower(&self, place: &Place) -> Result<Option<PathBuf>> {
        if self.is_shown() { self.tower.needed(place).map(Some) } else { self.tower.file() }
    }

    /// Most tokens of a picture.
    pub(crate) fn image_tokens(&self) -> u16 {
        self.image_tokens
    }
}

fn image_tokens(word: &str) -> Result<u16, String> {
    let budget = word.parse().ok().and_then(|n| Budget::new(n).ok().map(|_| n));
    budget.ok_or_else(|| "expected 70, 140, 280, 560 or 1120".into())
}

/// A picture from a file, which is decoded once, so that a broken one is told by its name.
pub(crate) fn picture(name: &str, tokens: u16) -> Result<Image> {
    let (path, bytes) = ordinary(name)?;
    if bytes > limits::IMAGE_BYTES as u64 {
        let message = format!("{name}: found {bytes} bytes (expected a picture of at most {})", limits::IMAGE_BYTES);
        return Err(Failure::bad_file("picture", message));
    }
    let bytes = std::fs::read(path).map_err(|e| Failure::io(format_args!("cannot read {name}"), &e))?;
    let fail = |e: lemmy_core::Error| Failure::from(e).about(name);
    let pixels = decode(&bytes, Alpha::Drop).map_err(fail)?;
    Layout::new(pixels.width, pixels.height, Budget::new(tokens)?).map_err(fail)?;
    Ok(Image::from_bytes(bytes).budget(tokens))
}

/// An ordinary file and its size, so that nobody waits for a pipe for ever.
fn ordinary(name: &str) -> Result<(PathBuf, u64)> {
    let path = expand_home(name);
    let facts = std::fs::metadata(&path).map_err(|e| Failure::io(path.display(), &e))?;
    if facts.is_file() {
        return Ok((path, facts.len()));
    }
    Err(Failure::bad_file("not_a_file", format!("{name}: found {} (expected a file)", kind_of(&facts))))
}

/// Towers in the folder of a model, by name.
fn towers_beside(model: &Path) -> Vec<PathBuf> {
    let folder = model.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_tower = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        name.contains("mmproj") && name.ends_with(".gguf") && path.is_file()
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut towers: Vec<_> = entries.map(|entry| entry.path()).filter(is_tower).collect();
    towers.sort();
    towers
}
