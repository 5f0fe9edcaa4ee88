//! `lemmy tokenize`: text to ids.

use lemmy_core::{Special, TokenId, Tokenizer};
use serde_json::json;

use super::Context;
use super::failure::Result;
use super::input::stdin_text;
use super::load::ModelName;

/// Show the tokens of a text
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lemmy tokenize model.gguf \"Hello, world\"
  lemmy tokenize model.gguf --pieces < text.txt
  lemmy tokenize model.gguf --count --bos \"Hello\"")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelName,
    /// Words of the text; stdin when left out, every byte of it
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// Ids on one line (default)
    #[arg(long, conflicts_with_all = ["pieces", "count"])]
    ids: bool,
    /// A line for each token: id and quoted text
    #[arg(long, conflicts_with = "count")]
    pieces: bool,
    /// Only how many
    #[arg(long)]
    count: bool,
    /// Strings such as <|turn> are text and no control tokens
    #[arg(long)]
    no_special: bool,
    /// Put the token that starts a text in front
    #[arg(long)]
    bos: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(args: Args, context: &mut Context) -> Result<()> {
    let (place, words) = args.model.split(&args.text)?;
    let tokenizer = Tokenizer::from_gguf(&place.open_header()?)?;
    let text = if words.is_empty() { stdin_text(&context.signals)? } else { words.join(" ") };
    let special = if args.no_special { Special::Text } else { Special::Parse };
    let mut ids = tokenizer.encode(&text, special);
    if let Some(bos) = tokenizer.bos().filter(|_| args.bos) {
        ids.insert(0, bos);
    }
    let pieces = || ids.iter().map(|&id| piece(&tokenizer, id));
    if args.json {
        context.out.json(&json!({ "count": ids.len(), "ids": ids, "pieces": pieces().collect::<Vec<_>>() }))
    } else if args.count {
        context.out.text(&format!("{}\n", ids.len()))
    } else if args.pieces {
        ids.iter().zip(pieces()).try_for_each(|(id, piece)| context.out.text(&format!("{id}\t{}\n", json!(piece))))
    } else {
        let ids: Vec<_> = ids.iter().map(TokenId::to_string).collect();
        context.out.text(&format!("{}\n", ids.join(" ")))
    }
}

/// A token's text; bytes that are no UTF-8 are spelled as vocabularies spell them, `<0xE2>`.
pub(crate) fn piece(tokenizer: &Tokenizer, id: TokenId) -> String {
    let mut text = String::new();
    for chunk in tokenizer.piece(id).utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("<0x{byte:02X}>")));
    }
    text
}
