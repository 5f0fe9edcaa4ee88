//! A model whose replies are scripted, on a small vocabulary with all control tokens.

use std::sync::{Arc, Mutex};

use lemmy_conformance::scripted::Scripted;
use lemmy_core::chat::{Prompt, StartState};
use lemmy_core::gguf::{Array, FileBytes, Gguf, GgufWriter, Value};
use lemmy_core::{Event, Finish, GenerateOptions, Model, Session, Special, ThreadPool, TokenId};

/// Every control token of Gemma 4; the first four are `<pad> <eos> <bos> <unk>`.
const CONTROLS: [&str; 24] = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<mask>",
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    "<|\"|>",
    "<|think|>",
    "<|channel>",
    "<channel|>",
    "<|turn>",
    "<turn|>",
    "<|image>",
    "<|audio>",
    "<|image|>",
    "<|audio|>",
    "<image|>",
    "<audio|>",
    "<|video|>",
];
/// Tokens of two letters.
const JOINED: [&str; 6] = ["th", "in", "er", "an", "ou", "ll"];
const VOCAB: usize = 512;

/// A model of 512 tokens (controls, bytes, ASCII, a few pairs of letters) that follows a script.
pub(crate) fn model(script: &Scripted) -> Model {
    let mut tokens: Vec<Vec<u8>> = CONTROLS.iter().map(|s| s.as_bytes().to_vec()).collect();
    let mut types = vec![3; tokens.len()];
    for byte in 0..=255 {
        tokens.push(format!("<0x{byte:02X}>").into_bytes());
        types.push(6);
    }
    let letters = ('!'..='~').map(String::from).chain(["\u{2581}".into(), "\n".into()]);
    tokens.extend(letters.chain(JOINED.map(String::from)).map(String::into_bytes));
    tokens.extend((tokens.len()..VOCAB).map(|i| format!("<unused{i}>").into_bytes()));
    types.resize(VOCAB, 1);
    let merges = JOINED.map(|pair| format!("{} {}", &pair[..1], &pair[1..]));
    let tokenizer = [
        ("tokenizer.ggml.tokens", Value::from(Array::from_strings(&tokens))),
        ("tokenizer.ggml.token_type", Array::from(&types[..]).into()),
        ("tokenizer.ggml.merges", Array::from_strings(merges).into()),
    ];
    let builder = Model::builder_from_bytes(FileBytes::Owned(tiny_with(&tokenizer)));
    builder.threads(ThreadPool::new(1).unwrap()).backend(script.clone()).load().unwrap()
}

/// The tiny model's file with other values of some keys.
fn tiny_with(values: &[(&str, Value)]) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tiny/tiny-q4_k_m.gguf");
    let tiny = Gguf::from_bytes(FileBytes::Owned(std::fs::read(path).unwrap())).unwrap();
    let mut writer = GgufWriter::new();
    for (key, old) in tiny.keys() {
        let new = values.iter().find(|(name, _)| *name == key).map_or(old, |(_, value)| value);
        writer.key(key, new.clone());
    }
    for tensor in tiny.tensors() {
        writer.tensor(&tensor.name, tensor.dtype, &tensor.shape[..tensor.dims as usize]).unwrap();
    }
    let mut data = writer.begin(Vec::new()).unwrap();
    for tensor in tiny.tensors() {
        data.write(tiny.tensor_bytes(tensor).as_slice()).unwrap();
    }
    data.finish().unwrap()
}

/// Ids of pieces: `@<turn|>` is a control token, all else is text.
pub(crate) fn ids(model: &Model, pieces: &[&str]) -> Vec<TokenId> {
    let tokenizer = model.tokenizer();
    let one = |piece: &&str| match piece.strip_prefix('@') {
        Some(control) => vec![tokenizer.find(control).unwrap()],
        None => tokenizer.encode(piece, Special::Text),
    };
    pieces.iter().flat_map(one).collect()
}

/// The tiny model with its own weights and vocabulary, on the CPU.
pub(crate) fn real() -> Model {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tiny/tiny-q4_k_m.gguf");
    Model::builder(path).threads(ThreadPool::new(2).unwrap()).load().unwrap()
}

