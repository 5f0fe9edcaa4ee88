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

    // The prompt but its last token is read once; every answer starts from there.
    let (last, before) = prompt.split_last().ok_or("an empty prompt")?;
    let mut session = model.session().context(prompt.len() + 256).build()?;
    session.prefill(before, &mut |_, _| {})?;
    for answer in answers {
        let said = tokenizer.encode(answer, Special::Text);
        println!("{:8.4} %  {answer}", 100.0 * probability(&mut session, *last, &said)?);
        session.rewind(before.len())?;
    }
    Ok(())
}

/// The probability that the model says exactly this after `last`, and then no more.
fn probability(session: &mut Session, last: TokenId, said: &[TokenId]) -> Result<f64> {
    let model = session.model().clone();
    let ends = model.tokenizer().end_of_generation();
    let read: Vec<TokenId> = std::iter::once(last).chain(said.iter().copied()).collect();
    let wanted = said.iter().map(std::slice::from_ref).chain(std::iter::once(ends));
    let logits = session.forward_all(&read)?;
    let mut product = 1.0;
    for (row, any_of) in logits.rows().zip(wanted) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| f64::from(logit - largest).exp();
        let all: f64 = row.iter().copied().map(weight).sum();
        let these: f64 = any_of.iter().filter_map(|&id| row.get(id as usize).copied()).map(weight).sum();
        product *= these / all;
    }
    Ok(product)
}
