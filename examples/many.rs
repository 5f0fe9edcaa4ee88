//! Many conversations at the same time: one forward pass serves all of them.
//!
//! `cargo run --release --example many -- MODEL.gguf "What is 12 + 30?" "What is 5 + 6?"`

#![allow(clippy::print_stdout)] // a program may print

use std::collections::BTreeMap;

use lemmy_core::{Event, GenerateOptions, Model, Scheduler};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, questions @ ..] = arguments.as_slice() else {
        return Err("usage: many MODEL.gguf QUESTION...".into());
    };
    let model = Model::open(path)?;
    let mut sampler = model.info().sampling.clone();
    sampler.temperature = 0.0;

    let mut scheduler = Scheduler::new(&model, 256)?;
    let mut answers = BTreeMap::new();
    for question in questions {
        let session = model.session().context(1024).build()?;
        let job = scheduler.submit(session, question.as_str(), GenerateOptions::new().sampler(sampler.clone()))?;
        answers.insert(job, (question, String::new()));
    }
    while scheduler.has_work() {
        for (job, event) in scheduler.tick() {
            if let (Event::Text(text), Some((_, answer))) = (event?, answers.get_mut(&job)) {
                answer.push_str(&text);
            }
        }
    }
    for (question, answer) in answers.values() {
        println!("{question} {answer}");
    }
    Ok(())
}
