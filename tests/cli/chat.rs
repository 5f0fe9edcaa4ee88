//! `lemmy chat` without a terminal: each line is one message.

use super::*;

fn chat(arguments: &[&str], stdin: &str) -> Done {
    done_with(lemmy(["chat", &tiny(), "--temp", "0", "-n", "5", "--no-history"]).args(arguments), stdin.as_bytes())
}

/// The messages of the person in a transcript.
fn said(file: &Path) -> Vec<String> {
    let transcript = std::fs::read_to_string(file).unwrap();
    let parts = transcript.split("## ").filter_map(|part| part.strip_prefix("You\n\n"));
    parts.map(|part| part.trim_end().to_owned()).collect()
}

#[test]
fn each_line_is_one_message_and_a_blank_line_stands_between_answers() {
    let one = chat(&[], "Hello\n").code(0);
    let two = chat(&[], "Hello\n\nHello again").code(0);
    assert!(one.text().ends_with('\n') && !one.err.contains('>'), "{one:?}");
    assert!(two.text().starts_with(&format!("{}\n", one.text())), "{two:?}");
    assert_eq!(chat(&[], "").code(0).text(), "");
}

#[test]
fn lines_can_be_joined() {
    let folder = Folder::new("lines");
    let file = folder.path("said.md");
    let export = format!("/export {}\n", text(&file));
    let lines = ["one\\\ntwo\n", "\"\"\"\nthree\n\nfour\n\"\"\"\n", "//five\n", "/tmp/six\r\n", &export].concat();
    chat(&[], &lines).code(0);
    assert_eq!(said(&file), ["one\ntwo", "three\n\nfour", "/five", "/tmp/six"]);
}

#[test]
fn what_was_said_can_be_taken_back_and_kept() {
    let folder = Folder::new("undo");
    let (file, kept) = (folder.path("said.md"), folder.path("kept.session"));
    let (export, kept) = (format!("/export {}\n", text(&file)), text(&kept));
    chat(&[], &format!("one\ntwo\n/undo\nthree\n/retry\n{export}/save {kept}\n")).code(0);
    assert_eq!(said(&file), ["one", "three"]);
    chat(&["--load-session", kept], &format!("four\n/undo\n{export}")).code(0);
    assert_eq!(said(&file), ["one", "three"]);
    chat(&[], &format!("zero\n/load {kept}\nfour\n{export}")).code(0);
    assert_eq!(said(&file), ["one", "three", "four"]);
    chat(&["--system", "Be brief."], &format!("one\n/clear\ntwo\n{export}")).code(0);
    assert_eq!(said(&file), ["two"]);
    assert!(std::fs::read_to_string(&file).unwrap().contains("Be brief."));
    chat(&["--save-session", kept], "one\n/undo\ntwo\n").code(0);
    chat(&["--load-session", kept], &export).code(0);
    assert_eq!(said(&file), ["two"]);
    chat(&["--save-session", kept], "one\n/clear\n").code(0);
    chat(&["--load-session", kept], &export).code(0);
    assert!(said(&file).is_empty());
}

#[test]
fn commands_answer_on_stderr() {
    let told =
        chat(&[], "/help\n/tokens a b\n/set temp 0.5\n/think 7\n/show\n/show model\n/show memory\n/stats\n/bye\nHello");
    let told = told.code(0);
    assert_eq!(told.text(), "", "{told:?}");
    for words in ["/retry", "(2 tokens)", "temp            0.5", "at most 7 tokens", "gemma4", "of context used"] {
        assert!(told.err.contains(words), "{words} in {told:?}");
    }
}

#[test]
fn mistakes_end_a_script() {
    for (line, words) in [
        ("/frob", "/frob: found no such command"),
        ("/image cat.png", "expected --mmproj FILE"),
        ("/undo", "found no message of yours"),
        ("/set heat 1", "expected one of temp"),
        ("/show everything", "expected settings, model"),
        ("/save", "found no name of a file"),
        ("/think hard", "expected off, on"),
    ] {
        chat(&[], &format!("{line}\nHello\n")).code(2).says(words);
    }
    chat(&[], "/load no-such.session\n").code(3).says("no-such.session");
}

#[test]
fn the_conversation_is_remembered_in_the_cache() {
    let shown = chat(&["--stats"], "Hello\nHello again\n").code(0);
    assert!(shown.err.contains("tok reused"), "{shown:?}");
}
