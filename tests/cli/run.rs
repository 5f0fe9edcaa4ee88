//! `lemmy run --raw`: a text goes on.

use super::*;

fn greedy(arguments: &[&str]) -> Done {
    done(lemmy(["run", &tiny(), "--raw", "--temp", "0"]).args(arguments))
}

#[test]
fn the_answer_and_a_line_end_and_nothing_else() {
    let json = greedy(&["Hello world", "-n", "20", "--json"]).code(0).json();
    let plain = greedy(&["Hello world", "-n", "20"]).code(0);
    assert_eq!(plain.text(), format!("{}\n", json["text"].as_str().unwrap()));
    assert_eq!(plain.err, "");
}

#[test]
fn one_json_object() {
    let json = greedy(&["Hello world", "-n", "20", "--json"]).code(0).json();
    assert_eq!(json["finish"], "length");
    assert_eq!(json["tokens"].as_array().unwrap().len(), 20);
    assert_eq!(json["usage"]["completion_tokens"], 20);
    let total = json["usage"]["prompt_tokens"].as_u64().unwrap() + 20;
    assert_eq!(json["usage"]["total_tokens"], total);
    for key in ["load_s", "prompt_s", "prompt_tok_s", "decode_s", "decode_tok_s"] {
        assert!(json["timings"][key].as_f64().unwrap() > 0.0, "{key}");
    }
}

#[test]
fn greedy_is_the_same_for_any_threads_and_ways_of_loading() {
    let tokens = |arguments: &[&str]| {
        greedy(&[&["one two three", "-n", "30", "--json"], arguments].concat()).code(0).json()["tokens"].clone()
    };
    let first = tokens(&[]);
    assert_eq!(tokens(&["-t", "1"]), first);
    assert_eq!(tokens(&["-t", "3", "--no-mmap"]), first);
    assert_eq!(tokens(&["-c", "100"]), first);
}

#[test]
fn a_seed_repeats_and_another_differs() {
    let tokens = |seed: &str| {
        let tiny = tiny();
        let mut command = lemmy(["run", &tiny, "--raw", "a", "-n", "30", "--temp", "1", "--json", "--seed", seed]);
        done(&mut command).code(0).json()["tokens"].clone()
    };
    assert_eq!(tokens("1"), tokens("1"));
    assert_ne!(tokens("1"), tokens("2"));
}

#[test]
fn the_prompt_comes_from_words_flag_file_and_stdin() {
    let folder = Folder::new("prompt");
    std::fs::write(folder.path("prompt.txt"), "one two\n").unwrap();
    std::fs::write(folder.path("rest.txt"), "two\r\n").unwrap();
    let (prompt, rest) = (folder.path("prompt.txt"), folder.path("rest.txt"));
    let tiny = tiny();
    let answer = |arguments: &[&str], stdin: &str| {
        let mut command = lemmy(["run", &tiny, "--raw", "--temp", "0", "-n", "10", "--json"]);
        let json = done_with(command.args(arguments), stdin.as_bytes()).code(0).json();
        (json["usage"].clone(), json["tokens"].clone())
    };
    let expected = answer(&["one two"], "");
    assert_eq!(answer(&["one", "two"], ""), expected);
    assert_eq!(answer(&["-p", "one two"], ""), expected);
    assert_eq!(answer(&["-f", text(&prompt)], "not read"), expected);
    assert_eq!(answer(&[], "one two\n"), expected);
    assert_eq!(answer(&["-f", "-"], "one two"), expected);

    let both = answer(&["-p", "one\n\ntwo"], "");
    assert_ne!(both, expected);
    assert_eq!(answer(&["one"], "two\n"), both);
    assert_eq!(answer(&["one", "-f", text(&rest)], ""), both);
}

#[test]
fn stdin_must_be_text() {
    let failed = done_with(&mut lemmy(["run", &tiny(), "-n", "1"]), b"abc\xffdef").code(2);
    failed.says("stdin: found no UTF-8 at byte 3");
}

