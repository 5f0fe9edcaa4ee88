//! Writes on from a prompt: `cargo run --release --example generate -- MODEL.gguf "Once upon a time"`

#![allow(clippy::print_stdout)] // a program may print

use std::io::Write;

use lemmy_core::{Model, Sampler, Special};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(prompt)) = (arguments.next(), arguments.next()) else {
        return Err("usage: generate MODEL.gguf PROMPT".into());
    };
    let model = Model::open(path)?;
    let tokenizer = model.tokenizer();
    let mut session = model.session().context(4096).build()?;
    let mut sampler = Sampler::new(&model.info().sampling)?;
    let mut text = tokenizer.stream();
    let mut ids = tokenizer.encode_prompt(&prompt, Special::Text);
    for _ in 0..200 {
        let next = sampler.sample(session.forward(&ids)?.last())?;
        if tokenizer.end_of_generation().contains(&next) {
            break;
        }
        sampler.accept(next);
        print!("{}", text.push(next));
        std::io::stdout().flush()?;
        ids = vec![next];
    }
    println!("{}", text.finish());
    Ok(())
}
