//! `lemmy perplexity`: how well a model foretells a text, and how far it is from another one.
//!
//! As llama-perplexity measures it, so that figures can be compared: the text is cut into chunks of the context's
//! length, each begins anew (with the token that starts a text in the place of its first), and the second half of it
//! counts.

mod base;
mod statistics;

use std::path::PathBuf;

use lemmy_core::{Session, Special, TokenId, Tokenizer};
use serde_json::json;

use super::Context;
use super::failure::{Failure, Result};
use super::input::{file_text, stdin_text};
use super::load::{LoadArgs, Loaded, ModelName};
use super::output::note;
use super::room::CacheArgs;
use base::{Reader, Writer};
use statistics::{Divergence, Mean, Prediction};

/// Bytes of logits that are held at once.
const ROWS_BYTES: usize = 32 << 20;

/// Measure how well a model foretells a text
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --kl-base FILE: if there is no such file, the model's predictions are kept in it, in the
form of llama-perplexity's --kl-divergence-base; if there is one, the model is compared with
them, and the text is that of the file.

Examples:
  lemmy perplexity model.gguf -f wiki.test.raw
  lemmy perplexity model-bf16.gguf -f wiki.test.raw --chunks 20 --kl-base bf16.base
  lemmy perplexity model-q4_k_m.gguf --kl-base bf16.base --json")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Text; -: stdin
    #[arg(short, long, value_name = "FILE", required_unless_present = "kl_base")]
    file: Option<String>,
    /// Tokens of a chunk (default: 512, or as in the base)
    #[arg(short, long, value_name = "N", env = "LEMMY_CTX_SIZE", hide_env = true,
          value_parser = clap::value_parser!(u32).range(4..=1_048_576))]
    ctx_size: Option<u32>,
    /// Chunks, at most
    #[arg(long, value_name = "N", env = "LEMMY_CHUNKS", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..))]
    chunks: Option<u32>,
    /// Predictions to keep, or to compare with
    #[arg(long, value_name = "FILE")]
    kl_base: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    load: LoadArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// The text as chunks.
struct Text {
    ids: Vec<TokenId>,
    chunk: usize,
    chunks: usize,
}

impl Text {
    /// Where the part begins that counts.
    fn first(&self) -> usize {
        self.chunk / 2
    }
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let place = args.model.locate()?;
    let mut reader = match &args.kl_base {
        Some(path) if path.exists() => Some(Reader::open(path)?),
        _ => None,
    };
    let text = match args.file.as_deref() {
        Some("-") => Some(stdin_text(&context.signals)?),
        Some(file) => Some(file_text(file)?),
        None if reader.is_some() => None,
        None => {
            return Err(Failure::usage("-f: found no text (expected a file, since there is no base to take it from)"));
        }
    };
    let loaded = args.load.load(&place, &context.signals)?;
    let tokenizer = loaded.model.tokenizer();
    let text = match (&mut reader, text) {
        (Some(reader), text) => reader.text(&args, tokenizer, text.as_deref())?,
        (None, text) => cut(&args, tokenizer, &text.unwrap_or_default())?,
    };
    let vocabulary = loaded.model.plan().spec.vocab;
    if let Some(found) = reader.as_ref().map(Reader::vocabulary).filter(|found| *found != vocabulary) {
        let message = format!("--kl-base: found {found} tokens in the vocabulary (expected the model's {vocabulary})");
        return Err(Failure::bad_file("base", message));
    }
    let mut writer = match (&args.kl_base, &reader) {
        (Some(path), None) => Some(Writer::create(path, &text, vocabulary)?),
        _ => None,
    };
    let (quality, divergence) = measure(&args, &loaded, &text, reader.as_mut(), writer.as_mut(), context)?;
    if let Some(writer) = writer {
        writer.finish()?;
    }
    report(&args, &text, &quality, divergence.as_ref(), context)
}

/// The text as tokens, in chunks.
fn cut(args: &Args, tokenizer: &Tokenizer, text: &str) -> Result<Text> {
    let chunk = args.ctx_size.and_then(|n| usize::try_from(n).ok()).unwrap_or(512);
    let mut ids = tokenizer.encode_prompt(text, Special::Text);
    let whole = ids.len() / chunk;
    if whole == 0 {
        let message = format!("-f: found {} tokens (expected at least the {chunk} of one chunk)", ids.len());
        return Err(Failure::usage(message).hint("a longer text, or a smaller --ctx-size"));
    }
    let chunks = args.chunks.and_then(|n| usize::try_from(n).ok()).unwrap_or(whole).min(whole);
    ids.truncate(chunks * chunk);
    Ok(Text { ids, chunk, chunks })
}

