//! What the commands of a conversation do.

use std::io::Write;
use std::process::Command as Program;

use lemmy_core::chat::Part;
use lemmy_core::{Message, Special, TokenId};

use super::command::{Command, help};
use super::{Conversation, text_of, transcript};
use crate::cli::failure::{Failure, Result};
use crate::cli::locate::expand_home;
use crate::cli::output::{aside, note};
use crate::cli::talk::thinking;
use crate::cli::units::{bytes, count};

impl Conversation<'_> {
    /// Does what a command asks for.
    pub(super) fn perform(&mut self, command: Command, rest: &str) -> Result<()> {
        match command {
            Command::Help => tell(&help()),
            Command::Bye => {}
            Command::Clear => {
                self.chat.messages.retain(|message| matches!(message, Message::System(_)));
                self.talk.pictures.clear();
                self.last = None;
                tell("forgotten");
            }
            Command::System if rest.is_empty() => tell(self.system().unwrap_or("no instructions")),
            Command::System => {
                self.chat.messages.retain(|message| !matches!(message, Message::System(_)));
                self.chat.messages.insert(0, Message::System(rest.into()));
            }
            Command::Set => {
                let (name, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                self.talk.wishes.set(name, value.trim())?;
            }
            Command::Show => tell(&self.describe(rest)?),
            Command::Image => {
                let file = file(rest)?;
                self.talk.attach(&file)?;
                tell(&format!("{file} goes with your next message"));
            }
            Command::Think if rest.is_empty() => tell(&self.talk.wishes.describe()),
            Command::Think => {
                let wish = thinking(rest);
                self.talk.wishes.thinking = wish.map_err(|e| Failure::usage(format!("/think: found `{rest}`, {e}")))?;
            }
            Command::Thinking => tell(self.last_thought().unwrap_or("no thought so far")),
            Command::Retry => {
                let message = self.take_back()?;
                return self.say(message);
            }
            Command::Undo => {
                let text = text_of(&self.take_back()?);
                tell(&format!("took back: {}", text.lines().next().unwrap_or_default()));
            }
            Command::Edit => return self.edit(),
            Command::Save => {
                let file = file(rest)?;
                self.talk.synchronise(&self.chat)?;
                let size = self.talk.session.save_file(&file)?;
                tell(&format!("kept {} tokens in {file}, {}", self.talk.session.tokens().len(), bytes(size)));
            }
            Command::Load => {
                self.talk.restore(&file(rest)?)?;
                self.chat = self.talk.session.chat().clone();
                self.last = None;
                tell(&format!("{} messages, {} tokens", self.chat.messages.len(), self.talk.session.tokens().len()));
            }
            Command::Export => {
                let file = file(rest)?;
                let write = std::fs::write(&file, transcript::markdown(&self.chat));
                write.map_err(|e| Failure::io(format_args!("cannot write {file}"), &e))?;
            }
            Command::Copy => {
                let text = self.last_answer().ok_or_else(|| Failure::usage("/copy: found no answer so far"))?;
                aside(&format!("\u{1b}]52;c;{}\u{7}", base64(text.as_bytes())), "", "");
            }
            Command::Tokens => {
                let ids = self.talk.model.tokenizer().encode(rest, Special::Text);
                let shown: Vec<_> = ids.iter().map(TokenId::to_string).collect();
                tell(&format!("{} ({} tokens)", shown.join(" "), ids.len()));
            }
            Command::Stats => match &self.last {
                Some(answer) => tell(&format!("{}\n{}", answer.statistics(), self.room())),
                None => tell(&self.room()),
            },
        }
        Ok(())
    }

    fn system(&self) -> Option<&str> {
        match self.chat.messages.first() {
            Some(Message::System(text)) => Some(text),
            _ => None,
        }
    }

    fn last_answer(&self) -> Option<&str> {
        self.chat.messages.iter().rev().find_map(|message| match message {
            Message::Assistant { text, .. } => Some(text.as_str()),
            _ => None,
        })
    }

    fn last_thought(&self) -> Option<&str> {
        let answer = self.last.as_ref().map(|answer| answer.thinking.as_str());
        answer.filter(|thinking| !thinking.is_empty()).map(str::trim_end)
    }

    fn room(&self) -> String {
        let session = &self.talk.session;
        format!("{} of {} tokens of context used", session.tokens().len(), session.capacity())
    }

    fn describe(&self, what: &str) -> Result<String> {
        let info = self.talk.model.info();
        Ok(match what {
            "" | "settings" => self.talk.wishes.describe(),
            "model" => format!(
                "{}: {}, {} parameters, {}, made for {} tokens of context; {}",
                info.name,
                info.architecture,
                count(info.parameters),
                bytes(info.file_bytes),
                info.context,
                info.backend
            ),
            "template" => self.talk.model.chat_template().source().to_owned(),
            "memory" => format!(
                "model {}, conversation {}; {}",
                bytes(info.file_bytes),
                bytes(self.talk.session.memory()),
                self.room()
            ),
            other => {
                let message = format!("/show: found `{other}` (expected settings, model, template or memory)");
                return Err(Failure::usage(message));
            }
        })
    }

    /// Lets the person change the last message, and says it again.
    fn edit(&mut self) -> Result<()> {
        let last = self.chat.messages.iter().rfind(|message| matches!(message, Message::User(_)));
        let before = text_of(last.ok_or_else(|| Failure::usage("/edit: found no message of yours (expected one)"))?);
        let after = edited(&before)?;
        if after.trim().is_empty() || after.trim() == before.trim() {
            tell("unchanged");
            return Ok(());
        }
        let pictures = match self.take_back()? {
            Message::User(parts) => parts.into_iter().filter(|part| matches!(part, Part::Image(_))).collect(),
            _ => Vec::new(),
        };
        self.say(Message::User([pictures, vec![Part::Text(after.trim().into())]].concat()))
    }
}

/// Shows something that is no answer.
fn tell(text: &str) {
    note(format_args!("{}", text.trim_end()));
}

/// The name of a file that a command needs.
fn file(rest: &str) -> Result<String> {
    if rest.is_empty() {
        return Err(Failure::usage("found no name of a file (expected one behind the command)"));
    }
    Ok(expand_home(rest).display().to_string())
}

/// A text after the person's own editor.
fn edited(text: &str) -> Result<String> {
    let path = std::env::temp_dir().join(format!("lemmy-{}.txt", std::process::id()));
    let fail = |e: std::io::Error| Failure::io(format_args!("cannot edit {}", path.display()), &e);
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(fail)?;
    // The variables may hold arguments as well.
    let status = Program::new("sh").args(["-c", "${VISUAL:-${EDITOR:-vi}} \"$0\""]).arg(&path).status();
    let edited = status.and_then(|status| match status.success() {
        true => std::fs::read_to_string(&path),
        false => Err(std::io::Error::other(format!("the editor ended with {status}"))),
    });
    let _ = std::fs::remove_file(&path);
    edited.map_err(fail)
}

/// Bytes as base64 (RFC 4648), for terminals.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |i: usize| u32::from(group.get(i).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * i) & 63) as usize).copied().unwrap_or_default();
            text.push(if i > group.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_of_the_standard() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (text, expected) in cases {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
