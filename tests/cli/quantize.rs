//! `lemmy quantize`.

use super::*;

fn bf16() -> String {
    fixture("tiny/tiny-bf16.gguf")
}

#[test]
fn every_type_gives_a_file_that_runs() {
    let folder = Folder::new("quantize");
    for mixture in ["q8_0", "Q6_K", "q5_k_m", "q4_k_m", "bf16"] {
        let out = folder.path(&format!("{mixture}.gguf"));
        let json = done(&mut lemmy(["quantize", &bf16(), text(&out), mixture, "--json"])).code(0).json();
        assert_eq!(json["bytes"], std::fs::metadata(&out).unwrap().len());
        assert_eq!(json["type"], mixture.to_lowercase());
        done(&mut lemmy(["inspect", text(&out), "--check"])).code(0);
        done(&mut lemmy(["run", text(&out), "a", "-n", "2"])).code(0);
    }
    assert!(folder.names().iter().all(|name| name.ends_with(".gguf")), "{:?}", folder.names());
}

#[test]
fn types_are_those_of_llama_quantize() {
    let folder = Folder::new("types");
    let out = folder.path("out.gguf");
    done(&mut lemmy(["quantize", &bf16(), text(&out), "q4_k_m", "-t", "1"])).code(0);
    let types = |file: &str| {
        let json = done(&mut lemmy(["inspect", file, "--tensors", "--json"])).code(0).json();
        let tensors = json["tensors"].as_array().unwrap().clone();
        let mut types: Vec<_> = tensors.iter().map(|t| (t["name"].to_string(), t["type"].to_string())).collect();
        types.sort();
        types
    };
    assert_eq!(types(text(&out)), types(&tiny()));
}

#[test]
fn progress_is_lines_without_a_terminal() {
    let folder = Folder::new("progress");
    let made = done(&mut lemmy(["quantize", &bf16(), text(&folder.path("a.gguf")), "q8_0"])).code(0);
    assert!(made.err.lines().all(|line| line.starts_with("quantising: ") && line.ends_with(" %")), "{made:?}");
    assert!(made.err.lines().count() <= 10 && made.err.contains("100 %"), "{made:?}");
    assert!(made.text().contains("a.gguf: 9.74 MB -> 5."), "{made:?}");
}

#[cfg(unix)]
#[test]
fn the_input_is_never_written_over() {
    let folder = Folder::new("same");
    let model = folder.path("model.gguf");
    std::fs::copy(bf16(), &model).unwrap();
    std::os::unix::fs::symlink(&model, folder.path("link.gguf")).unwrap();
    std::fs::hard_link(&model, folder.path("hard.gguf")).unwrap();
    std::fs::hard_link(&model, folder.path("other.gguf.part")).unwrap();
    let before = std::fs::read(&model).unwrap();
    for out in ["model.gguf", "link.gguf", "hard.gguf", "./model.gguf", "other.gguf"] {
        let failed = done(&mut lemmy(["quantize", text(&model), text(&folder.path(out)), "q8_0"])).code(2);
        failed.says("found the input itself");
    }
    assert_eq!(std::fs::read(&model).unwrap(), before);
}

#[test]
fn what_cannot_work_is_refused_and_leaves_nothing() {
    let folder = Folder::new("refused");
    let out = folder.path("out.gguf");
    done(&mut lemmy(["quantize", &bf16(), text(&out), "q3_x"])).code(2).says("expected one of bf16, q8_0");
    done(&mut lemmy(["quantize", "no-such.gguf", text(&out), "q8_0"])).code(3).says("no such file");
    done(&mut lemmy(["quantize", &bf16(), text(&folder.0), "q8_0"])).code(2).says("found a folder");
    done(&mut lemmy(["quantize", &tiny(), text(&out), "q8_0"])).code(2).says("already").says("--allow-requantize");
    done(&mut lemmy(["quantize", &bf16(), text(&folder.path("no/out.gguf")), "q8_0"])).code(3).says("cannot create");
    assert!(folder.names().is_empty(), "{:?}", folder.names());
    done(&mut lemmy(["quantize", &tiny(), text(&out), "q8_0", "--allow-requantize"])).code(0);
}