/// A model that says what it is told to: after a prompt of three tokens, or where a conversation's prompt ends.
pub(crate) struct Actor {
    pub(crate) model: Model,
    pub(crate) backend: Scripted,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    said: Vec<TokenId>,
    /// The prompt of three tokens.
    plain: Vec<TokenId>,
    /// What stands between a turn's mark and the reply: the role, and a thought or none.
    openings: Vec<Vec<TokenId>>,
    turn_open: TokenId,
    response_close: TokenId,
}

impl Lines {
    /// Where the reply begins.
    fn beginning(&self, tokens: &[TokenId]) -> usize {
        if tokens.starts_with(&self.plain) {
            return Actor::PROMPT;
        }
        let Some(mark) = tokens.iter().rposition(|&id| id == self.turn_open || id == self.response_close) else {
            return tokens.len();
        };
        let after = &tokens[mark + 1..];
        let opening = self.openings.iter().filter(|opening| after.starts_with(opening)).map(Vec::len).max();
        mark + 1 + opening.unwrap_or(0)
    }
}

impl Actor {
    pub(crate) const PROMPT: usize = 3;

    /// Says these pieces (see [`ids`]).
    pub(crate) fn new(pieces: &[&str]) -> Self {
        let lines: Arc<Mutex<Lines>> = Arc::default();
        let said = lines.clone();
        let backend = Scripted::new(move |tokens, row| {
            let lines = said.lock().unwrap();
            let at = tokens.len().saturating_sub(lines.beginning(tokens));
            row[lines.said[at.min(lines.said.len() - 1)] as usize] = 60.0;
            Ok(())
        });
        let actor = Self { model: model(&backend), backend, lines };
        let openings = [&["model\n"][..], &["model\n", "@<|channel>", "thought\n", "@<channel|>"]];
        {
            let mut lines = actor.lines.lock().unwrap();
            lines.plain = actor.prompt(StartState::Answer).ids;
            lines.openings = openings.map(|opening| ids(&actor.model, opening)).into();
            lines.openings.push(ids(&actor.model, &["@<|channel>", "thought\n"]));
            [lines.turn_open, lines.response_close] =
                ["<|turn>", "<tool_response|>"].map(|mark| actor.model.tokenizer().find(mark).unwrap());
        }
        actor.says(pieces);
        actor
    }

    /// Says these pieces from now on.
    pub(crate) fn says(&self, pieces: &[&str]) {
        self.lines.lock().unwrap().said = ids(&self.model, pieces);
    }

    pub(crate) fn session(&self) -> Session {
        self.model.session().context(1024).build().unwrap()
    }

    pub(crate) fn prompt(&self, start: StartState) -> Prompt {
        Prompt::new(ids(&self.model, &["@<bos>", "a", "b"]), start)
    }

    /// A whole reply after a prompt that ends so.
    pub(crate) fn reply(&self, start: StartState, options: GenerateOptions) -> Vec<Event> {
        let mut session = self.session();
        session.send(self.prompt(start), options).unwrap().map(Result::unwrap).collect()
    }
}

/// Adjacent texts and adjacent thoughts as one, without the last event, which is given apart.
pub(crate) fn joined(events: Vec<Event>) -> (Vec<Event>, Finish) {
    let mut joined: Vec<Event> = Vec::new();
    let mut finish = None;
    for event in events {
        assert_eq!(finish, None, "{event:?} after the last event");
        match (joined.last_mut(), event) {
            (Some(Event::Text(text)), Event::Text(more)) | (Some(Event::Thinking(text)), Event::Thinking(more)) => {
                text.push_str(&more);
            }
            (_, Event::Finished(f)) => finish = Some(f),
            (_, event) => joined.push(event),
        }
    }
    (joined, finish.unwrap())
}

pub(crate) fn text(events: &[Event]) -> String {
    events.iter().filter_map(|event| if let Event::Text(text) = event { Some(text.as_str()) } else { None }).collect()
}
