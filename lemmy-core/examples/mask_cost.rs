//! What structured output costs with a vocabulary of 262,144 tokens.
//!
//! `cargo run --release -p lemmy-core --features grammar --example mask_cost`

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)] // a program for people

use std::time::{Duration, Instant};

use lemmy_core::chat::{Controls, Tool};
use lemmy_core::error::Result;
use lemmy_core::grammar::{Grammars, Matcher};
use lemmy_core::{Constraint, Sampler, Special, TokenId, Tokenizer};

#[path = "../tests/support/vocabulary.rs"]
mod vocabulary;

fn main() -> Result<()> {
    let tokenizer = Tokenizer::from_gguf(&vocabulary::gguf())?;
    let before = resident();
    let start = Instant::now();
    let grammars = Grammars::new(&tokenizer)?;
    println!("vocabulary: {:?}, {} MiB", start.elapsed(), (resident() - before) >> 20);

    for (name, constraint, text) in cases() {
        measure(name, || grammars.answer(&constraint), &tokenizer, &text)?;
    }
    let tools = tools();
    let controls = Controls::new(&tokenizer);
    let call = "call:tool_41{limit:25,location:{city:<|\"|>Łódź, near the old mill; ask for \"Ewa\"<|\"|>,country:<|\"|>PL<|\"|>},\
                query:<|\"|>Which trains leave after six o'clock in the evening, and which of them have a dining car? 🚆\n\
                Answer in German if you can, or else in English.<|\"|>,tags:[<|\"|>travel<|\"|>,<|\"|>food<|\"|>],unit:<|\"|>metric<|\"|>}\
                <tool_call|>";
    measure("58 tools", || grammars.tool_call(&tools, &controls), &tokenizer, call)
}

/// As many tools as a large assistant has.
fn tools() -> Vec<Tool> {
    let parameters = r#"{"type":"object","properties":{
        "query":{"type":"string","description":"What to look for"},"limit":{"type":"integer","minimum":1,"maximum":100},
        "unit":{"type":"string","enum":["metric","imperial"]},"since":{"type":"string","format":"date"},
        "tags":{"type":"array","items":{"type":"string"},"maxItems":8},"exact":{"type":"boolean"},
        "location":{"type":"object","properties":{"city":{"type":"string"},"country":{"type":"string","pattern":"^[A-Z]{2}$"},
            "radius":{"type":"number","minimum":0}},"required":["city"]}},"required":["query"]}"#;
    let named = |i| Tool {
        name: format!("tool_{i}"),
        description: String::new(),
        // No two alike, as in life.
        parameters_json: parameters.replace("since", &format!("since_{i}")),
        strict: true,
    };
    (0..58).map(named).collect()
}

fn cases() -> Vec<(&'static str, Constraint, String)> {
    let order = r#"{"type":"object","properties":{
        "customer":{"type":"object","properties":{"name":{"type":"string"},"email":{"type":"string","format":"email"},
            "age":{"type":"integer","minimum":18,"maximum":120}},"required":["name","email"],"additionalProperties":false},
        "items":{"type":"array","minItems":1,"items":{"type":"object","properties":{"sku":{"type":"string","pattern":"^[A-Z]{3}-[0-9]{4}$"},
            "title":{"type":"string","maxLength":80},"price":{"type":"number","minimum":0},"tags":{"type":"array","items":{"enum":["new","sale","gift"]}}},
            "required":["sku","price"],"additionalProperties":false}},
        "note":{"type":["string","null"]},"status":{"enum":["open","paid","shipped"]}},
        "required":["customer","items","status"],"additionalProperties":false}"#;
    let text = r#"{
  "customer": {"name": "Zoë Müller-Łęcka", "email": "zoe@example.org", "age": 41},
  "items": [
    {"sku": "ABC-1234", "title": "A lamp, \"Art Déco\", with a rather long description for one", "price": 129.5, "tags": ["new", "gift"]},
    {"sku": "XYZ-0001", "price": 3}
  ],
  "note": "Please ring twice. The bell is old, the door is green, and the dog 🐕 is friendly enough to be let in.\nThank you!",
  "status": "paid"
}"#;
    let any = r#"{"type":"object"}"#;
    let regex = r"[A-Z][a-z]+(, [A-Z][a-z]+)* (born|died) in (1[89]|20)[0-9]{2}\. .{20,400}";
    let sentence = "Ada, Grace, Barbara born in 1906. She wrote one of the first compilers, and the word for a fault in a program \
                    is told to be hers; the moth is in a museum.";
    let lark = r#"start: sum
        sum: product (("+" | "-") product)*
        product: atom (("*" | "/") atom)*
        atom: NUMBER | NAME | "(" sum ")"
        NUMBER: /[0-9]+(\.[0-9]+)?/
        NAME: /[a-z][a-z0-9_]*/
        %ignore / {1,4}/"#;
    let sum = "(alpha + 12.5) * beta_2 - (gamma / (3 + delta)) * 1000 + epsilon * (zeta - 7)";
    vec![
        ("JSON schema", Constraint::JsonSchema(order.into()), text.into()),
        ("any JSON object", Constraint::JsonSchema(any.into()), text.into()),
        ("regex", Constraint::Regex(regex.into()), sentence.into()),
        ("Lark", Constraint::Lark(lark.into()), sum.into()),
    ]
}

/// Follows the text five times. Of each step the quickest counts: what other programs take away is none of ours.
fn measure(name: &str, make: impl Fn() -> Result<Matcher>, tokenizer: &Tokenizer, text: &str) -> Result<()> {
    let timed = || {
        let start = Instant::now();
        make().map(|matcher| (start.elapsed(), matcher))
    };
    let (first, matcher) = timed()?;
    let mut again = first;
    let ids = tokenizer.encode(text, Special::Parse);
    let mut best = walk(matcher, tokenizer, &ids)?;
    for _ in 1..5 {
        let (made, matcher) = timed()?;
        again = again.min(made);
        for (best, times) in best.iter_mut().zip(walk(matcher, tokenizer, &ids)?) {
            *best = [0, 1, 2].map(|i| best[i].min(times[i]));
        }
    }
    let [masks, draws, steps] = [0, 1, 2].map(|i| Spread::of(best.iter().map(|times| times[i]).collect()));
    println!("{name}: made in {first:.1?}, again in {again:.1?}; {} tokens", ids.len());
    println!("  mask {masks}\n  draw {draws}\n  accept {steps}");
    Ok(())
}

/// Times of each step: mask, draw, accept.
fn walk(mut matcher: Matcher, tokenizer: &Tokenizer, ids: &[TokenId]) -> Result<Vec<[Duration; 3]>> {
    let logits: Vec<f32> = (0..tokenizer.vocab_size()).map(|id| (id as f32).sin()).collect();
    let mut sampler = Sampler::greedy();
    ids.iter()
        .map(|&id| {
            let start = Instant::now();
            let mask = matcher.allowed()?;
            let masked = start.elapsed();
            sampler.sample_within(&logits, Some(mask))?;
            let drawn = start.elapsed();
            matcher.accept(id)?;
            Ok([masked, drawn - masked, start.elapsed() - drawn])
        })
        .collect()
}

struct Spread(Vec<Duration>);

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at =
            |share: usize| self.0.get((self.0.len() * share / 100).min(self.0.len() - 1)).copied().unwrap_or_default();
        write!(f, "{:.1?} median, {:.1?} p99, {:.1?} most", at(50), at(99), at(100))
    }
}

/// Bytes of memory in use, where the system tells.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
