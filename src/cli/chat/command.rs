//! What a line means: a message, or a command.

/// What a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said<'l> {
    Nothing,
    Message(&'l str),
    /// A command and what follows it.
    Command(Command, &'l str),
    Unknown(&'l str),
}

/// Commands of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Bye,
    Clear,
    System,
    Set,
    Show,
    Image,
    Think,
    Thinking,
    Retry,
    Undo,
    Edit,
    Save,
    Load,
    Export,
    Copy,
    Tokens,
    Stats,
}

/// Name, what follows it, what it does. The first of several names of one command is its own.
const COMMANDS: [(&str, Command, &str, &str); 20] = [
    ("help", Command::Help, "", "list the commands; also /?"),
    ("bye", Command::Bye, "", "leave; also /exit, /quit, Ctrl-D"),
    ("exit", Command::Bye, "", ""),
    ("quit", Command::Bye, "", ""),
    ("clear", Command::Clear, "", "forget the conversation"),
    ("system", Command::System, "[TEXT]", "show or change the instructions"),
    ("set", Command::Set, "NAME VALUE", "change a setting, such as temp 0"),
    ("show", Command::Show, "[WHAT]", "settings, model, template or memory"),
    ("image", Command::Image, "PATH", "show a picture with your next message"),
    ("think", Command::Think, "[off|on|N]", "whether to think, or at most how many tokens"),
    ("thinking", Command::Thinking, "", "show the last thought"),
    ("retry", Command::Retry, "", "answer again"),
    ("undo", Command::Undo, "", "take back the last exchange"),
    ("edit", Command::Edit, "", "change your last message in $EDITOR"),
    ("save", Command::Save, "FILE", "keep the conversation"),
    ("load", Command::Load, "FILE", "go on with one that was kept"),
    ("export", Command::Export, "FILE.md", "write it down as Markdown"),
    ("copy", Command::Copy, "", "the last answer to the clipboard"),
    ("tokens", Command::Tokens, "TEXT", "show the token ids of a text"),
    ("stats", Command::Stats, "", "show what the last answer took"),
];

impl Command {
    /// Whether it ends the conversation.
    pub(super) fn leaves(self) -> bool {
        self == Self::Bye
    }
}

/// Reads a line. A command is `/` and letters, up to a space or the end; `//text` says `/text`, and a path is no command.
pub(super) fn read(line: &str) -> Said<'_> {
    let line = line.trim();
    if line.is_empty() {
        return Said::Nothing;
    }
    let Some(rest) = line.strip_prefix('/') else { return Said::Message(line) };
    if rest.starts_with('/') {
        return Said::Message(rest);
    }
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if word == "?" {
        return Said::Command(Command::Help, rest.trim());
    }
    if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphabetic()) {
        return Said::Message(line);
    }
    match COMMANDS.iter().find(|(name, ..)| *name == word) {
        Some(&(_, command, ..)) => Said::Command(command, rest.trim()),
        None => Said::Unknown(word),
    }
}

/// All names, for an error.
pub(super) fn names() -> String {
    let names: Vec<_> = COMMANDS.iter().map(|(name, ..)| format!("/{name}")).collect();
    names.join(", ")
}

/// Names that begin so.
pub(super) fn completions(start: &str) -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(name, ..)| *name).filter(move |name| name.starts_with(start))
}

/// Whether a file's name follows this word.
pub(super) fn takes_path(word: &str) -> bool {
    matches!(word, "save" | "load" | "export" | "image")
}

/// A line for each command.
pub(super) fn help() -> String {
    let lines = COMMANDS.iter().filter(|(.., text)| !text.is_empty());
    let lines = lines.map(|(name, _, rest, text)| format!("{:<20} {text}\n", format!("/{name} {rest}")));
    lines.collect::<String>()
        + "\
//text               say /text
\"\"\"                  begin and end a message of several lines; or end a line with \\, or Alt-Enter"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_commands() {
        assert_eq!(read("  \t"), Said::Nothing);
        assert_eq!(read("hello "), Said::Message("hello"));
        assert_eq!(read("/help"), Said::Command(Command::Help, ""));
        assert_eq!(read("/?"), Said::Command(Command::Help, ""));
        assert_eq!(read("/system  Be brief. "), Said::Command(Command::System, "Be brief."));
        assert_eq!(read("/frob now"), Said::Unknown("frob"));
    }

    #[test]
    fn paths_and_doubled_slashes_are_text() {
        assert_eq!(read("/tmp/x"), Said::Message("/tmp/x"));
        assert_eq!(read("/ x"), Said::Message("/ x"));
        assert_eq!(read("//help"), Said::Message("/help"));
        assert_eq!(read("/x86 is what?"), Said::Message("/x86 is what?"));
    }

    #[test]
    fn every_command_is_in_the_help() {
        for (name, command, ..) in COMMANDS {
            assert_eq!(read(&format!("/{name} x")), Said::Command(command, "x"));
            assert!(help().contains(&format!("/{name}")), "{name}");
        }
        assert!(help().lines().all(|line| line.len() <= 100));
    }

    #[test]
    fn completions_are_names() {
        assert_eq!(completions("s").collect::<Vec<_>>(), ["system", "set", "show", "save", "stats"]);
    }
}
