//! Predictions in a file, in the form of llama-perplexity.
//!
//! `_logits_`, then as 32-bit numbers the length of a chunk, the size of the vocabulary, the number of chunks and
//! all tokens; then a row for each counted position: a scale and the least log-probability as f32, and a number of
//! 16 bits for each token, which times the scale and plus the least is its log-probability. Rows are padded to an
//! even number of tokens. All little-endian.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use lemmy_core::{Special, TokenId, Tokenizer};

use super::statistics::Prediction;
use super::{Args, Text};
use crate::cli::failure::{Failure, Result};

const MAGIC: &[u8; 8] = b"_logits_";
/// Logits further than this below the greatest become the least one.
const REACH: f32 = 16.0;
/// Values of a number of 16 bits above 0.
const STEPS: f32 = 65535.0;
/// The largest vocabulary, chunk and number of chunks that are believed.
const LARGEST: u32 = 1 << 22;

/// Bytes of a row.
fn row_bytes(vocabulary: usize) -> usize {
    2 * (vocabulary.div_ceil(2) * 2 + 4)
}

/// Writes the file; it appears when it is complete.
pub(super) struct Writer {
    path: PathBuf,
    part: PathBuf,
    to: BufWriter<File>,
    row: Vec<u8>,
    is_done: bool,
}

impl Writer {
    pub(super) fn create(path: &Path, text: &Text, vocabulary: usize) -> Result<Self> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file =
            File::create(&part).map_err(|e| Failure::io(format_args!("cannot create {}", part.display()), &e))?;
        let to = BufWriter::with_capacity(1 << 20, file);
        let mut writer = Self { path: path.to_owned(), part, to, row: Vec::new(), is_done: false };
        let mut header = MAGIC.to_vec();
        for number in [text.chunk, vocabulary, text.chunks] {
            header.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
        }
        header.extend(text.ids.iter().flat_map(|id| id.to_le_bytes()));
        writer.write(&header)?;
        Ok(writer)
    }

    pub(super) fn row(&mut self, logits: &[f32], prediction: &Prediction) -> Result<()> {
        let least = logits.iter().copied().fold(f32::INFINITY, f32::min).max(prediction.greatest - REACH);
        let scale = (prediction.greatest - least) / STEPS;
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        row.extend(scale.to_le_bytes());
        #[allow(clippy::cast_possible_truncation)] // the file holds f32
        row.extend(((f64::from(least) - prediction.log_sum) as f32).to_le_bytes());
        for &logit in logits {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            // saturates, and lies between 0 and 65535
            let step = if scale > 0.0 && logit > least { ((logit - least) / scale).round() as u16 } else { 0 };
            row.extend(step.to_le_bytes());
        }
        row.resize(row_bytes(logits.len()), 0);
        let written = self.write(&row);
        self.row = row;
        written
    }

    pub(super) fn finish(mut self) -> Result<()> {
        let fail = |path: &Path, e: &std::io::Error| Failure::io(format_args!("cannot write {}", path.display()), e);
        self.to.flush().and_then(|()| self.to.get_ref().sync_all()).map_err(|e| fail(&self.part, &e))?;
        std::fs::rename(&self.part, &self.path).map_err(|e| fail(&self.path, &e))?;
        self.is_done = true;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).map_err(|e| Failure::io(format_args!("cannot write {}", self.part.display()), &e))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// Reads the file, row by row.
pub(super) struct Reader {
    path: PathBuf,
    from: BufReader<File>,
    chunk: usize,
    vocabulary: usize,
    ids: Vec<TokenId>,
    bytes: Vec<u8>,
    row: Vec<f32>,
}

impl Reader {
    /// Checks the header, and the length of the file against it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let fail = |e: std::io::Error| Failure::io(format_args!("cannot read {}", path.display()), &e);
        let bad = |what: String| Failure::bad_file("base", format!("{}: found {what}", path.display()));
        let file = File::open(path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        let mut from = BufReader::with_capacity(1 << 20, file);
        let mut header = [0_u8; 20];
        if from.read_exact(&mut header).is_err() || !header.starts_with(MAGIC) {
            return Err(bad("no predictions (expected a file of --kl-base)".into()));
        }
        let mut numbers =
            header.chunks_exact(4).skip(2).filter_map(|four| four.try_into().ok().map(u32::from_le_bytes));
        let mut number = || numbers.next().filter(|n| (1..=LARGEST).contains(n)).and_then(|n| usize::try_from(n).ok());
        let (Some(chunk), Some(vocabulary), Some(chunks)) = (number(), number(), number()) else {
            return Err(bad("a chunk, vocabulary or number of chunks out of range".into()));
        };
        let counted = chunk - 1 - (chunk / 2).min(chunk - 1);
        let chunk_bytes = 4 * (chunk as u128) + (counted as u128) * (row_bytes(vocabulary) as u128);
        let expected = 20 + (chunks as u128) * chunk_bytes;
        if u128::from(len) != expected {
            return Err(bad(format!("{len} bytes (expected the {expected} that its header tells)")));
        }
        let mut ids = vec![0; 4 * chunk * chunks];
        from.read_exact(&mut ids).map_err(fail)?;
        let ids = ids.chunks_exact(4).filter_map(|four| four.try_into().ok().map(TokenId::from_le_bytes)).collect();
        let bytes = vec![0; row_bytes(vocabulary)];
        Ok(Self { path: path.to_owned(), from, chunk, vocabulary, ids, bytes, row: Vec::new() })
    }

    pub(super) fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The text of the base; one that is given must be the same.
    pub(super) fn text(&mut self, args: &Args, tokenizer: &Tokenizer, given: Option<&str>) -> Result<Text> {
        if let Some(asked) = args.ctx_size.and_then(|n| usize::try_from(n).ok()).filter(|asked| *asked != self.chunk) {
            return Err(Failure::usage(format!("--ctx-size: found {asked} (expected the base's {})", self.chunk)));
        }
        let whole = self.ids.len() / self.chunk;
        let chunks = args.chunks.and_then(|n| usize::try_from(n).ok()).unwrap_or(whole).min(whole);
        let mut ids = std::mem::take(&mut self.ids);
        ids.truncate(chunks * self.chunk);
        let is_other = given.is_some_and(|text| !tokenizer.encode_prompt(text, Special::Text).starts_with(&ids));
        if is_other {
            return Err(Failure::usage("-f: found another text than that of the base (expected the same, or none)"));
        }
        Ok(Text { ids, chunk: self.chunk, chunks })
    }

    /// The next row, as log-probabilities.
    pub(super) fn row(&mut self) -> Result<&[f32]> {
        let fail = |e: std::io::Error| Failure::io(format_args!("cannot read {}", self.path.display()), &e);
        self.from.read_exact(&mut self.bytes).map_err(fail)?;
        let mut floats = self.bytes.chunks_exact(4).filter_map(|four| four.try_into().ok().map(f32::from_le_bytes));
        let (scale, least) = (floats.next().unwrap_or_default(), floats.next().unwrap_or_default());
        let steps = self.bytes.chunks_exact(2).skip(4).filter_map(|two| two.try_into().ok().map(u16::from_le_bytes));
        self.row.clear();
        self.row.extend(steps.take(self.vocabulary).map(|step| f32::from(step) * scale + least));
        Ok(&self.row)
    }
}
