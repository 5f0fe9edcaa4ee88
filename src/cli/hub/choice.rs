//! Which files of a repository a name means.

use super::name::{HubName, Pick};
use crate::cli::failure::{Failure, Result};
use crate::cli::locate::{is_companion, part_number};
use crate::cli::units::bytes;

/// Number types in the order in which one is taken where none is named.
const USUAL: [&str; 4] = ["Q4_K_M", "Q8_0", "Q5_K_M", "Q6_K"];

/// Parts of a split model, as for those on disk.
const MOST_PARTS: u32 = 999;

/// Number types of a projector, best first.
#[cfg(feature = "pull")]
const PROJECTOR: [&str; 4] = ["F16", "BF16", "Q8_0", "F32"];

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// From the repository's root, with `/`; checked.
    pub(crate) path: String,
    pub(crate) size: u64,
}

/// A model of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// All parts, in order.
    pub(crate) parts: Vec<Entry>,
}

impl Found {
    /// The path that stands for it: that of its first part.
    pub(crate) fn path(&self) -> &str {
        self.parts.first().map_or("", |part| &part.path)
    }

    /// What stands behind `:` in its name.
    pub(crate) fn tag(&self) -> String {
        number_type(base(self.path())).unwrap_or_else(|| self.path().to_owned())
    }

    /// Of all parts together.
    pub(crate) fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.size).fold(0, u64::saturating_add)
    }
}

/// All models of a repository, sorted by depth and path.
///
/// # Errors
///
/// A split model lacks a part.
pub(crate) fn models(entries: &[Entry]) -> Vec<Result<Found>> {
    let mut firsts: Vec<_> = entries.iter().filter(|entry| is_first(&entry.path)).collect();
    firsts.sort_by_key(|entry| (entry.path.matches('/').count(), &entry.path));
    firsts.into_iter().map(|first| with_parts(first, entries)).collect()
}

/// The model that a name means.
///
/// # Errors
///
/// Exit 3 where there is none, with what there is; exit 2 where there are several; exit 1 where a part is missing.
pub(crate) fn choose(name: &HubName, entries: &[Entry]) -> Result<Found> {
    let candidates: Vec<_> = entries.iter().filter(|entry| is_first(&entry.path)).collect();
    let with = |word: &str| -> Vec<&Entry> {
        candidates.iter().copied().filter(|entry| has_word(base(&entry.path), word)).collect()
    };
    let chosen = match &name.pick {
        Pick::File(file) => match entries.iter().find(|entry| entry.path == *file) {
            Some(entry) => entry,
            None => return Err(absent(name, file, entries)),
        },
        Pick::Tag(tag) => match with(tag).as_slice() {
            [one] => *one,
            [] if candidates.iter().any(|entry| begins_word(base(&entry.path), tag)) => {
                return Err(ambiguous(name, tag, entries));
            }
            [] => return Err(absent(name, tag, entries)),
            _ => return Err(ambiguous(name, tag, entries)),
        },
        Pick::Usual => {
            let order = |entry: &&Entry| (entry.path.matches('/').count(), entry.path.clone());
            let usual = USUAL.iter().find_map(|word| with(word).into_iter().min_by_key(order));
            let smallest = |is_quantized: bool| {
                let is_wanted = move |entry: &&&Entry| is_quantized == quantized(base(&entry.path));
                candidates.iter().filter(is_wanted).min_by_key(|entry| (entry.size, order(entry))).copied()
            };
            match usual.or_else(|| smallest(true)).or_else(|| smallest(false)) {
                Some(entry) => entry,
                None => return Err(absent(name, "GGUF model", entries)),
            }
        }
    };
    with_parts(chosen, entries)
}

/// The projector that belongs to a model: the one that lies deepest of those in its folder or above it, then the
/// best type.
#[cfg(feature = "pull")]
pub(crate) fn projector(model: &Found, wish: Option<&str>, entries: &[Entry]) -> Result<Option<Entry>> {
    let all = || {
        entries.iter().filter(|entry| is_gguf(&entry.path) && base(&entry.path).to_ascii_lowercase().contains("mmproj"))
    };
    if let Some(wish) = wish {
        let found =
            all().find(|entry| entry.path == wish).or_else(|| all().find(|entry| has_word(base(&entry.path), wish)));
        return found.cloned().map(Some).ok_or_else(|| {
            let names: Vec<_> = all().map(|entry| entry.path.as_str()).collect();
            let message = format!("--mmproj {wish}: found no such projector (expected one of: {})", names.join(", "));
            Failure::not_found(message)
        });
    }
    let folder = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let own = folder(model.path());
    let rank = |entry: &&Entry| {
        let kind = PROJECTOR.iter().position(|word| has_word(base(&entry.path), word)).unwrap_or(PROJECTOR.len());
        (std::cmp::Reverse(folder(&entry.path).len()), kind, entry.path.clone())
    };
    Ok(all().filter(|entry| own.starts_with(&folder(&entry.path))).min_by_key(rank).cloned())
}