#[test]
fn control_strings_are_text_unless_asked() {
    let tokens = |arguments: &[&str]| {
        let json = greedy(&[&["<|turn>", "-n", "1", "--json"], arguments].concat()).code(0).json();
        json["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    assert_eq!(tokens(&["--special"]), 2, "BOS and one control token");
    assert!(tokens(&[]) > 2);
    // A BOS that is there already is not doubled.
    let bos = greedy(&["<bos>a", "--special", "-n", "1", "--json"]).code(0).json();
    assert_eq!(bos["usage"]["prompt_tokens"], 2);
}

#[test]
fn a_stop_text_is_never_shown() {
    let json = greedy(&["Hello world", "-n", "40", "--json"]).code(0).json();
    let whole = json["text"].as_str().unwrap();
    // From the middle of one token to the middle of another.
    let cuts: Vec<_> = whole.char_indices().map(|(at, _)| at).collect();
    let stop = &whole[cuts[10]..cuts[15]];
    let expected = &whole[..whole.find(stop).unwrap()];
    let stopped =
        greedy(&["Hello world", "-n", "40", "--stop", "never there", "--stop", stop, "--json"]).code(0).json();
    assert_eq!(stopped["text"], expected);
    assert_eq!(stopped["finish"], "stop");
    let plain = greedy(&["Hello world", "-n", "40", "--stop", stop]).code(0);
    assert_eq!(plain.text(), format!("{expected}\n"));
}

#[test]
fn a_full_context_keeps_the_text_and_is_an_error() {
    // Repetition is rewarded, so the model never ends by itself.
    let endless = ["a", "--repeat-penalty", "0.5", "-c", "64"];
    let full = greedy(&endless).code(1).says("context full: 64 tokens (expected at most 64)");
    assert!(full.text().len() > 20);
    assert!(full.err.contains("hint: -c N makes more room"), "{full:?}");
    let full = greedy(&[&endless[..], &["--json"]].concat()).code(1);
    let json = full.json();
    assert_eq!(json["finish"], "context");
    assert_eq!(json["error"]["kind"], "context_full");
    assert!(!json["text"].as_str().unwrap().is_empty());
}

#[test]
fn a_prompt_of_ten_megabytes_is_refused_for_its_length() {
    let prompt = "abcdefghi ".repeat(1 << 20);
    let began = Instant::now();
    for form in [&["--raw"][..], &[]] {
        let command = &mut lemmy(["run", &tiny()]);
        let failed = done_with(command.args(form), prompt.as_bytes()).code(1);
        assert!(failed.out.is_empty() && failed.err.contains("error: context full"), "{failed:?}");
    }
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn no_memory_is_exit_4_with_numbers() {
    let script = "ulimit -v 200000; exec \"$0\" run \"$1\" hello -c 1000000 -n 1";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_lemmy"), &tiny()]).stdin(Stdio::null());
    let failed = done(shell.stdout(Stdio::piped()).stderr(Stdio::piped())).code(4).says("out of memory");
    assert!(failed.err.contains("needs") && failed.err.contains("address space of 204.80 MB"), "{failed:?}");
}

#[test]
fn statistics_only_when_asked_without_a_terminal() {
    let shown = greedy(&["a", "-n", "3", "--stats"]).code(0);
    assert!(shown.err.contains("tok/s"), "{shown:?}");
    assert_eq!(greedy(&["a", "-n", "3", "--stats", "--no-stats"]).code(0).err, "");
}

#[test]
fn it_works_without_home_environment_and_write_access() {
    let folder = Folder::new("bare");
    let mut command = lemmy(["run", &tiny(), "--raw", "a", "-n", "2"]);
    let bare = done(command.env_clear().current_dir(&folder.0)).code(0);
    assert_eq!(bare.err, "");
    assert!(folder.names().is_empty());
}
