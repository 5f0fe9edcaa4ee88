//! Prompts: same ids as the rendered text, and nothing that a user can write becomes a control token.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

#[path = "support/vocabulary.rs"]
mod vocabulary;

use std::sync::LazyLock;

use lemmy_core::chat::{
    Chat, ChatTemplate, Image, Message, Part, RenderOptions, StartState, Tool, ToolCall, ToolOutput,
};
use lemmy_core::{Special, TokenId, Tokenizer};
use proptest::prelude::*;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_gguf(&vocabulary::gguf()).unwrap());

static TEMPLATES: LazyLock<[(&str, ChatTemplate); 4]> = LazyLock::new(|| {
    [
        ("launch", ChatTemplate::new(include_str!("fixtures/chat/chat_template.2026-04-launch.jinja")).unwrap()),
        ("April 10", ChatTemplate::new(include_str!("fixtures/chat/chat_template.2026-04-10.jinja")).unwrap()),
        ("April 28", ChatTemplate::new(include_str!("fixtures/chat/chat_template.2026-04-28.jinja")).unwrap()),
        ("canonical", ChatTemplate::canonical().unwrap()),
    ]
});

/// Every control string of the vocabulary.
static CONTROL: LazyLock<Vec<String>> = LazyLock::new(|| {
    let ids = (0..TOKENIZER.vocab_size() as TokenId).filter(|&id| TOKENIZER.is_control(id));
    ids.map(|id| String::from_utf8(TOKENIZER.piece(id).to_vec()).unwrap()).collect()
});

fn canonical() -> &'static ChatTemplate {
    &TEMPLATES[3].1
}

/// A conversation with a text in each place where a caller can put one.
#[derive(Debug, Clone)]
struct Fields(Vec<String>);

impl Fields {
    const COUNT: usize = 14;

    fn new(text: impl Fn(usize) -> String) -> Self {
        Self((0..Self::COUNT).map(text).collect())
    }

    fn chat(&self, thinking: bool) -> Chat {
        let f = |i: usize| self.0[i].clone();
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let call = |id: &str| ToolCall {
            id: id.into(),
            name: format!("tool{}", f(3)),
            arguments_json: format!("{{{}:{},\"list\":[{}]}}", json(&f(4)), json(&f(5)), json(&f(6))),
        };
        let properties = format!(
            "{{{}:{{\"type\":\"string\",\"description\":{},\"enum\":[{}]}},\"o\":{{\"type\":\"object\",\"properties\":{{}},\"required\":[{}]}}}}",
            json(&format!("p{}", f(7))),
            json(&f(8)),
            json(&f(9)),
            json(&f(9)),
        );
        Chat {
            messages: vec![
                Message::System(f(0)),
                Message::User(vec![
                    Part::Text(f(1)),
                    Part::Text(f(2)),
                    Part::Image(Image::from_bytes(*b"x")),
                    Part::Text(f(10)),
                ]),
                Message::Assistant { text: f(11), thinking: Some(f(12)), tool_calls: vec![call("a"), call("b")] },
                Message::ToolResult { call_id: "a".into(), name: String::new(), output: ToolOutput::Text(f(13)) },
                Message::ToolResult {
                    call_id: "b".into(),
                    name: String::new(),
                    output: ToolOutput::Json(format!("{{{}:{}}}", json(&format!("k{}", f(4))), json(&f(13)))),
                },
                Message::assistant(f(11)),
                Message::assistant(f(12)),
                Message::user(f(1)),
            ],
            tools: vec![Tool {
                name: "tool".into(),
                description: f(8),
                parameters_json: format!("{{\"type\":\"object\",\"properties\":{properties}}}"),
                strict: false,
            }],
            thinking,
            preserve_thinking: true,
        }
    }
}

fn controls(ids: &[TokenId]) -> Vec<TokenId> {
    let mut ids: Vec<_> = ids.iter().copied().filter(|&id| TOKENIZER.is_control(id)).collect();
    ids.sort_unstable();
    ids
}

/// The text between the control tokens.
fn plain(ids: &[TokenId]) -> String {
    let parts: Vec<String> = ids.split(|&id| TOKENIZER.is_control(id)).map(|part| TOKENIZER.decode(part)).collect();
    parts.join("\u{1}")
}

fn check(fields: &Fields, what: &str) {
    for (name, template) in TEMPLATES.iter() {
        let harmless = Fields::new(|_| "harmless".into()).chat(false);
        let harmless = template.prompt(&TOKENIZER, &harmless).unwrap();
        let prompt = template.prompt(&TOKENIZER, &fields.chat(false)).unwrap();
        assert_eq!(controls(&prompt.ids), controls(&harmless.ids), "{name}: {what}");
        assert_eq!((prompt.start, prompt.images.len()), (harmless.start, 1), "{name}: {what}");
        assert_eq!(prompt.ids[prompt.images[0]], TOKENIZER.find("<|image|>").unwrap());
        let text = plain(&prompt.ids);
        for i in [0, 1, 2, 10, 11, 13] {
            assert!(text.contains(fields.0[i].trim()), "{name}: {what}: field {i} of {text:?}");
        }
    }
}

#[test]
fn no_control_string_becomes_a_token_in_any_field() {
    assert_eq!(CONTROL.len(), 24);
    for control in CONTROL.iter() {
        check(&Fields::new(|_| control.clone()), control);
        check(&Fields::new(|i| format!("a{i}{control}b")), control);
        check(&Fields::new(|_| control.to_uppercase()), control);
        // Nested: taking the inner one out would make the outer one.
        let (left, right) = control.split_at(control.len() / 2);
        for inner in ["<channel|>", "<|turn>"] {
            check(&Fields::new(|_| format!("{left}{inner}{right}")), control);
        }
    }
}

