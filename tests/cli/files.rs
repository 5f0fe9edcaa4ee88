//! Things that are no model file: each is refused at once, by name, and nobody hangs or panics.

use super::*;

const READERS: [&[&str]; 5] = [&["run"], &["inspect"], &["estimate"], &["tokenize"], &["logits", "--tokens", "2"]];

/// Every reading command refuses `path` with that code and these words, within a bound that only a hang exceeds.
#[track_caller]
fn refused(path: &Path, code: i32, words: &str) {
    for command in READERS {
        let mut lemmy = lemmy(command);
        lemmy.arg(path);
        if command[0] == "run" || command[0] == "tokenize" {
            lemmy.arg("hello");
        }
        let began = Instant::now();
        let failed = done(&mut lemmy).code(code).says(words);
        assert!(failed.err.contains(text(path)), "{failed:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{command:?} took {:?}", began.elapsed());
    }
}

#[test]
fn missing() {
    refused(Path::new("no-such-file.gguf"), 3, "no such file");
}

#[test]
fn a_folder() {
    let folder = Folder::new("folder");
    refused(&folder.0, 2, "found a folder without a .gguf model");

    std::fs::write(folder.path("model.safetensors"), "").unwrap();
    refused(&folder.0, 5, "found safetensors");

    std::fs::copy(tiny(), folder.path("a.gguf")).unwrap();
    std::fs::write(folder.path("mmproj-a.gguf"), "").unwrap();
    std::fs::write(folder.path("b-00002-of-00002.gguf"), "").unwrap();
    let by_folder = done(&mut lemmy(["tokenize", text(&folder.0), "a b"])).code(0);
    let by_file = done(&mut lemmy(["tokenize", &tiny(), "a b"])).code(0);
    assert_eq!(by_folder.out, by_file.out);

    std::fs::write(folder.path("b.gguf"), "").unwrap();
    refused(&folder.0, 2, "found 2 models (expected one)");
}

#[test]
fn an_empty_file_and_a_text_file() {
    let folder = Folder::new("empty");
    std::fs::write(folder.path("empty.gguf"), "").unwrap();
    refused(&folder.path("empty.gguf"), 5, "found");
    std::fs::write(folder.path("text.gguf"), "This is no model, but it is long enough to be one.").unwrap();
    refused(&folder.path("text.gguf"), 5, "found");
}

#[test]
fn a_truncated_file() {
    let folder = Folder::new("truncated");
    let whole = std::fs::read(tiny()).unwrap();
    for len in [30, 1000, whole.len() / 2, whole.len() - 1] {
        let path = folder.path("cut.gguf");
        std::fs::write(&path, &whole[..len]).unwrap();
        refused(&path, 5, "found");
    }
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_sockets() {
    let folder = Folder::new("pipes");
    let fifo = folder.path("fifo.gguf");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    refused(&fifo, 5, "found a named pipe");
    let socket = folder.path("socket.gguf");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    refused(&socket, 5, "found a socket");
    refused(Path::new("/dev/zero"), 5, "found a device");
}

#[cfg(unix)]
#[test]
fn an_unreadable_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("unreadable");
    let path = folder.path("secret.gguf");
    std::fs::copy(tiny(), &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o0)).unwrap();
    // The superuser may read everything.
    if std::fs::File::open(&path).is_err() {
        refused(&path, 2, "expected a file that you may read");
    }
}

#[test]
fn another_architecture() {
    let folder = Folder::new("architecture");
    let path = folder.path("other.gguf");
    let mut bytes = std::fs::read(tiny()).unwrap();
    let at = bytes.windows(6).position(|w| w == b"gemma4").unwrap();
    bytes[at..at + 6].copy_from_slice(b"gemma9");
    std::fs::write(&path, bytes).unwrap();
    done(&mut lemmy(["run", text(&path), "a"])).code(5).says("gemma9");
    let shown = done(&mut lemmy(["inspect", text(&path)])).code(0);
    assert!(shown.text().contains("not runnable") && shown.text().contains("gemma9"), "{shown:?}");
}
