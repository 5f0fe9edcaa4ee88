//! The header is written by hand and proved by machine: cbindgen writes declarations from the Rust source, a file
//! includes both, and the C compiler refuses any difference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// The Rust files of this package, whole.
fn sources() -> Vec<(PathBuf, String)> {
    let folder = root().join("lemmy-ffi/src");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The C programs that use and misuse the library, one behind the other.
fn c_programs() -> String {
    let folder = std::fs::read_dir(root().join("lemmy-ffi/tests/c")).unwrap();
    folder.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

/// Structs whose fields the header shows.
const STRUCTS: &[&str] = &[
    "LemmyMemory",
    "LemmyPoolOptions",
    "LemmyModelOptions",
    "LemmyModelInfo",
    "LemmyChatOptions",
    "LemmyImageOptions",
    "LemmySessionOptions",
    "LemmySessionInfo",
    "LemmySyncReport",
    "LemmySamplerOptions",
    "LemmyGenerateOptions",
    "LemmyTopToken",
    "LemmyEvent",
    "LemmyFinish",
];

/// What cbindgen makes of the source: only functions, or only structs, the latter with `Rust` before their names.
fn generated(item: cbindgen::ItemType) -> String {
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        style: cbindgen::Style::Type,
        no_includes: true,
        usize_is_size_t: true,
        cpp_compat: true,
        documentation: false,
        ..Default::default()
    };
    if item == cbindgen::ItemType::Structs {
        config.export.prefix = Some("Rust".into());
        config.export.include = STRUCTS.iter().map(|&name| name.into()).collect();
    }
    config.export.item_types = vec![item];
    let mut builder = cbindgen::Builder::new().with_config(config);
    for (path, _) in sources() {
        builder = builder.with_src(path);
    }
    let mut text = Vec::new();
    builder.generate().expect("cbindgen reads lemmy-ffi/src").write(&mut text);
    String::from_utf8(text).unwrap()
}

/// Fields of the generated structs: (type in Rust's version, type in the header, field).
fn fields(structs: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut open = Vec::new();
    for line in structs.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("} ").and_then(|line| line.strip_suffix(';')) {
            let header = name.strip_prefix("Rust").expect("prefixed");
            found.extend(open.drain(..).map(|field| (name.to_owned(), header.to_owned(), field)));
        } else if let Some((_, field)) = line.strip_suffix(';').and_then(|line| line.rsplit_once(' ')) {
            open.push(field.trim_start_matches('*').split('[').next().unwrap().to_owned());
        }
    }
    found
}

/// The header's names for what the structs point to.
fn aliases(structs: &str) -> String {
    let words = structs.split(|c: char| !c.is_alphanumeric()).filter_map(|word| word.strip_prefix("RustLemmy"));
    let others: BTreeSet<&str> = words.filter(|name| !STRUCTS.contains(&format!("Lemmy{name}").as_str())).collect();
    others.iter().map(|name| format!("typedef Lemmy{name} RustLemmy{name};\n")).collect()
}

/// Structs of the header that are written out.
fn structs_of_the_header() -> BTreeSet<String> {
    let header = read("include/lemmy.h");
    let lines = header.lines().filter_map(|line| line.strip_prefix("typedef struct ")?.strip_suffix(" {"));
    lines.map(str::to_owned).collect()
}

fn compile(compiler: (&str, &str), arguments: &[&str], file: &Path) {
    let program = std::env::var(compiler.0).unwrap_or_else(|_| compiler.1.into());
    let output = Command::new(&program)
        .args(arguments)
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I"])
        .arg(root().join("include"))
        .arg(file)
        .output()
        .unwrap_or_else(|e| {
            panic!("these tests need a C and a C++ compiler (`cc` and `c++`, or set CC and CXX); `{program}`: {e}")
        });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "include/lemmy.h and lemmy-ffi/src differ ({program} {arguments:?}):\n{errors}");
}

#[test]
fn header_and_source_agree() {
    let functions = generated(cbindgen::ItemType::Functions);
    let structs = generated(cbindgen::ItemType::Structs);
    let mut checks = String::new();
    let mut types = BTreeSet::new();
    for (i, (rust, header, field)) in fields(&structs).into_iter().enumerate() {
        checks += &format!(
            "typedef char place_{i}[offsetof({rust}, {field}) == offsetof({header}, {field}) ? 1 : -1];\n\
             typedef char width_{i}[sizeof((({rust} *)0)->{field}) == sizeof((({header} *)0)->{field}) ? 1 : -1];\n"
        );
        types.insert((rust, header));
    }
    for (rust, header) in &types {
        checks += &format!("typedef char size_{rust}[sizeof({rust}) == sizeof({header}) ? 1 : -1];\n");
    }
    assert!(functions.contains("lemmy_abi_version"), "{functions}");
    assert_eq!(types.iter().map(|(_, header)| header.clone()).collect::<BTreeSet<_>>(), structs_of_the_header());
    let aliases = aliases(&structs);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drift.c");
    std::fs::write(&file, format!("#include <lemmy.h>\n{functions}\n{aliases}{structs}\n{checks}int drift;\n"))
        .unwrap();
    compile(("CC", "cc"), &["-std=c99"], &file);
    compile(("CXX", "c++"), &["-std=c++17", "-x", "c++"], &file);
}

