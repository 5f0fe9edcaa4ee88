//! A conversation as Markdown, for people.

use std::fmt::Write;

use lemmy_core::chat::Part;
use lemmy_core::{Chat, Message};

use super::text_of;

/// A heading for each message; thoughts as quotations, calls as code.
pub(super) fn markdown(chat: &Chat) -> String {
    let mut text = String::new();
    for message in &chat.messages {
        // Writing to a string cannot fail.
        let _ = match message {
            Message::System(system) => write!(text, "## Instructions\n\n{}\n\n", system.trim()),
            Message::User(parts) => {
                text.push_str("## You\n\n");
                let pictures = parts.iter().filter(|part| matches!(part, Part::Image(_))).count();
                text.push_str(&"(a picture)\n\n".repeat(pictures));
                write!(text, "{}\n\n", text_of(message).trim())
            }
            Message::Assistant { text: said, thinking, tool_calls } => {
                text.push_str("## Lemmy\n\n");
                if let Some(thinking) = thinking {
                    let quoted: Vec<_> = thinking.trim().lines().map(|line| format!("> {line}")).collect();
                    let _ = write!(text, "{}\n\n", quoted.join("\n"));
                }
                for call in tool_calls {
                    let _ = write!(
                        text,
                        "```json\n{{\"name\": \"{}\", \"arguments\": {}}}\n```\n\n",
                        call.name, call.arguments_json
                    );
                }
                if said.trim().is_empty() { Ok(()) } else { write!(text, "{}\n\n", said.trim()) }
            }
            Message::ToolResult { name, output, .. } => {
                write!(text, "## Answer of {name}\n\n```\n{}\n```\n\n", output.text().trim())
            }
            _ => Ok(()),
        };
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_conversation_is_there() {
        let mut chat = Chat::default();
        chat.messages.push(Message::System("Be brief.".into()));
        chat.messages.push(Message::user("Why?\n"));
        chat.messages.push(Message::Assistant {
            text: "Because.".into(),
            thinking: Some("Hm.\nSo.".into()),
            tool_calls: Vec::new(),
        });
        let expected = "## Instructions\n\nBe brief.\n\n## You\n\nWhy?\n\n## Lemmy\n\n> Hm.\n> So.\n\nBecause.\n";
        assert_eq!(markdown(&chat), expected);
    }
}