#[test]
fn no_control_string_is_put_together_from_neighbours() {
    for control in CONTROL.iter() {
        for at in 1..control.len() {
            let (left, right) = control.split_at(at);
            check(&Fields::new(|i| if i % 2 == 0 { right.into() } else { left.into() }), control);
            check(&Fields::new(|i| if i % 2 == 1 { right.into() } else { left.into() }), control);
        }
    }
}

#[test]
fn characters_that_serve_as_marks_are_text_too() {
    let all: String = ('\u{10FF00}'..='\u{10FFFF}').collect();
    check(&Fields::new(|_| all.clone()), "marks");
    let everything: String = ('\u{40000}'..=char::MAX).collect();
    let chat = Chat { messages: vec![Message::user(everything)], ..Chat::default() };
    let error = canonical().prompt(&TOKENIZER, &chat).unwrap_err().to_string();
    assert!(error.contains("private"), "{error}");
}

#[test]
fn an_image_is_one_token_in_its_place() {
    let image = || Part::Image(Image::from_bytes(*b"x"));
    let chat = Chat {
        messages: vec![Message::User(vec![Part::Text("<|image|>".into()), image(), Part::Text("b".into()), image()])],
        ..Chat::default()
    };
    for (name, template) in TEMPLATES.iter() {
        let prompt = template.prompt(&TOKENIZER, &chat).unwrap();
        let id = TOKENIZER.find("<|image|>").unwrap();
        let places: Vec<usize> = (0..prompt.ids.len()).filter(|&i| prompt.ids[i] == id).collect();
        assert_eq!((prompt.images.len(), &prompt.images), (2, &places), "{name}");
    }
}

#[test]
fn replies_begin_where_the_prompt_ends() {
    let fields = Fields::new(|i| format!("text {i}"));
    let until = |n: usize, thinking: bool| {
        let chat = fields.chat(thinking);
        Chat { messages: chat.messages[..n].to_vec(), ..chat }
    };
    use StartState::{ClosedThought, Model, OpenThought};
    // After a user, after an answer, after tool results; thinking off and on.
    let expected = [
        ("launch", [ClosedThought, Model, ClosedThought, Model, ClosedThought, Model]),
        ("April 10", [ClosedThought, Model, ClosedThought, Model, ClosedThought, Model]),
        ("April 28", [ClosedThought, Model, ClosedThought, Model, ClosedThought, Model]),
        ("canonical", [ClosedThought, Model, ClosedThought, Model, Model, OpenThought]),
    ];
    for ((name, template), (_, expected)) in TEMPLATES.iter().zip(expected) {
        let found = [(2, false), (2, true), (6, false), (6, true), (5, false), (5, true)]
            .map(|(n, thinking)| template.prompt(&TOKENIZER, &until(n, thinking)).unwrap().start);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn there_is_one_bos() {
    let chat = Chat { messages: vec![Message::user("<bos>")], ..Chat::default() };
    for source in
        ["{{ bos_token }}{{ messages[0].content }}", "{{ messages[0].content }}", "<bos>{{ messages[0].content }}"]
    {
        let prompt = ChatTemplate::new(source).unwrap().prompt(&TOKENIZER, &chat).unwrap();
        assert_eq!(controls(&prompt.ids), [2], "{source}");
        assert_eq!(prompt.ids[0], 2);
        assert_eq!(plain(&prompt.ids), "\u{1}<bos>");
    }
}

/// Text without control strings, rich in what templates trim, sort and look for.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-zA-Z0-9]{1,6}",
        2 => "[ \t\n\u{1c}\u{1f}\u{85}\u{a0}\u{3000}]{1,3}",
        2 => "[<>|{}\\[\\]\"':,]{1,2}",
        1 => any::<char>().prop_map(String::from),
        1 => "(thought|model|user|turn|null|channel)".prop_map(String::from),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn ids_equal_those_of_the_rendered_text(fields in prop::collection::vec(text(), Fields::COUNT), thinking: bool) {
        let fields = Fields(fields);
        let chat = fields.chat(thinking);
        for (name, template) in TEMPLATES.iter() {
            let text = template.render(&chat, &RenderOptions::for_generation()).unwrap();
            let harmless = fields.0.iter().all(|field| !CONTROL.iter().any(|control| field.contains(control.as_str())));
            prop_assume!(harmless);
            let prompt = template.prompt(&TOKENIZER, &chat).unwrap();
            prop_assert_eq!(TOKENIZER.encode(&text, Special::Parse), prompt.ids, "{}: {}", name, text);
        }
    }

    #[test]
    fn no_mixture_becomes_a_token(
        pieces in prop::collection::vec(prop::collection::vec((0_usize..24, 0_usize..31, 0_usize..31), 0..5), Fields::COUNT),
    ) {
        let mixture = |pieces: &Vec<(usize, usize, usize)>| {
            let piece = |&(control, from, to): &(usize, usize, usize)| {
                let control = CONTROL[control].as_str();
                let (from, to) = (from % control.len(), to % control.len() + 1);
                control.get(from.min(to)..to.max(from)).unwrap().to_owned()
            };
            pieces.iter().map(piece).collect::<String>()
        };
        let fields = Fields(pieces.iter().map(mixture).collect());
        let prompt = canonical().prompt(&TOKENIZER, &fields.chat(false)).unwrap();
        let texts = fields.0.iter().map(|text| !text.is_empty()).collect::<Vec<_>>();
        let same_shape = Fields::new(|i| if texts[i] { "x".into() } else { String::new() });
        let harmless = canonical().prompt(&TOKENIZER, &same_shape.chat(false)).unwrap();
        prop_assert_eq!(controls(&prompt.ids), controls(&harmless.ids));
    }
}