/// Runs the model over all chunks.
fn measure(
    args: &Args,
    loaded: &Loaded,
    text: &Text,
    mut reader: Option<&mut Reader>,
    mut writer: Option<&mut Writer>,
    context: &mut Context,
) -> Result<(Mean, Option<Divergence>)> {
    let tokenizer = loaded.model.tokenizer();
    let session =
        loaded.model.session().context(text.chunk).kv_type(args.cache.kv_type()).cancel(loaded.cancel.clone());
    let mut session = context.signals.name(session.build())?;
    // Where the model wants a text to begin with a token, each chunk does.
    let bos = tokenizer.bos().filter(|bos| tokenizer.encode_prompt("", Special::Text).first() == Some(bos));
    let mut quality = Mean::default();
    let mut divergence = reader.as_ref().map(|_| Divergence::default());
    let mut rows = 0;
    for (number, chunk) in text.ids.chunks(text.chunk).enumerate() {
        let mut ids = chunk.to_vec();
        if let (Some(bos), Some(first)) = (bos, ids.first_mut()) {
            *first = bos;
        }
        let mut visit = |row: &[f32], next: TokenId| -> Result<()> {
            let prediction = Prediction::new(row, next);
            quality.add(prediction.surprise());
            if let Some(writer) = &mut writer {
                writer.row(row, &prediction)?;
            }
            if let (Some(reader), Some(divergence)) = (&mut reader, &mut divergence) {
                divergence.add(row, &prediction, next, reader.row()?);
            }
            rows += 1;
            Ok(())
        };
        predict(&mut session, &ids, text.first(), context, &mut visit)?;
        if !args.json {
            note(format_args!("chunk {} of {}: PPL {:.4}", number + 1, text.chunks, quality.mean().exp()));
        }
    }
    Ok((quality, divergence))
}

/// Shows the logits behind each token of the counted part, with the token that follows.
fn predict(
    session: &mut Session,
    ids: &[TokenId],
    first: usize,
    context: &Context,
    visit: &mut dyn FnMut(&[f32], TokenId) -> Result<()>,
) -> Result<()> {
    context.signals.name(session.rewind(0))?;
    let (before, counted) = ids.split_at_checked(first).unwrap_or((ids, &[]));
    context.signals.name(session.prefill(before, &mut |_, _| {}))?;
    let (_, nexts) = counted.split_first().unwrap_or((&0, &[]));
    let asked = counted.get(..nexts.len()).unwrap_or_default();
    let mut nexts = nexts.iter();
    let mut stride = 1;
    let mut rest = asked;
    while !rest.is_empty() {
        let (part, after) = rest.split_at_checked(stride.min(rest.len())).unwrap_or((rest, &[]));
        let logits = context.signals.name(session.forward_all(part))?;
        for row in logits.rows() {
            stride = (ROWS_BYTES / (row.len().max(1) * size_of::<f32>())).clamp(1, 512);
            if let Some(&next) = nexts.next() {
                visit(row, next)?;
            }
        }
        rest = after;
    }
    Ok(())
}

fn report(
    args: &Args,
    text: &Text,
    quality: &Mean,
    divergence: Option<&Divergence>,
    context: &mut Context,
) -> Result<()> {
    let perplexity = quality.mean().exp();
    let error = perplexity * quality.uncertainty();
    if !perplexity.is_finite() {
        return Err(Failure::failed("numeric", "found a perplexity that is no number (expected finite logits)"));
    }
    if args.json {
        let mut object = json!({
            "perplexity": perplexity,
            "perplexity_error": error,
            "tokens": quality.count(),
            "chunks": text.chunks,
            "ctx_size": text.chunk,
        });
        if let (Some(object), Some(divergence)) = (object.as_object_mut(), divergence) {
            object.insert("base".into(), divergence.json());
        }
        return context.out.json(&object);
    }
    context.out.text(&format!(
        "PPL = {perplexity:.4} ± {error:.5}  ({} tokens of {} chunks)\n",
        quality.count(),
        text.chunks
    ))?;
    match divergence {
        Some(divergence) => context.out.text(&divergence.text()),
        None => Ok(()),
    }
}