fn with_parts(first: &Entry, entries: &[Entry]) -> Result<Found> {
    let Some((_, count)) = part_number(&first.path) else { return Ok(Found { parts: vec![first.clone()] }) };
    if count > MOST_PARTS {
        let message = format!("{}: found a model in {count} parts (expected at most {MOST_PARTS})", first.path);
        return Err(Failure::bad_file("unsupported", message));
    }
    let part = |number: u32| {
        let path =
            first.path.replace(&format!("-00001-of-{count:05}.gguf"), &format!("-{number:05}-of-{count:05}.gguf"));
        entries.iter().find(|entry| entry.path == path).cloned().ok_or_else(|| {
            Failure::failed(
                "missing_part",
                format!("{path}: found no such part (expected all {count} of a split model)"),
            )
        })
    };
    Ok(Found { parts: (1..=count).map(part).collect::<Result<_>>()? })
}

fn absent(name: &HubName, wanted: &str, entries: &[Entry]) -> Failure {
    Failure::not_found(format!("{}: found no {wanted} (expected {})", name.repo, offer(entries)))
}

fn ambiguous(name: &HubName, tag: &str, entries: &[Entry]) -> Failure {
    Failure::usage(format!("{}: `{tag}` fits no single model (expected {})", name.repo, offer(entries)))
}

/// What a repository has, for an error.
fn offer(entries: &[Entry]) -> String {
    const MOST: usize = 20;
    let models = models(entries);
    let mut names: Vec<_> = models.iter().flatten().map(|m| format!("{} ({})", m.tag(), bytes(m.size()))).collect();
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    match (names.as_slice(), more) {
        ([], _) => "a repository with .gguf files; this one has none".into(),
        (_, 0) => format!("one of {}", names.join(", ")),
        (_, more) => format!("one of {} and {more} more", names.join(", ")),
    }
}

/// The last part of a path, without `.gguf`.
pub(crate) fn base(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    if is_gguf(name) { name.get(..name.len() - 5).unwrap_or(name) } else { name }
}

fn is_gguf(path: &str) -> bool {
    path.len() > 5 && path.get(path.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case(".gguf"))
}

/// Whether it is a model's own (first) file.
fn is_first(path: &str) -> bool {
    let name = base(path).to_ascii_lowercase();
    is_gguf(path) && !is_companion(&name) && part_number(&path.to_ascii_lowercase()).is_none_or(|(part, _)| part == 1)
}

/// The number type in a base name, in the usual spelling.
pub(crate) fn number_type(base: &str) -> Option<String> {
    let upper = base.to_ascii_uppercase();
    let words = upper.split(['-', '.']).rev();
    let starts = |word: &str| -> Option<String> {
        // `model_Q4_K_M`: from the first piece on that begins a type.
        let pieces: Vec<_> = word.split('_').collect();
        let at = pieces.iter().position(|piece| begins_type(piece))?;
        let rest = pieces.get(at..)?;
        let len = 1 + rest.iter().skip(1).take_while(|piece| is_suffix(piece)).count();
        Some(rest.get(..len)?.join("_"))
    };
    words.into_iter().find_map(starts)
}

fn begins_type(piece: &str) -> bool {
    let digits = |rest: &str| !rest.is_empty() && rest.len() <= 2 && rest.bytes().all(|b| b.is_ascii_digit());
    matches!(piece, "F16" | "F32" | "BF16" | "MXFP4" | "FP16" | "FP32")
        || ["IQ", "TQ", "Q"].iter().any(|start| piece.strip_prefix(start).is_some_and(digits))
}

fn is_suffix(piece: &str) -> bool {
    matches!(piece, "K" | "S" | "M" | "L" | "XL" | "XS" | "XXS" | "NL" | "MOE")
        || piece.len() == 1 && piece.bytes().all(|b| b.is_ascii_digit())
}

fn quantized(base: &str) -> bool {
    number_type(base).is_some_and(|kind| !matches!(kind.as_str(), "F16" | "F32" | "BF16" | "FP16" | "FP32"))
}

/// Whether `word` stands in a base name as a whole. A number type is whole with all of its pieces: `Q4_K` is no word of
/// `Q4_K_M`.
pub(crate) fn has_word(base: &str, word: &str) -> bool {
    occurrences(base, word).any(|rest| match rest.strip_prefix('_') {
        None => rest.is_empty() || rest.starts_with(['-', '.']),
        Some(next) => !(ends_in_type(word) && is_suffix(next.split(['-', '.', '_']).next().unwrap_or_default())),
    })
}

/// Whether a word of a base name begins so.
fn begins_word(base: &str, start: &str) -> bool {
    occurrences(base, start).next().is_some()
}

fn ends_in_type(word: &str) -> bool {
    number_type(word).is_some_and(|kind| word.to_ascii_uppercase().ends_with(&kind))
}