/// A device as OUT would be replaced by the new file, and a pipe or a link as OUT.part be written to.
#[cfg(unix)]
#[test]
fn only_ordinary_files_are_written_over() {
    use std::os::unix::fs::FileTypeExt;
    let folder = Folder::new("ordinary");
    let pipe = |name: &str| {
        assert!(Command::new("mkfifo").arg(folder.path(name)).status().unwrap().success());
        folder.path(name)
    };
    let victim = folder.path("victim");
    std::fs::write(&victim, "keep").unwrap();
    std::os::unix::fs::symlink(&victim, folder.path("link.gguf.part")).unwrap();
    let pipes = [pipe("pipe.gguf"), pipe("part.gguf.part")];
    for (out, found) in [("pipe", "a named pipe"), ("part", "a named pipe"), ("link", "a link")] {
        let out = folder.path(&format!("{out}.gguf"));
        done(&mut lemmy(["quantize", &bf16(), text(&out), "q8_0"])).code(2).says(&format!("found {found}"));
    }
    assert!(pipes.iter().all(|pipe| std::fs::metadata(pipe).unwrap().file_type().is_fifo()));
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "keep");
    assert_eq!(folder.names().len(), 4);
}

#[cfg(unix)]
#[test]
fn a_stale_part_is_taken_over_and_a_busy_one_is_not() {
    let folder = Folder::new("part");
    let (out, part) = (folder.path("out.gguf"), folder.path("out.gguf.part"));
    std::fs::write(&part, vec![1; 20_000_000]).unwrap();
    let busy = std::fs::File::open(&part).unwrap();
    busy.lock().unwrap();
    done(&mut lemmy(["quantize", &bf16(), text(&out), "q8_0"])).code(1).says("another process is writing it");
    drop(busy);
    done(&mut lemmy(["quantize", &bf16(), text(&out), "q8_0"])).code(0);
    assert_eq!(folder.names(), ["out.gguf"]);
    done(&mut lemmy(["run", text(&out), "a", "-n", "1"])).code(0);
}

/// A limit on the size of files stands for a disk that is full: both end a write in its middle.
#[cfg(target_os = "linux")]
#[test]
fn no_room_is_exit_4_and_leaves_nothing() {
    let folder = Folder::new("full");
    let script = "ulimit -f 1000; exec \"$0\" quantize \"$1\" \"$2\" q8_0";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_lemmy"), &bf16(), text(&folder.path("out.gguf"))]);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = done(&mut shell).code(4);
    assert!(failed.err.contains("error: ") && failed.err.contains("File too large"), "{failed:?}");
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

/// A signal at any moment leaves the finished file or none, and a second run works.
#[cfg(unix)]
#[test]
fn interrupted_work_leaves_no_file() {
    let folder = Folder::new("interrupted");
    let out = folder.path("out.gguf");
    for (name, code) in [("INT", 130), ("TERM", 143), ("KILL", -1)] {
        for delay in [5, 20, 60, 150] {
            let child = lemmy(["quantize", &bf16(), text(&out), "q4_k_m", "-t", "1"]).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            signal(child.id(), name);
            let ended = finish(child);
            match ended.code {
                Some(0) => std::fs::remove_file(&out).unwrap(),
                other => {
                    // On a busy machine the program may not have begun so early.
                    let ended_before_main = other.is_none() && delay < 150;
                    assert!(ended_before_main || other.unwrap_or(-1) == code, "{name} after {delay} ms: {ended:?}");
                    let left = if name == "KILL" { folder.names() } else { Vec::new() };
                    assert!(left.iter().all(|file| file == "out.gguf.part"), "{name}: {left:?}");
                    assert!(!out.exists(), "{name} after {delay} ms");
                    assert!(name == "KILL" || folder.names().is_empty(), "{name}: {:?}", folder.names());
                }
            }
        }
    }
    done(&mut lemmy(["quantize", &bf16(), text(&out), "q4_k_m"])).code(0);
    assert_eq!(folder.names(), ["out.gguf"]);
}
