//! Pipes that close, disks that are full, signals.

use super::*;
use std::io::Read;

/// An answer that goes on until the context is full: a few seconds of work.
fn endless(arguments: &[&str]) -> Command {
    let mut command = lemmy(["run", &tiny(), "--raw", "a", "--temp", "0", "--repeat-penalty", "0.5", "-c", "1000000"]);
    command.args(arguments);
    command
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = endless(&[]).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut [0; 10]).unwrap();
    drop(pipe);
    let ended = finish(child).code(0);
    assert_eq!(ended.err, "");
}

#[test]
fn a_reader_that_leaves_a_long_listing_is_no_error() {
    for arguments in [vec!["logits", "--tokens", "2,3,4,5", "--all", "--json"], vec!["inspect", "--tensors"]] {
        let mut child = lemmy(arguments).arg(tiny()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(finish(child).code(0).err, "");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    for arguments in
        [vec!["inspect"], vec!["tokenize", "--count"], vec!["logits", "--tokens", "2"], vec!["run", "--raw", "-n1"]]
    {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = lemmy(&arguments);
        command.arg(tiny()).arg("-m").arg(tiny());
        let mut command = lemmy(&arguments);
        command.arg(tiny());
        if !matches!(arguments[0], "inspect" | "logits") {
            command.arg("hello");
        }
        done(command.stdout(full)).code(1).says("cannot write to stdout: No space left on device");
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    done(lemmy(["--help"]).stdout(full)).code(1).says("cannot write to stdout");
}

#[cfg(target_os = "linux")]
#[test]
fn a_closed_stdout_is_an_error_and_null_is_not() {
    let shell = |redirection: &str| {
        let script = format!("\"$0\" tokenize \"$1\" hello {redirection}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_lemmy"), &tiny()]).stdin(Stdio::null());
        done(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    };
    shell(">&-").code(1).says("cannot write to stdout: it is closed");
    shell(">/dev/null").code(0);
    shell("<>/dev/null 1>&0").code(0);
}

#[test]
fn a_full_stderr_is_not_noticed() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let mut command = lemmy(["run", &tiny(), "a", "-n", "2", "--stats"]);
    done(command.stderr(full)).code(0);
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_the_beginning_of_the_answer() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = endless(&[]).spawn().unwrap();
        let mut pipe = child.stdout.take().unwrap();
        let mut answer = vec![0; 10];
        pipe.read_exact(&mut answer).unwrap();
        let reader = std::thread::spawn(move || pipe.read_to_end(&mut answer).map(|_| answer).unwrap());
        signal(child.id(), name);
        let began = Instant::now();
        let ended = finish(child).code(code);
        assert!(began.elapsed() < Duration::from_secs(10), "{name}: {:?}", began.elapsed());
        assert_eq!(ended.err, "", "{name}");
        let answer = String::from_utf8(reader.join().unwrap()).expect("whole characters");
        // A SIGTERM that comes in the middle of a write does not wait for the line end.
        assert!(answer.len() >= 10 && (name == "TERM" || answer.ends_with('\n')), "{answer:?}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_json_answer_is_whole() {
    let child = endless(&["--json"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    signal(child.id(), "INT");
    let json = finish(child).code(130).json();
    assert_eq!(json["finish"], "interrupted");
    assert_eq!(json["error"]["kind"], "interrupted");
}

#[cfg(unix)]
#[test]
fn two_interrupts_while_a_prompt_is_read() {
    let prompt = "abc ".repeat(200_000);
    let mut child = lemmy(["run", &tiny(), "--raw", "-c", "1000000"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(prompt.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(1000));
    signal(child.id(), "INT");
    signal(child.id(), "INT");
    finish(child).code(130);
}

#[cfg(unix)]
#[test]
fn an_interrupt_while_waiting_for_stdin_ends_at_once() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = lemmy(["run", &tiny()]).stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        signal(child.id(), name);
        finish(child).code(code);
        drop(stdin);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_while_nobody_reads_ends_at_once() {
    // The pipe is full after 64 KiB and the program waits in a write.
    let child = endless(&[]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    signal(child.id(), "TERM");
    finish(child).code(143);
}

#[cfg(unix)]
#[test]
fn a_bench_can_be_stopped() {
    let child = lemmy(["bench", &tiny(), "-r", "1000", "--json"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    signal(child.id(), "INT");
    let ended = finish(child).code(130);
    assert_eq!(ended.json()["error"]["kind"], "interrupted");
}

#[test]
fn no_escape_codes_without_a_terminal() {
    let answered = done(lemmy(["run", &tiny(), "a", "-n", "50", "--stats", "--no-mmap"]).env("TERM", "xterm")).code(0);
    assert!(!answered.err.contains('\u{1b}'), "{answered:?}");
}
