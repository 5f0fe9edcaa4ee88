//! The C programs under what finds wrong uses of memory: AddressSanitizer and UndefinedBehaviorSanitizer, which see the
//! C side and every allocation, valgrind, which sees all of both sides, and ThreadSanitizer for the C side.

use std::process::Command;

use crate::built::{Linked, PROGRAMS, Program, has, program, run_silently};

#[test]
fn address_and_undefined_behaviour() {
    for source in PROGRAMS {
        let folder = tempfile::tempdir().unwrap();
        let more = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        let built = Program { more: &more, ..program(source, Linked::Shared) }.build(folder.path());
        run_silently(folder.path(), &mut Command::new(built));
    }
}

/// Not for valgrind: programs that run many replies, which there take one to many minutes each (`brief.c` does a little
/// of all that they do), and a forked child, which leaves its parent's threads as they are, and so what they hold.
/// AddressSanitizer looks for leaks in all of them.
const NOT_FOR_VALGRIND: &[&str] = &["c/session.c", "c/reply.c", "c/raw.c", "c/threads.c", "c/fork.c"];

#[test]
fn valgrind_finds_no_error_and_no_leak() {
    if !has("valgrind") {
        eprintln!("left out: valgrind is not installed");
        return;
    }
    for source in PROGRAMS.iter().filter(|source| !NOT_FOR_VALGRIND.contains(*source)) {
        let folder = tempfile::tempdir().unwrap();
        let built = program(source, Linked::Shared).build(folder.path());
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--fair-sched=yes"]);
        // What statics hold is never freed, and valgrind takes some of it for possibly lost.
        valgrind.args(["--show-leak-kinds=definite,indirect", "--errors-for-leak-kinds=definite,indirect"]);
        run_silently(folder.path(), valgrind.arg(built));
    }
}

/// It does not know the locks of Rust's standard library, so it is told to look at the C side alone.
#[test]
fn threads_race_for_nothing_of_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["-fsanitize=thread"];
    let built = Program { more: &more, ..program("c/threads.c", Linked::Shared) }.build(folder.path());
    let mut command = Command::new(built);
    run_silently(folder.path(), command.env("TSAN_OPTIONS", "ignore_noninstrumented_modules=1"));
}
