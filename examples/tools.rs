//! A model that may call a function of this program.
//!
//! `cargo run --release --example tools -- MODEL.gguf "What is the weather in London?"`

#![allow(clippy::print_stdout)] // a program may print

use lemmy_core::{Event, GenerateOptions, Message, Model, Source, Tool, ToolOutput};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(question)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tools MODEL.gguf QUESTION".into());
    };
    let tool = Tool {
        name: "get_weather".into(),
        description: "The current weather in a city".into(),
        parameters_json: r#"{
            "type": "object",
            "properties": {"city": {"type": "string", "description": "City name"}},
            "required": ["city"]
        }"#
        .into(),
        strict: false,
    };
    let model = Model::open(path)?;
    let mut session = model.session().tools(vec![tool]).build()?;
    let mut sampler = model.info().sampling.clone();
    sampler.temperature = 0.0;
    let mut next = Source::from(question);
    loop {
        let mut answers = Vec::new();
        for event in session.send(next, GenerateOptions::new().sampler(sampler.clone()))? {
            match event? {
                Event::Text(text) => print!("{text}"),
                Event::ToolCall(call) => {
                    println!("-> {} {}", call.name, call.arguments_json);
                    let output = get_weather(&call.arguments_json)?;
                    answers.push(Message::ToolResult { call_id: call.id, name: call.name, output });
                }
                _ => {}
            }
        }
        if answers.is_empty() {
            break;
        }
        next = Source::from(answers);
    }
    println!();
    Ok(())
}

/// The tool; its arguments are the text of a JSON object.
fn get_weather(arguments: &str) -> Result<ToolOutput> {
    let arguments: serde_json::Value = serde_json::from_str(arguments)?;
    let (condition, temperature) = match arguments.get("city").and_then(|city| city.as_str()) {
        Some("London") => ("rainy", 11),
        _ => ("sunny", 22),
    };
    let answer = serde_json::json!({"condition": condition, "temperature": temperature});
    Ok(ToolOutput::Json(answer.to_string()))
}
