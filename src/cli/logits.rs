//! `lemmy logits`: the model's numbers, for those who check them.

use std::fmt::Write;

use lemmy_core::{TokenId, Tokenizer};
use serde_json::json;

use super::Context;
use super::detokenize::parse_ids;
use super::failure::{Failure, Result};
use super::input::stdin_text;
use super::load::{LoadArgs, ModelName};
use super::room::CacheArgs;
use super::tokenize::piece;

/// Bytes of logits that are held at once.
const ROWS_BYTES: usize = 32 << 20;
/// Tokens that go through the model at once, at most.
const BATCH: usize = 512;

/// Show the logits after each token
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is added in front and nothing is left out: the model sees exactly these tokens. Logits \
are those after the model's own softcap, as f32 in a form that reads back to the same number.

Examples:
  lemmy logits model.gguf --tokens 2,818,5279 --json        a JSON line per position, the 10 best
  lemmy logits model.gguf --tokens 2,818,5279 --all --json  all of them, in the order of ids
  lemmy tokenize model.gguf --bos \"The capital\" | lemmy logits model.gguf --tokens - --top 3")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Ids with commas between them; -: from stdin
    #[arg(long, value_name = "IDS")]
    tokens: String,
    /// The best N of each position
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "all", env = "LEMMY_TOP", hide_env = true)]
    top: usize,
    /// Every logit of each position (JSON only)
    #[arg(long, requires = "json")]
    all: bool,
    /// A JSON line for each position
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    load: LoadArgs,
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let place = args.model.locate()?;
    let ids = if args.tokens == "-" { stdin_text(&context.signals)? } else { args.tokens.clone() };
    let ids = parse_ids(&ids)?;
    if ids.is_empty() {
        return Err(Failure::usage("--tokens: found no ids (expected at least one)"));
    }
    let loaded = args.load.load(&place, &context.signals)?;
    let tokenizer = loaded.model.tokenizer();
    let session = loaded.model.session().context(ids.len()).kv_type(args.cache.kv_type()).cancel(loaded.cancel.clone());
    let mut session = context.signals.name(session.build())?;
    let vocabulary = loaded.model.plan().spec.vocab;
    let stride = (ROWS_BYTES / (vocabulary.max(1) * size_of::<f32>())).clamp(1, BATCH);
    let mut line = String::new();
    let mut position = 0;
    for part in ids.chunks(stride) {
        let logits = context.signals.name(session.forward_all(part))?;
        for (&token, row) in part.iter().zip(logits.rows()) {
            line.clear();
            match (args.json, args.all) {
                (true, true) => write_all(&mut line, position, token, row),
                (true, false) => write_top(&mut line, position, token, &best(row, args.top), tokenizer),
                (false, _) => write_table(&mut line, position, token, &best(row, args.top), tokenizer),
            }
            .map_err(|e| Failure::failed("internal", e))?;
            context.out.text(&line)?;
            position += 1;
        }
    }
    Ok(())
}

/// A token and how likely it is.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    id: TokenId,
    logit: f32,
    logprob: f64,
}

/// The `n` best, best first, the lower id first of equals.
fn best(row: &[f32], n: usize) -> Vec<Candidate> {
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&logit| (f64::from(logit) - f64::from(greatest)).exp()).sum();
    let log_sum = f64::from(greatest) + sum.ln();
    let candidate = |(id, &logit): (TokenId, &f32)| Candidate { id, logit, logprob: f64::from(logit) - log_sum };
    let mut all: Vec<_> = (0..).zip(row).map(candidate).collect();
    let order = |a: &Candidate, b: &Candidate| b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id));
    if n < all.len() {
        all.select_nth_unstable_by(n, order);
        all.truncate(n);
    }
    all.sort_unstable_by(order);
    all
}

fn write_all(line: &mut String, position: usize, token: TokenId, row: &[f32]) -> std::fmt::Result {
    write!(line, "{{\"pos\":{position},\"token\":{token},\"logits\":[")?;
    for (i, logit) in row.iter().enumerate() {
        // `{:?}` of a float is the shortest text that reads back to it, and JSON as long as it is finite.
        write!(line, "{}{logit:?}", if i == 0 { "" } else { "," })?;
    }
    writeln!(line, "]}}")
}

fn write_top(
    line: &mut String,
    position: usize,
    token: TokenId,
    best: &[Candidate],
    tokenizer: &Tokenizer,
) -> std::fmt::Result {
    write!(line, "{{\"pos\":{position},\"token\":{token},\"top\":[")?;
    for (i, Candidate { id, logit, logprob }) in best.iter().enumerate() {
        let (comma, piece) = (if i == 0 { "" } else { "," }, json!(piece(tokenizer, *id)));
        write!(line, "{comma}{{\"id\":{id},\"piece\":{piece},\"logit\":{logit:?},\"logprob\":{logprob:?}}}")?;
    }
    writeln!(line, "]}}")
}

fn write_table(
    line: &mut String,
    position: usize,
    token: TokenId,
    best: &[Candidate],
    tokenizer: &Tokenizer,
) -> std::fmt::Result {
    writeln!(line, "position {position}, after token {token} {}", json!(piece(tokenizer, token)))?;
    for Candidate { id, logit, logprob } in best {
        writeln!(line, "{id:>10} {logit:>10.4} {logprob:>10.4}  {}", json!(piece(tokenizer, *id)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn the_best_come_first_and_equals_by_id() {
        let row = [1.0, 3.0, -2.0, 3.0, 0.5];
        let ids = |n| best(&row, n).iter().map(|c| c.id).collect::<Vec<_>>();
        assert_eq!(ids(3), [1, 3, 0]);
        assert_eq!(ids(99), [1, 3, 0, 4, 2]);
        assert!(ids(0).is_empty());
    }

    #[test]
    fn probabilities_sum_to_one() {
        let sum: f64 = best(&[30.0, 29.5, -30.0, 0.0], 4).iter().map(|c| c.logprob.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn numbers_read_back_to_themselves() {
        let row = [0.1, 1.0, -29.999_998, 1e-12, f32::MIN_POSITIVE, 16_777_216.0, 3.402_823_5e38];
        let mut line = String::new();
        write_all(&mut line, 7, 42, &row).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((value["pos"].as_u64(), value["token"].as_u64()), (Some(7), Some(42)));
        let read: Vec<_> = value["logits"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        assert_eq!(read, row);
    }
}
