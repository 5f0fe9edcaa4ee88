//! Speed with and without guessing ahead: `cargo run --release -p lemmy-core --example speculation -- MODEL.gguf`
//!
//! Two prompts, one whose answer repeats much of it and one whose answer does not; both ways say the same tokens.

#![allow(clippy::print_stdout)]

use lemmy_core::{Event, Finish, GenerateOptions, Model, Result};

const TOKENS: usize = 200;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        println!("usage: speculation MODEL.gguf [GUESSES]");
        return Ok(());
    };
    let most = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(8);
    let model = Model::open(path)?;
    let list: String = (1..=40).map(|i| format!("item {i}: red {i}, green {}, blue {}\n", i * 3, i * 7)).collect();
    let repetitive = format!("Write this list again, word for word, without any change:\n\n{list}");
    let free = "Tell a story about a lighthouse keeper who is afraid of the sea.";
    println!("{:<12} {:>8} {:>8} {:>6} {:>9} {:>9}", "prompt", "plain", "guessing", "gain", "guessed", "right");
    for (name, prompt) in [("repetitive", repetitive.as_str()), ("free", free)] {
        let options = || GenerateOptions::new().seed(1).max_tokens(TOKENS);
        let (plain_text, plain) = run(&model, prompt, options())?;
        let (text, guessing) = run(&model, prompt, options().speculate(most))?;
        let [before, after] = [plain, guessing].map(|f| f.usage.generated as f64 / f.usage.decode.as_secs_f64());
        let usage = guessing.usage;
        println!(
            "{name:<12} {before:>6.2}/s {after:>6.2}/s {:>5.2}x {:>9} {:>9}{}",
            after / before,
            usage.drafted,
            usage.accepted,
            if text == plain_text { "" } else { "  (the texts differ)" },
        );
    }
    Ok(())
}

fn run(model: &Model, prompt: &str, options: GenerateOptions) -> Result<(String, Finish)> {
    let mut session = model.session().context(4096).build()?;
    let mut text = String::new();
    let mut last = None;
    for event in session.send(prompt, options)? {
        match event? {
            Event::Text(more) => text.push_str(&more),
            Event::Finished(finish) => last = Some(finish),
            _ => {}
        }
    }
    last.map(|finish| (text, finish)).ok_or_else(|| lemmy_core::Error::Internal("a reply without an end".into()))
}
