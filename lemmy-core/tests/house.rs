//! The rules of the house that no compiler checks. CONTRIBUTING.md explains them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Where `unsafe` may stand, each with the one reason it has.
const UNSAFE_PLACES: &[(&str, &str)] = &[
    ("lemmy-core/src/threads", "borrowed work crosses threads; disjoint windows of one buffer"),
    ("lemmy-core/src/gguf/load.rs", "the file map"),
    ("lemmy-core/src/backend/cpu/kernels", "instructions that not every CPU has"),
    ("lemmy-ffi/src", "pointers from C"),
    ("fuzz/fuzz_targets/c_abi.rs", "calls as C makes them"),
    ("src/cli/closed.rs", "a question to the system before `main`"),
    ("src/cli/terminal.rs", "a terminal is put right in a signal handler"),
];

const MAX_LINES: usize = 800;

/// A source file: path from the root with `/`, and text.
struct File {
    path: String,
    text: String,
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    let packages = ["src", "lemmy-core", "lemmy-ffi", "lemmy-conformance", "xtask"];
    for folder in packages.into_iter().chain(["tests", "benches", "examples", "fuzz"]) {
        collect(&Path::new(ROOT).join(folder), &mut files);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 40, "found {} source files only", files.len());
    files
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if ["rs", "c", "h"].into_iter().any(|kind| path.extension().is_some_and(|e| e == kind)) {
            let name = path.strip_prefix(ROOT).unwrap().to_str().unwrap().replace('\\', "/");
            files.push(File { path: name, text: std::fs::read_to_string(&path).unwrap() });
        }
    }
}

fn is_test(path: &str) -> bool {
    ["tests/", "benches/", "examples/"].into_iter().any(|folder| path.contains(folder))
}

fn unsafe_place(path: &str) -> Option<usize> {
    let inside = |place: &str| path == place || path == format!("{place}.rs") || path.starts_with(&format!("{place}/"));
    UNSAFE_PLACES.iter().position(|(place, _)| inside(place))
}

/// The code of a file: without comments and without the contents of string literals.
fn code(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let mut in_string = false;
        let mut previous = ' ';
        for c in line.chars() {
            if c == '"' && previous != '\\' && previous != '\'' {
                in_string = !in_string;
            }
            if !in_string && c == '/' && previous == '/' {
                break;
            }
            code.push(if in_string { ' ' } else { c });
            previous = c;
        }
        code.push('\n');
    }
    code
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn a_module_uses_only_what_stands_above_it() {
    let lib = std::fs::read_to_string(Path::new(ROOT).join("lemmy-core/src/lib.rs")).unwrap();
    let order: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert!(order.len() >= 12 && order[0] == "error", "modules of lib.rs: {order:?}");
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.path.starts_with("lemmy-core/src/")) {
        let inner = file.path.trim_start_matches("lemmy-core/src/");
        let module = inner.split(['/', '.']).next().unwrap();
        let Some(place) = order.iter().position(|m| *m == module) else {
            assert_eq!(module, "lib", "{} belongs to no module of lib.rs", file.path);
            continue;
        };
        for used in used_modules(&code(&file.text)) {
            match order.iter().position(|m| *m == used) {
                Some(other) if other > place => {
                    wrong.push(format!("{}: `{module}` uses `{used}`, which stands below it in lib.rs", file.path));
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// First segments of the paths `crate::a::..` and `crate::{a::.., b}`.
fn used_modules(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            used.extend(words(rest).next().map(str::to_owned));
            continue;
        };
        let mut depth = 0;
        let mut first = true;
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => first = true,
                c if first && c.is_alphabetic() => {
                    used.extend(words(&list[i..]).next().map(str::to_owned));
                    first = false;
                }
                _ => {}
            }
        }
    }
    used
}

#[test]
fn paths_are_read_right() {
    assert_eq!(
        used_modules("use crate::{a::{x, y}, b, c::z}; crate::d::f(); use crate::TokenId;"),
        ["a", "b", "c", "d", "TokenId"]
    );
    let code = code("let a = \"unsafe\"; // unsafe\nb");
    assert_eq!(words(&code).collect::<Vec<_>>(), ["let", "a", "b"]);
}

#[test]
fn unsafe_stands_in_its_places_only() {
    let files = files();
    let mut counts = vec![(0, 0); UNSAFE_PLACES.len()];
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs") && !is_test(&file.path)) {
        let blocks = words(&code(&file.text)).filter(|word| *word == "unsafe").count();
        if let Some(place) = unsafe_place(&file.path) {
            counts[place].0 += blocks;
            counts[place].1 += usize::from(blocks > 0);
            continue;
        }
        if blocks > 0 {
            wrong.push(format!("{}: `unsafe` outside of its places", file.path));
        }
        // A file is covered by itself or by a module above it. What stands above one of the places cannot forbid for
        // all below, but may deny.
        let above_a_place = |path: &str| {
            let stem = path.trim_end_matches(".rs").trim_end_matches("/lib").trim_end_matches("/main");
            UNSAFE_PLACES.iter().any(|(place, _)| place.starts_with(&format!("{stem}/")))
        };
        let covers = |path: &Path| {
            let file = files.iter().find(|file| Path::new(&file.path) == path);
            file.is_some_and(|file| {
                file.text.contains("#![forbid(unsafe_code)]")
                    || (above_a_place(&file.path) && file.text.contains("#![deny(unsafe_code)]"))
            })
        };
        let covered = Path::new(&file.path).ancestors().any(|path| {
            covers(&path.with_extension("rs")) || covers(&path.join("main.rs")) || covers(&path.join("lib.rs"))
        });
        let above_a_place = above_a_place(&file.path);
        if !covered && !above_a_place && !file.path.starts_with("fuzz/") {
            wrong.push(format!("{}: needs `#![forbid(unsafe_code)]`, or a module above that has it", file.path));
        }
    }
    println!("`unsafe` by place (keywords, files):");
    for ((place, reason), (blocks, files)) in UNSAFE_PLACES.iter().zip(counts) {
        println!("{blocks:5} {files:3}  {place}: {reason}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_finished() {
    // Spelled in halves, so that this file passes its own test.
    let unfinished = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["HA", "CK"]].map(|halves| halves.concat());
    let attributes = [["#[ig", "nore"], ["allow(dead", "_code"]].map(|halves| halves.concat());
    let mut wrong = Vec::new();
    for file in files() {
        let lines = file.text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{}: {lines} lines, at most {MAX_LINES}", file.path));
        }
        for (i, line) in file.text.lines().enumerate() {
            let word = words(line).find(|word| unfinished.iter().any(|u| u == word));
            let attribute = attributes.iter().find(|attribute| line.contains(*attribute)).map(String::as_str);
            if let Some(found) = word.or(attribute) {
                wrong.push(format!("{}:{}: `{found}`", file.path, i + 1));
            }
        }
        if file.path.ends_with("/mod.rs") && !is_test(&file.path) {
            wrong.push(format!("{}: modules are `name.rs` beside `name/`", file.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn readme_shows_the_example_that_compiles() {
    let read = |path: &str| std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    let example = read("examples/generate.rs");
    let program = &example[example.find("use std::io").unwrap()..];
    assert!(read("README.md").contains(&format!("```rust\n{program}```")), "README.md and examples/generate.rs");
}
