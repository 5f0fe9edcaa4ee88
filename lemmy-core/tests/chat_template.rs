//! Which template is used, and what is said about it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

#[path = "support/vocabulary.rs"]
mod vocabulary;

use lemmy_core::chat::{Chat, ChatTemplate, Message};
use lemmy_core::gguf::{FileBytes, Gguf, GgufWriter, Value};
use lemmy_core::{Error, Tokenizer};

fn with_template(value: Option<Value>) -> ChatTemplate {
    let mut writer = GgufWriter::new();
    writer.key("general.architecture", Value::String("gemma4".into()));
    if let Some(value) = value {
        writer.key("tokenizer.chat_template", value);
    }
    let bytes = writer.begin(Vec::new()).unwrap().finish().unwrap();
    ChatTemplate::from_gguf(&Gguf::from_bytes(FileBytes::Owned(bytes)).unwrap()).unwrap()
}

#[test]
fn known_versions_are_named_and_stale_ones_warned_of() {
    let rows = [
        (include_str!("fixtures/chat/chat_template.2026-04-launch.jinja"), "2026-04"),
        (include_str!("fixtures/chat/chat_template.2026-04-10.jinja"), "2026-04-10"),
        (include_str!("fixtures/chat/chat_template.2026-04-28.jinja"), "2026-04-28"),
    ];
    for (source, day) in rows {
        let template = ChatTemplate::new(source).unwrap();
        assert_eq!((template.version(), template.source()), (Some(day), source));
        let warning = template.warning().unwrap();
        assert!(warning.contains(&format!("of {day} is stale")) && warning.contains("canonical"), "{warning}");
    }
    let canonical = ChatTemplate::canonical().unwrap();
    assert_eq!((canonical.version(), canonical.warning()), (Some("2026-07-09"), None));
    let own = ChatTemplate::new("{{ messages }}").unwrap();
    assert_eq!((own.version(), own.warning()), (None, None));
}

#[test]
fn a_file_is_usable_whatever_its_template_is() {
    let template = ChatTemplate::from_gguf(&vocabulary::gguf()).unwrap();
    assert_eq!(template.version(), Some("2026-04"));
    let own = with_template(Some(Value::String("{{ bos_token }}own".into())));
    assert_eq!((own.source(), own.warning()), ("{{ bos_token }}own", None));
    for (value, reason) in [
        (None, "has no chat template"),
        (Some(Value::String("{% if %}".into())), "cannot be read"),
        (Some(Value::String(" ".repeat(2 << 20))), "cannot be read"),
        (Some(Value::U32(1)), "is no text"),
    ] {
        let template = with_template(value);
        assert_eq!(template.version(), Some("2026-07-09"));
        assert!(template.warning().unwrap().contains(reason), "{reason}");
    }
    assert!(matches!(ChatTemplate::new("{% if %}"), Err(Error::Template(_))));
}

#[test]
fn control_strings_made_of_pieces_are_warned_of() {
    let tokenizer = Tokenizer::from_gguf(&vocabulary::gguf()).unwrap();
    let chat = Chat { messages: vec![Message::user("x")], ..Chat::default() };
    let warnings = |source: &str| ChatTemplate::new(source).unwrap().prompt(&tokenizer, &chat).unwrap().warnings;
    let pieces = warnings("{{ bos_token }}{{ '<|' ~ 'turn>' }}{{ messages[0].content }}");
    assert_eq!(pieces.len(), 1);
    assert!(pieces[0].contains("from pieces"), "{pieces:?}");
    assert!(warnings("{{ bos_token }}{{ '<|turn>' ~ messages[0].content }}").is_empty());
}
