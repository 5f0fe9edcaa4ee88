//! A conversation: what is typed goes to the model, what it says is shown as it comes.
//!
//! `cargo run --release --example chat -- MODEL.gguf [TEMPERATURE]`

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program may print

use std::io::Write;

use lemmy_core::{Event, FinishReason, GenerateOptions, Model, Session};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: chat MODEL.gguf [TEMPERATURE]")?;
    let model = Model::open(path)?;
    let mut sampler = model.info().sampling.clone();
    if let Some(temperature) = arguments.next() {
        sampler.temperature = temperature.parse()?;
    }
    let mut session = model.session().build()?;
    for line in std::io::stdin().lines() {
        answer(&mut session, line?, GenerateOptions::new().sampler(sampler.clone()))?;
    }
    Ok(())
}

fn answer(session: &mut Session, line: String, options: GenerateOptions) -> Result<(), Box<dyn std::error::Error>> {
    for event in session.send(line, options)? {
        match event? {
            Event::Text(text) => print!("{text}"),
            Event::Warning(text) => eprintln!("note: {text}"),
            Event::Finished(finish) if finish.reason == FinishReason::ContextFull => eprintln!("(no room left)"),
            _ => {}
        }
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
