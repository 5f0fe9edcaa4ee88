//! Arguments, help, exit codes.

use super::*;

#[test]
fn version_names_the_instruction_set() {
    let version = done(&mut lemmy(["--version"])).code(0);
    let prefix = format!("lemmy {} (cpu: ", env!("CARGO_PKG_VERSION"));
    assert!(version.text().starts_with(&prefix) && version.text().ends_with(")\n"), "{version:?}");
}

#[test]
fn every_command_has_help_on_one_screen_with_examples() {
    let mut commands = vec![
        "run",
        "chat",
        "inspect",
        "estimate",
        "tokenize",
        "detokenize",
        "bench",
        "quantize",
        "logits",
        "perplexity",
    ];
    commands.extend(["list", "rm", "devices", "doctor", "completions", "man"]);
    if cfg!(feature = "pull") {
        commands.push("pull");
    }
    for command in commands {
        let long = done(&mut lemmy([command, "--help"])).code(0);
        assert!(long.text().contains("Examples:\n"), "{command}");
        assert!(long.text().lines().count() <= 60, "{command}: {} lines", long.text().lines().count());
        let short = done(&mut lemmy([command, "-h"])).code(0);
        assert!(short.out.len() < long.out.len() && !short.text().contains("Examples:"), "{command}");
    }
}

#[test]
fn mistakes_are_usage_errors_with_a_next_step() {
    let tiny = tiny();
    for (arguments, words) in [
        (vec!["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (vec![], "no command"),
        (vec!["bench"], "MODEL: found nothing"),
        (vec!["run"], "found no text"),
        (vec!["run", &tiny, "a", "--tempp", "1"], "unexpected argument '--tempp'"),
        (vec!["run", &tiny, "a", "-n", "many"], "invalid value 'many'"),
        (vec!["run", &tiny, "a", "-n", "-2"], "-2 is not in"),
        (vec!["run", &tiny, "a", "-t", "0"], "0 is not in"),
        (vec!["run", &tiny, "a", "-c", "0"], "0 is not in"),
        (vec!["run", &tiny, "a", "--top-p", "7"], "top_p"),
        (vec!["run", &tiny, "a", "--temp", "nan"], "temperature"),
        (vec!["run", &tiny, "a", "--stop", ""], "a value is required for '--stop <TEXT>'"),
        (vec!["run", &tiny, "a", "-p", "b"], "given twice"),
        (vec!["run", &tiny], "found no text"),
        (vec!["run", &tiny, "a", "--think=maybe"], "expected off, on, or a number of tokens"),
        (vec!["run", &tiny, "a", "--special"], "--raw"),
        (vec!["run", &tiny, "a", "--raw", "--system", "b"], "--system: cannot be used with --raw"),
        (vec!["run", &tiny, "a", "--tool-choice", "none_such"], "none_such"),
        (vec!["chat", &tiny, &tiny], "unexpected argument"),
        (vec!["logits", &tiny, "--tokens", "2,x"], "found `x`"),
        (vec!["logits", &tiny, "--tokens", ""], "found no ids"),
        (vec!["logits", &tiny, "--tokens", "2", "--all"], "--json"),
        (vec!["logits", &tiny, "--tokens", "512"], "512"),
        (vec!["detokenize", &tiny, "512"], "found 512"),
        (vec!["bench", &tiny, "-p", "0", "-n", "0"], "nothing to measure"),
        (vec!["tokenize", &tiny, "a", "--count", "--pieces"], "cannot be used with"),
        (vec!["inspect", &tiny, &tiny], "unexpected argument"),
        (vec!["run", &tiny, "a", "--backend", "gpu"], "invalid value 'gpu'"),
    ] {
        let failed = done(&mut lemmy(&arguments)).code(2).says(words);
        assert!(failed.out.is_empty(), "{arguments:?}: {failed:?}");
    }
}

#[test]
fn a_mistyped_flag_gets_the_nearest() {
    let failed = done(&mut lemmy(["run", "m.gguf", "--tempp", "1"])).code(2);
    assert!(failed.err.contains("hint: ") && failed.err.contains("'--temp'"), "{failed:?}");
}

#[test]
fn json_errors_go_to_stdout_as_well() {
    let failed = done(&mut lemmy(["inspect", "no-such.gguf", "--json"])).code(3).says("no-such.gguf: no such file");
    let error = &failed.json()["error"];
    assert_eq!(error["kind"], "not_found");
    assert_eq!(error["message"], "no-such.gguf: no such file");
    assert!(error.get("hint").is_some());
    let failed = done(&mut lemmy(["run", "--frob", "--json"])).code(2);
    assert_eq!(failed.json()["error"]["kind"], "usage");
}

#[test]
fn the_environment_sets_flags_and_flags_win() {
    let tiny = tiny();
    let count = |command: &mut Command| {
        let json = done(command).code(0).json();
        json["usage"]["completion_tokens"].as_u64().unwrap()
    };
    let run = ["run", &tiny, "--raw", "a", "--temp", "0", "--json"];
    assert_eq!(count(lemmy(run).env("LEMMY_MAX_TOKENS", "3")), 3);
    assert_eq!(count(lemmy(run).args(["-n", "2"]).env("LEMMY_MAX_TOKENS", "3")), 2);
    assert_eq!(
        count(lemmy(["run", "--raw", "-n", "4", "--json", "-p", "a"]).env("LEMMY_MODEL", &tiny).env("LEMMY_TEMP", "0")),
        4
    );
    done(lemmy(["run", "Once upon a time"]).env("LEMMY_MODEL", &tiny))
        .code(3)
        .says("hint: without -m the first word is MODEL");
}

#[test]
fn llama_cpp_spellings_work() {
    let tiny = tiny();
    let mut command =
        lemmy(["run", "--raw", "-m", &tiny, "-c", "128", "-n", "4", "-t", "1", "--temp", "0.5", "--seed", "1"]);
    let command =
        command.args(["--top-k", "40", "--top-p", "0.9", "--min-p", "0.05", "--no-mmap", "-p", "a", "--json"]);
    let command = command.args(["-ctk", "q8_0", "-fa", "on", "--jinja", "-ngl", "0"]);
    assert_eq!(done(command).code(0).json()["usage"]["completion_tokens"], 4);
    let told = done(&mut lemmy(["run", &tiny, "--raw", "a", "-n", "1", "-ngl", "99"])).code(0);
    assert!(told.err.contains("-ngl is left aside"), "{told:?}");
    // After -m all words belong to the prompt.
    let words = done(&mut lemmy(["run", "-m", &tiny, "a", "b", "--json", "-n", "0"])).code(0).json();
    let quoted = done(&mut lemmy(["run", &tiny, "a b", "--json", "-n", "0"])).code(0).json();
    assert_eq!(words["usage"], quoted["usage"]);
}