/// What follows each place, in capitals, where `word` begins a word.
fn occurrences<'b>(base: &'b str, word: &str) -> impl Iterator<Item = String> + use<'b> {
    let (base, word) = (base.to_ascii_uppercase(), word.to_ascii_uppercase());
    let starts: Vec<_> = base
        .match_indices(&word)
        .filter(|(at, _)| *at == 0 || base.get(..*at).is_some_and(|before| before.ends_with(['-', '.', '_'])))
        .filter_map(|(at, found)| base.get(at + found.len()..).map(str::to_owned))
        .collect();
    starts.into_iter()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn entries(paths: &[&str]) -> Vec<Entry> {
        (1..).zip(paths).map(|(size, path)| Entry { path: (*path).to_owned(), size }).collect()
    }

    fn chosen(name: &str, paths: &[&str]) -> Result<String> {
        choose(&HubName::parse(name).unwrap().unwrap(), &entries(paths)).map(|found| found.path().to_owned())
    }

    #[test]
    fn tags_are_whole_words() {
        let repo = ["m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-Q8_0.gguf", "mmproj-Q8_0.gguf", "m.imatrix.gguf"];
        assert_eq!(chosen("a/b:q4_k_m", &repo).unwrap(), "m-Q4_K_M.gguf");
        assert_eq!(chosen("a/b:Q8_0", &repo).unwrap(), "m-Q8_0.gguf");
        let kind = |name| chosen(name, &repo).unwrap_err().json()["kind"].clone();
        assert_eq!(kind("a/b:Q4_K"), "usage");
        assert_eq!(kind("a/b:Q4"), "usage");
        assert_eq!(kind("a/b:m"), "usage");
        assert_eq!(kind("a/b:Q5_K_M"), "not_found");
        assert_eq!(kind("a/b:x.gguf"), "not_found");
        assert_eq!(chosen("a/b:mmproj-Q8_0.gguf", &repo).unwrap(), "mmproj-Q8_0.gguf");
        assert_eq!(chosen("a/b:Q4_K", &["m-Q4_K.gguf", "m-Q4_K_M.gguf"]).unwrap(), "m-Q4_K.gguf");
        assert_eq!(chosen("a/b:it", &["gemma_it_x.gguf", "gemma-pt.gguf"]).unwrap(), "gemma_it_x.gguf");
    }

    #[test]
    fn without_a_tag_the_usual_type() {
        assert_eq!(chosen("a/b", &["m-Q8_0.gguf", "d/m-Q4_K_M.gguf", "m-F16.gguf"]).unwrap(), "d/m-Q4_K_M.gguf");
        assert_eq!(chosen("a/b", &["m-Q6_K.gguf", "m-Q8_0.gguf"]).unwrap(), "m-Q8_0.gguf");
        assert_eq!(chosen("a/b", &["m-F16.gguf", "m-IQ4_XS.gguf", "m-Q2_K.gguf"]).unwrap(), "m-IQ4_XS.gguf");
        assert_eq!(chosen("a/b", &["m-BF16.gguf"]).unwrap(), "m-BF16.gguf");
        assert_eq!(chosen("a/b", &["README.md", "mmproj-F16.gguf"]).unwrap_err().json()["kind"], "not_found");
    }

    #[test]
    fn split_models_need_all_parts() {
        let repo = ["q/m-Q8_0-00001-of-00002.gguf", "q/m-Q8_0-00002-of-00002.gguf"];
        let found = choose(&HubName::parse("a/b:Q8_0").unwrap().unwrap(), &entries(&repo)).unwrap();
        assert_eq!((found.parts.len(), found.size(), found.tag().as_str()), (2, 3, "Q8_0"));
        assert_eq!(chosen("a/b", &repo[..1]).unwrap_err().json()["kind"], "missing_part");
    }

    #[cfg(feature = "pull")]
    #[test]
    fn projectors() {
        let repo = ["q/m-Q8_0.gguf", "mmproj-F16.gguf", "q/mmproj-F32.gguf", "q/mmproj-BF16.gguf", "z/mmproj-F16.gguf"];
        let all = entries(&repo);
        let model = choose(&HubName::parse("a/b").unwrap().unwrap(), &all).unwrap();
        let path = |wish| projector(&model, wish, &all).unwrap().unwrap().path;
        assert_eq!(path(None), "q/mmproj-BF16.gguf");
        assert_eq!(path(Some("F32")), "q/mmproj-F32.gguf");
        assert_eq!(path(Some("z/mmproj-F16.gguf")), "z/mmproj-F16.gguf");
        assert!(projector(&model, Some("Q2_K"), &all).is_err());
        assert_eq!(projector(&model, None, &entries(&repo[..1])).unwrap(), None);
    }

    #[test]
    fn types_in_names() {
        let kind = |name| number_type(name).unwrap_or_default();
        assert_eq!(kind("gemma-3-27b-it-Q4_K_M"), "Q4_K_M");
        assert_eq!(kind("m_q8_0"), "Q8_0");
        assert_eq!(kind("m.IQ3_XXS-00001-of-00003"), "IQ3_XXS");
        assert_eq!(kind("m-UD-Q4_K_XL"), "Q4_K_XL");
        assert_eq!(kind("model"), "");
    }
}
