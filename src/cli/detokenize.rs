//! `lemmy detokenize`: ids to text.

use lemmy_core::{TokenId, Tokenizer};
use serde_json::json;

use super::Context;
use super::failure::{Failure, Result};
use super::input::stdin_text;
use super::load::ModelName;

/// Show the text of tokens
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lemmy detokenize model.gguf 9259 236764 1902
  lemmy detokenize model.gguf 9259,236764,1902
  lemmy tokenize model.gguf < text.txt | lemmy detokenize model.gguf   the same text again")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Ids, with spaces or commas between them; stdin when left out
    #[arg(value_name = "IDS")]
    ids: Vec<String>,
    /// Leave control tokens out instead of spelling them
    #[arg(long)]
    no_special: bool,
    /// One JSON object; bytes that are no UTF-8 become U+FFFD
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let (place, words) = args.model.split(&args.ids)?;
    let tokenizer = Tokenizer::from_gguf(&place.open_header()?)?;
    let text = if words.is_empty() { stdin_text(&context.signals)? } else { words.join(" ") };
    let mut bytes = Vec::new();
    for id in parse_ids(&text)? {
        if usize::try_from(id).is_ok_and(|id| id >= tokenizer.vocab_size()) {
            let vocabulary = tokenizer.vocab_size();
            return Err(Failure::usage(format!("IDS: found {id} (expected less than the vocabulary's {vocabulary})")));
        }
        if !(args.no_special && tokenizer.is_control(id)) {
            bytes.extend_from_slice(tokenizer.piece(id));
        }
    }
    if args.json {
        return context.out.json(&json!({ "text": String::from_utf8_lossy(&bytes) }));
    }
    context.out.raw(&bytes)?;
    if context.out.is_terminal() && !bytes.ends_with(b"\n") {
        context.out.text("\n")?;
    }
    Ok(())
}

/// Ids with white space or commas between them; brackets around them do not matter.
pub(crate) fn parse_ids(text: &str) -> Result<Vec<TokenId>> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']')).filter(|word| !word.is_empty());
    words
        .map(|word| {
            word.parse().map_err(|_| Failure::usage(format!("IDS: found `{word}` (expected token ids such as 2,5,7)")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::parse_ids;

    #[test]
    fn ids_in_many_shapes() {
        for text in ["2,5,7", "2 5 7\n", "[2, 5, 7]", ",2,,5 7"] {
            assert_eq!(parse_ids(text).unwrap(), [2, 5, 7], "{text}");
        }
        for text in ["2,x", "-1", "4294967296", "2.5"] {
            assert!(parse_ids(text).is_err(), "{text}");
        }
    }
}
