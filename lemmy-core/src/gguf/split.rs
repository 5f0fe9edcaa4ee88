//! Models that are split over several files: `PREFIX-00001-of-00003.gguf` and so on.
//!
//! Each part is a whole GGUF file with a table of its own tensors; the model's keys stand in the first.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::cursor::shown;
use super::header::Header;
use crate::error::GgufError;
use crate::limits;

const NO: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";
const ARCHITECTURE: &str = "general.architecture";

/// What a file says of the split that it belongs to.
#[derive(Debug)]
pub(super) struct Split {
    /// Part, from 0.
    no: u64,
    /// Parts.
    pub(super) count: usize,
    /// Tensors of all parts.
    tensors: Option<u64>,
}

impl Split {
    /// Reads the keys of a file; `None` if it is a whole model.
    pub(super) fn of(header: &Header) -> Result<Option<Self>, GgufError> {
        if [NO, COUNT, TENSORS].iter().all(|key| header.get(key).is_none()) {
            return Ok(None);
        }
        let count = number(header, COUNT)?;
        if count == 0 || count > limits::GGUF_PARTS {
            return Err(bad(COUNT, count, format!("1 to {}", limits::GGUF_PARTS)));
        }
        let tensors = if header.get(TENSORS).is_some() { Some(number(header, TENSORS)?) } else { None };
        Ok(Some(Self { no: number(header, NO)?, count: count as usize, tensors }))
    }

    /// Refuses a first file that is not the first part.
    pub(super) fn check_first(&self) -> Result<(), GgufError> {
        if self.no != 0 {
            return Err(bad(NO, self.no, "0: open the first part of a split model".into()));
        }
        match self.tensors {
            None => Err(GgufError::MissingKey(TENSORS.into())),
            Some(n) if n > limits::GGUF_TENSORS => Err(bad(TENSORS, n, format!("at most {}", limits::GGUF_TENSORS))),
            Some(_) => Ok(()),
        }
    }

    /// Refuses a file that is not part `no` of the split whose first part says `self`; `model` has the first part's
    /// keys and the tensors of the parts before this one.
    pub(super) fn check_part(&self, no: usize, model: &Header, part: &Header) -> Result<(), GgufError> {
        let Some(split) = Self::of(part)? else {
            return Err(GgufError::MissingKey(NO.into()));
        };
        if split.no != no as u64 {
            return Err(bad(NO, split.no, no.to_string()));
        }
        if split.count != self.count {
            return Err(bad(COUNT, split.count as u64, format!("{} as in the first part", self.count)));
        }
        match (split.tensors, self.tensors) {
            (Some(here), Some(first)) if here != first => {
                return Err(bad(TENSORS, here, format!("{first} as in the first part")));
            }
            _ => {}
        }
        let here = part.get(ARCHITECTURE);
        if here.is_some() && here != model.get(ARCHITECTURE) {
            return Err(GgufError::Split {
                what: ARCHITECTURE,
                found: here.and_then(|v| v.as_str()).map_or("no text".into(), shown),
                expected: "the first part's, or none".into(),
            });
        }
        // At once, not only at the end: a thousand parts with a hundred thousand tensors each are not kept.
        let tensors = model.tensors.len() + part.tensors.len();
        if self.tensors.is_some_and(|all| tensors as u64 > all) { self.check_tensors(tensors) } else { Ok(()) }
    }

    /// Refuses a sum of tensors other than the first part says.
    pub(super) fn check_tensors(&self, found: usize) -> Result<(), GgufError> {
        match self.tensors {
            Some(tensors) if tensors != found as u64 => {
                Err(bad("number of tensors", found as u64, format!("{tensors}, as {TENSORS} says")))
            }
            _ => Ok(()),
        }
    }
}

/// Paths of all parts, if `path` is named like the first of several.
pub(super) fn parts_by_name(path: &Path) -> Option<Vec<PathBuf>> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let (stem, count) = stem.split_at_checked(stem.len().checked_sub(5)?)?;
    let prefix = stem.strip_suffix("-00001-of-")?;
    if !count.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u32 = count.parse().ok()?;
    if count == 0 || u64::from(count) > limits::GGUF_PARTS {
        return None;
    }
    Some((1..=count).map(|i| path.with_file_name(format!("{prefix}-{i:05}-of-{count:05}.gguf"))).collect())
}

/// Paths of the `count` parts whose first is at `path`.
pub(super) fn parts(path: &Path, count: usize) -> Result<Vec<PathBuf>, GgufError> {
    let named = parts_by_name(path).filter(|paths| paths.len() == count);
    match named {
        Some(paths) => Ok(paths),
        None if count == 1 => Ok(vec![path.into()]),
        None => Err(GgufError::Split {
            what: "name of the file",
            found: shown(&path.file_name().unwrap_or_default().to_string_lossy()),
            expected: format!("NAME-00001-of-{count:05}.gguf, by which the other parts are found"),
        }),
    }
}

fn number(header: &Header, key: &str) -> Result<u64, GgufError> {
    let value = header.get(key).ok_or_else(|| GgufError::MissingKey(key.into()))?;
    value.as_u64().ok_or_else(|| GgufError::Key {
        key: key.into(),
        found: value.as_i64().map_or_else(|| value.type_name(), |n| n.to_string()),
        expected: "an integer that is not negative".into(),
    })
}

fn bad(what: &'static str, found: u64, expected: String) -> GgufError {
    GgufError::Split { what, found: found.to_string(), expected }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn names_of_parts() {
        let parts = parts_by_name(Path::new("dir/m-00001-of-00003.gguf")).unwrap();
        assert_eq!(parts[2], Path::new("dir/m-00003-of-00003.gguf"));
        for no in [
            "m.gguf",
            "m-00002-of-00003.gguf",
            "m-00001-of-00000.gguf",
            "m-00001-of-01000.gguf",
            "m-00001-of-+0003.gguf",
        ] {
            assert!(parts_by_name(Path::new(no)).is_none(), "{no}");
        }
        assert_eq!(parts_by_name(Path::new("m-00001-of-00999.gguf")).unwrap().len(), 999);
    }
}
