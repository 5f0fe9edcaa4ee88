//! One's own loop over tokens and logits: how probable is each of some answers? No sampling at all.
//!
//! `cargo run --release --example choose -- MODEL.gguf "What is 12 + 30?" 41 42 43`

#![allow(clippy::print_stdout)] // a program may print

use lemmy_core::{Chat, Message, Model, Session, Special, TokenId};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, question, answers @ ..] = arguments.as_slice() else {
        return Err("usage: choose MODEL.gguf QUESTION ANSWER...".into());
    };
    let model = Model::open(path)?;
    let tokenizer = model.tokenizer();
    let chat = Chat { messages: vec![Message::user(question)], ..Chat::default() };
    let prompt = model.chat_template().prompt(tokenizer, &chat)?.ids;
    let end = *tokenizer.end_of_generation().first().ok_or("this model never ends")?;

    // The prompt but its last token is read once; every answer starts from there.
    let (last, before) = prompt.split_last().ok_or("an empty prompt")?;
    let mut session = model.session().context(prompt.len() + 256).build()?;
    session.prefill(before, &mut |_, _| {})?;
    for answer in answers {
        let mut said = tokenizer.encode(answer, Special::Text);
        said.push(end);
        println!("{:8.4} %  {answer}", 100.0 * probability(&mut session, *last, &said)?.exp());
        session.rewind(before.len())?;
    }
    Ok(())
}

/// Natural logarithm of the probability that the model says exactly this after `last`.
fn probability(session: &mut Session, last: TokenId, said: &[TokenId]) -> Result<f64> {
    let (_, but_the_end) = said.split_last().ok_or("an empty answer")?;
    let read: Vec<TokenId> = std::iter::once(last).chain(but_the_end.iter().copied()).collect();
    let logits = session.forward_all(&read)?;
    let mut sum = 0.0;
    for (row, &next) in logits.rows().zip(said) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let all: f64 = row.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
        let logit = *row.get(next as usize).ok_or("a token outside of the vocabulary")?;
        sum += f64::from(logit - largest) - all.ln();
    }
    Ok(sum)
}