#[test]
fn a_difference_is_refused() {
    let header = read("include/lemmy.h").replace("uint64_t context", "uint32_t context");
    let functions = generated(cbindgen::ItemType::Functions);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drift.c");
    std::fs::write(&file, format!("{header}\n{functions}\n")).unwrap();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let output = Command::new(&compiler).args(["-std=c99", "-fsyntax-only"]).arg(&file).output();
    let output = output.unwrap_or_else(|e| panic!("these tests need a C compiler; `{compiler}`: {e}"));
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("lemmy_model_estimate"));
}

#[test]
fn status_numbers_are_those_of_the_library() {
    // `Name = number,` lines of the enum; `LEMMY_E_NAME number` lines of the header.
    let source = read("lemmy-core/src/error.rs");
    let kinds = source.split_once("pub enum ErrorKind {").unwrap().1.split_once("\n}").unwrap().0;
    let kinds: BTreeMap<String, String> = kinds
        .lines()
        .filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "))
        .map(|(name, number)| (name.to_uppercase(), number.to_owned()))
        .collect();
    let header = read("include/lemmy.h");
    let defines: BTreeMap<String, String> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define LEMMY_E_"))
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap().replace('_', ""), words.next().unwrap().to_owned())
        })
        .collect();
    let (own, of_the_library): (BTreeMap<_, _>, BTreeMap<_, _>) =
        defines.into_iter().partition(|(_, number)| number.parse::<i32>().unwrap() < 100);
    assert!(kinds.len() >= 12);
    assert_eq!(kinds, of_the_library, "lemmy-core/src/error.rs and include/lemmy.h");
    let names = read("lemmy-ffi/src/error.rs");
    for (name, number) in &own {
        assert!(names.contains(&format!("const {name}: LemmyStatus = {number};")), "error.rs and LEMMY_E_{name}");
    }
    assert_eq!(own.len(), 4);
    for kind in kinds.keys() {
        let listed =
            names.lines().any(|line| line.to_uppercase().contains(&format!("(ERRORKIND::{kind}, C\"{kind}\")")));
        assert!(listed, "lemmy_status_name does not know {kind}");
    }
}

/// All but LEMMY_E_INTERNAL: nothing that a program can do brings that about.
#[test]
fn every_status_is_met_by_a_c_program() {
    let (header, programs) = (read("include/lemmy.h"), c_programs());
    let statuses = header.lines().filter_map(|line| line.strip_prefix("#define LEMMY_E_")?.split(' ').next());
    let missing: Vec<&str> = statuses
        .filter(|name| !programs.contains(&format!("FAILS(LEMMY_E_{name},")))
        .filter(|name| !programs.contains(&format!("== LEMMY_E_{name})")))
        .collect();
    assert_eq!(missing, ["INTERNAL"]);
}

/// Calls that turn a panic into a status; each of the later ones is one call of the first.
const GUARDS: [&str; 6] =
    [" guard(", "guard_value(", "versioned::init(", "answer::object(", "answer::buffer(", "answer::filled("];

/// One store and nothing else, so that a signal handler may call it: no guard.
const UNGUARDED: &str = "lemmy_cancel_trigger";

#[test]
fn every_export_is_guarded_listed_and_called() {
    let mut exports = BTreeSet::new();
    for (path, text) in sources() {
        for export in text.split("#[unsafe(no_mangle)]").skip(1) {
            let name = export.split_once("fn ").unwrap().1.split_once('(').unwrap().0;
            let body = export.split_once("\n}").unwrap().0;
            let guards: usize = GUARDS.iter().map(|call| body.matches(call).count()).sum();
            assert_eq!(guards, usize::from(name != UNGUARDED), "{}: {name}", path.display());
            exports.insert(name.to_owned());
        }
    }
    let listed: BTreeSet<String> = read("include/lemmy.symbols").lines().map(str::to_owned).collect();
    assert_eq!(exports, listed, "lemmy-ffi/src and include/lemmy.symbols");
    let programs = c_programs();
    let header = read("include/lemmy.h");
    for name in exports {
        // Without parameters nothing can be done badly.
        let least = if header.contains(&format!("{name}(void)")) { 1 } else { 2 };
        let uses = programs.matches(&format!("{name}(")).count() + programs.matches(&format!("{name},")).count();
        assert!(uses >= least, "tests/c calls {name} {uses} times: once well and once badly is the least");
    }
}
