//! Values of flags from the environment and from the file; colours; what shells and `man` get.

use super::*;

/// A folder of settings with this file.
fn config(name: &str, text: &str) -> Folder {
    let folder = Folder::new(name);
    std::fs::create_dir(folder.path("lemmy")).unwrap();
    std::fs::write(folder.path("lemmy").join("config.toml"), text).unwrap();
    folder
}

fn generated(command: &mut Command) -> u64 {
    done(command).code(0).json()["usage"]["completion_tokens"].as_u64().unwrap()
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let tiny = tiny();
    let folder = config(
        "settings",
        &format!("model = {tiny:?}\nmax-tokens = 3\ntemp = 0.0\njson = true\n[chat]\nmax-tokens = 9\n"),
    );
    let run = || {
        let mut command = lemmy(["run", "--raw", "-p", "a"]);
        command.env("XDG_CONFIG_HOME", &folder.0);
        command
    };
    assert_eq!(generated(&mut run()), 3);
    assert_eq!(generated(run().env("LEMMY_MAX_TOKENS", "4")), 4);
    assert_eq!(generated(run().args(["-n", "5"]).env("LEMMY_MAX_TOKENS", "4")), 5);
    // `json` is left out where a flag that excludes it is typed.
    let events = done(run().arg("--stream-json")).code(0);
    assert!(events.text().lines().count() > 1, "{events:?}");
}

#[test]
fn flags_without_a_twin_of_their_own_have_one() {
    let tiny = tiny();
    let mut command = lemmy(["run", &tiny, "a", "-n", "1", "--raw"]);
    done(command.env("LEMMY_SAVE_SESSION", "/no-such-folder/s")).code(3).says("/no-such-folder/s");
    // What is typed goes before what excludes it in the environment.
    let folder = Folder::new("settings-twin");
    std::fs::write(folder.path("system"), "b").unwrap();
    let mut command = lemmy(["run", "nano", "Hi", "-n", "1", "--system-file", text(&folder.path("system"))]);
    if cfg!(feature = "nano") {
        done(command.env("LEMMY_SYSTEM", "a")).code(0);
    }
}

#[test]
fn slips_in_the_file_are_told() {
    let tiny = tiny();
    for (text, words) in [
        ("tempp = 1", "found `tempp` (expected the name of a flag"),
        ("[run]\nn-prompt = 1", "found `[run] n-prompt`"),
        ("temp = ", "line 1"),
        ("\n\ntemp = [", "line 3"),
        ("temp = { a = 1 }", "temp: found table"),
        ("json = 1", "json: found integer (expected true or false)"),
        ("temp = 'hot'", "invalid value 'hot'"),
    ] {
        let folder = config("settings-slip", text);
        let failed = done(lemmy(["run", &tiny, "a"]).env("XDG_CONFIG_HOME", &folder.0)).code(2).says(words);
        assert!(failed.out.is_empty(), "{failed:?}");
    }
}

#[cfg(feature = "nano")]
#[test]
fn thoughts_may_go_to_stdout() {
    let run = ["run", "nano", "--temp", "0", "--think=on", "--thinking-to-stdout", "What is 12 + 30?"];
    let answered = done(&mut lemmy(run)).code(0);
    let (thought, answer) = answered.text().split_once("\n</think>\n").unwrap();
    assert!(thought.starts_with("<think>\n") && thought.len() > 9, "{answered:?}");
    assert_eq!(answer, "42\n");
}

#[cfg(feature = "nano")]
#[test]
fn colours_where_they_are_asked_for() {
    let run = |when: &str| {
        let arguments = [
            "run",
            "nano",
            "--temp",
            "0",
            "--think=on",
            "--show-thinking",
            "show",
            "--color",
            when,
            "What is 12 + 30?",
        ];
        done(&mut lemmy(arguments)).code(0)
    };
    assert!(run("always").err.contains("\u{1b}[2m"));
    for when in ["auto", "never"] {
        let plain = run(when);
        assert!(!plain.err.contains('\u{1b}') && !plain.text().contains('\u{1b}'), "{plain:?}");
    }
    done(&mut lemmy(["list", "--color", "blue"])).code(2).says("blue");
}

#[test]
fn shells_get_completions_and_man_gets_pages() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = done(&mut lemmy(["completions", shell])).code(0);
        assert!(script.text().contains("quantize") && script.text().contains("ctx-size"), "{shell}");
    }
    done(&mut lemmy(["completions", "tcsh"])).code(2).says("tcsh");
    let folder = Folder::new("man");
    let written = done(&mut lemmy(["man", text(&folder.path("man1"))])).code(0);
    assert!(written.text().ends_with("lemmy.1\n"));
    let page = std::fs::read_to_string(folder.path("man1").join("lemmy-run.1")).unwrap();
    assert!(page.contains(".SH") && page.contains("Why is the sky blue?"));
}

#[test]
fn the_doctor_finds_this_machine_able() {
    let folder = Folder::new("doctor");
    let checked = done(lemmy(["doctor", "--offline", "--json"]).env("HF_HOME", &folder.0)).code(0).json();
    assert_eq!(checked["ok"], true);
    let state = |name: &str| {
        let checks = checked["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).map(|check| check["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(state("cache").as_deref(), Some("ok"), "{checked}");
    if cfg!(feature = "nano") {
        assert_eq!(state("self test").as_deref(), Some("ok"), "{checked}");
    }
    assert_eq!(state("hub"), None);
    let text = done(lemmy(["doctor", "--offline"]).env("HF_HOME", &folder.0)).code(0);
    assert!(text.text().starts_with("ok    version "), "{text:?}");
    let failed =
        done(lemmy(["doctor", "--offline"]).env("HF_HUB_CACHE", "/proc/no-such-folder")).code(1).says("checks failed");
    assert!(failed.text().contains("fail  cache "), "{failed:?}");
}

#[test]
fn the_processor_is_a_device() {
    let devices = done(&mut lemmy(["devices", "--json"])).code(0).json();
    assert_eq!((&devices["devices"][0]["backend"], &devices["devices"][0]["usable"]), (&"cpu".into(), &true.into()));
    assert!(devices["devices"][1]["reason"].is_string());
    assert!(done(&mut lemmy(["devices"])).code(0).text().starts_with("cpu   "));
}
