//! What a person at a terminal sees, by a pseudo-terminal.

#![cfg(target_os = "linux")]

use super::*;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::sync::{Arc, Mutex};

/// What the editor writes when it begins to listen: bracketed paste on.
const READY: &str = "\u{1b}[?2004h";
const UP: &str = "\u{1b}[A";
const ALT_ENTER: &str = "\u{1b}\r";
const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";

/// A program at a terminal.
struct Terminal {
    master: File,
    slave: File,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    looked: usize,
}

impl Terminal {
    /// Starts the program with stdin, stdout and stderr at a terminal of 80 columns.
    fn start(command: &mut Command) -> Self {
        let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut master, mut slave) = (0, 0);
        // SAFETY: the pointers lead to two integers and a size; a null name and null modes are allowed.
        let opened = unsafe {
            libc::openpty(&raw mut master, &raw mut slave, std::ptr::null_mut(), std::ptr::null(), &raw const size)
        };
        assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: both were just opened and belong to nobody else.
        let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        let (master, slave) = (File::from(master), File::from(slave));
        let stream = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: both functions may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (master.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut piece) {
                to.lock().unwrap().extend_from_slice(&piece[..n]);
            }
        });
        Self { master, slave, child, shown, looked: 0 }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is shown, behind what was waited for before.
    #[track_caller]
    fn shows(&mut self, words: &str) {
        let began = Instant::now();
        loop {
            let shown = self.shown();
            let rest = shown.get(self.looked..).unwrap_or_default();
            if let Some(at) = rest.find(words) {
                self.looked += at + words.len();
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no `{words}` in {rest:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until so many bytes are shown behind what was waited for before, whatever they are.
    #[track_caller]
    fn shows_more(&mut self, bytes: usize) {
        let began = Instant::now();
        while self.shown().len() < self.looked + bytes {
            assert!(began.elapsed() < PATIENCE, "no more than {:?}", self.shown());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end; the exit code.
    #[track_caller]
    fn ends(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "did not end: {:?}", self.shown());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the terminal shows what is typed and hands it over line by line, as a shell needs it.
    fn is_restored(&self) -> bool {
        let mut modes = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the pointer leads to memory of the type that the function fills; it is read if it did.
        let modes = unsafe {
            assert_eq!(libc::tcgetattr(self.slave.as_raw_fd(), modes.as_mut_ptr()), 0);
            modes.assume_init()
        };
        modes.c_lflag & (libc::ECHO | libc::ICANON | libc::ISIG) == libc::ECHO | libc::ICANON | libc::ISIG
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn chat(arguments: &[&str], folder: &Folder) -> Terminal {
    let mut command = lemmy(["chat", &tiny(), "--temp", "0", "--no-stats"]);
    command.args(arguments).env("TERM", "xterm-256color").env("XDG_STATE_HOME", &folder.0);
    Terminal::start(&mut command)
}

/// An answer that goes on until it is stopped.
const ENDLESS: [&str; 4] = ["--repeat-penalty", "0.5", "-c", "1000000"];

#[test]
fn a_conversation_and_its_end() {
    let folder = Folder::new("conversation");
    let mut chat = chat(&["-n", "3"], &folder);
    chat.shows("/help lists commands");
    chat.shows(READY);
    chat.types("/frob\r");
    chat.shows("error: /frob: found no such command");
    chat.shows(READY);
    chat.types("Hello\r");
    chat.shows(READY);
    chat.types("/stats\r");
    chat.shows("of context used");
    chat.shows(READY);
    chat.types(CTRL_D);
    assert_eq!(chat.ends(), Some(0));
    assert!(chat.is_restored());
}

#[test]
fn messages_of_several_lines_and_the_history() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new("history");
    let file = folder.path("said.md");
    let mut first = chat(&["-n", "1"], &folder);
    for keys in [
        format!("one{ALT_ENTER}two\r"),
        "three\\\rfour\r".to_owned(),
        "\"\"\"\rfive\rsix\"\"\"\r".to_owned(),
        // A block that is pasted.
        "\u{1b}[200~a \\\nb\u{1b}[201~\r".to_owned(),
        // Wide characters before the cursor, and a key that moves it.
        "日本🦀\u{1b}[D\u{7f}x\r".to_owned(),
        format!("/export {}\r", text(&file)),
        "/bye\r".to_owned(),
    ] {
        first.shows(READY);
        first.types(&keys);
    }
    assert_eq!(first.ends(), Some(0));
    let transcript = std::fs::read_to_string(&file).unwrap();
    let said: Vec<_> =
        transcript.split("## ").filter_map(|part| part.strip_prefix("You\n\n")).map(str::trim_end).collect();
    assert_eq!(said, ["one\ntwo", "three\nfour", "five\nsix", "a \\\nb", "日x🦀"]);

    let history = folder.path("lemmy/history");
    assert_eq!(std::fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);
    let mut second = chat(&["-n", "1"], &folder);
    second.shows(READY);
    second.types(UP);
    second.shows("/bye");
    second.types("\r");
    assert_eq!(second.ends(), Some(0));

    let before = std::fs::read(&history).unwrap();
    let mut third = chat(&["-n", "1", "--no-history"], &folder);
    third.shows(READY);
    third.types("secret\r");
    third.shows(READY);
    third.types(CTRL_D);
    assert_eq!(third.ends(), Some(0));
    assert_eq!(std::fs::read(&history).unwrap(), before);
}

#[test]
fn ctrl_c_stops_an_answer_and_the_conversation_goes_on() {
    let folder = Folder::new("stop");
    let file = folder.path("said.md");
    let mut chat = chat(&ENDLESS, &folder);
    chat.shows(READY);
    chat.types("Hello\r");
    // Behind the note about the template comes the answer.
    chat.shows("is used\r\n");
    chat.shows_more(20);
    let began = Instant::now();
    chat.types(CTRL_C);
    chat.shows("(stopped)");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    chat.shows(READY);
    // What was said stays, and the next message follows it.
    chat.types("/set max-tokens 3\r");
    chat.shows(READY);
    chat.types("Go on\r");
    chat.shows(READY);
    chat.types(&format!("/export {}\r", text(&file)));
    chat.shows(READY);
    chat.types(CTRL_D);
    assert_eq!(chat.ends(), Some(0));
    let transcript = std::fs::read_to_string(&file).unwrap();
    let (cut, rest) = transcript.split_once("## You\n\nGo on").unwrap();
    assert!(cut.contains("## Lemmy") && cut.len() > 40 && rest.contains("## Lemmy"), "{transcript}");
}

#[test]
fn ctrl_c_clears_a_line_and_leaves_when_pressed_twice() {
    let folder = Folder::new("twice");
    let mut chat = chat(&["-n", "1"], &folder);
    chat.shows(READY);
    chat.types("half a line");
    chat.shows("half a line");
    chat.types(CTRL_C);
    chat.types("/tokens a\r");
    chat.shows("(1 tokens)");
    chat.shows(READY);
    chat.types(CTRL_C);
    chat.shows("press Ctrl-C again or Ctrl-D to leave");
    chat.shows(READY);
    chat.types(CTRL_C);
    assert_eq!(chat.ends(), Some(130));
    assert!(chat.is_restored());
}

#[test]
fn a_sigterm_leaves_the_terminal_as_it_was() {
    let folder = Folder::new("sigterm");
    let mut editing = chat(&ENDLESS, &folder);
    editing.shows(READY);
    editing.types("half a line");
    editing.shows("half a line");
    assert!(!editing.is_restored());
    signal(editing.child.id(), "TERM");
    assert_eq!(editing.ends(), Some(143));
    assert!(editing.is_restored());

    let mut answering = chat(&ENDLESS, &folder);
    answering.shows(READY);
    answering.types("Hello\r");
    answering.shows("\n");
    std::thread::sleep(Duration::from_millis(300));
    signal(answering.child.id(), "TERM");
    assert_eq!(answering.ends(), Some(143));
    assert!(answering.is_restored());
}

#[test]
fn a_simple_terminal_sees_no_escape_code() {
    let mut command = lemmy(["chat", &tiny(), "--temp", "0", "-n", "3", "--think=on", "--show-thinking=show"]);
    let mut chat = Terminal::start(command.env("TERM", "dumb"));
    chat.shows("> ");
    chat.types("Hello\r");
    chat.shows("> ");
    chat.types(CTRL_D);
    assert_eq!(chat.ends(), Some(0));
    assert!(!chat.shown().contains('\u{1b}'), "{:?}", chat.shown());
}

#[test]
fn run_without_a_prompt_converses() {
    let folder = Folder::new("run");
    let mut command = lemmy(["run", &tiny(), "-n", "1", "--no-stats"]);
    let mut run = Terminal::start(command.env("TERM", "xterm").env("XDG_STATE_HOME", &folder.0));
    run.shows(READY);
    run.types("/exit\r");
    assert_eq!(run.ends(), Some(0));
}

#[cfg(feature = "nano")]
#[test]
fn thoughts_are_dim_and_can_be_seen_again() {
    let folder = Folder::new("thoughts");
    let mut command = lemmy(["chat", "--temp", "0", "--no-stats"]);
    let mut chat = Terminal::start(command.env("TERM", "xterm").env("XDG_STATE_HOME", &folder.0));
    for keys in ["/thinking\r", "/think on\r", "What is 12 + 30?\r"] {
        chat.shows(READY);
        chat.types(keys);
    }
    chat.shows("\u{1b}[2m");
    chat.shows("\u{1b}[0m\r\n42\r\n");
    chat.shows(READY);
    chat.types("/thinking\r");
    chat.shows("The sum is 42.");
    chat.shows(READY);
    chat.types("/copy\r");
    chat.shows("\u{1b}]52;c;NDI=\u{7}");
}

#[cfg(feature = "pull")]
#[test]
fn a_person_is_asked_before_much_is_downloaded_or_anything_removed() {
    let place = pull::Place::new("terminal-asks", &[("m-Q4_K_M.gguf", b"model")]);
    place.pull(&["org/repo"]).code(0);
    for (answer, is_there) in [("n\n", true), ("\n", true), ("y\n", false)] {
        let mut terminal = Terminal::start(&mut place.lemmy(["rm", "org/repo"]));
        terminal.shows("Remove org/repo, 5 B? [y/N] ");
        terminal.types(answer);
        assert_eq!(terminal.ends(), Some(0), "{}", terminal.shown());
        assert_eq!(place.root().exists(), is_there, "{answer:?}");
    }

    let size: u64 = 17_000_000_000;
    let lfs = serde_json::json!({"oid": "a".repeat(64), "size": size});
    let file = "n-Q8_0.gguf";
    place.hub.list(serde_json::json!({"type": "file", "path": file, "size": size, "oid": "b".repeat(40), "lfs": lfs}));
    let mut terminal = Terminal::start(&mut place.lemmy(["run", "org/repo:Q8_0", "Hi"]));
    terminal.shows("org/repo:Q8_0: not downloaded yet. Download 17.00 GB? [y/N] ");
    terminal.types("n\n");
    assert_eq!(terminal.ends(), Some(3), "{}", terminal.shown());
    let mut terminal = Terminal::start(&mut place.lemmy(["run", "org/repo:Q8_0", "Hi"]));
    terminal.shows("[y/N] ");
    terminal.types(CTRL_C);
    assert_eq!(terminal.ends(), Some(130), "{}", terminal.shown());
    assert_eq!(place.hub.downloads().len(), 1);
}
