//! What a header of an earlier release declares is in today's as it was: functions, numbers, and the fields that its
//! structs began with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What programs rely on.
struct Header {
    functions: BTreeSet<String>,
    /// Name and value of `#define`s with a number.
    numbers: BTreeMap<String, String>,
    /// Fields by struct, in order.
    structs: BTreeMap<String, Vec<String>>,
}

impl Header {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let text = without_comments(text);
        let (directives, code): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
        let code = code.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        let functions = code.split(';').filter_map(|statement| statement.trim().strip_prefix("LEMMY_API "));
        let structs = code.split("typedef struct ").filter_map(|rest| {
            let (name, rest) = rest.split_once(" { ")?;
            let (fields, _) = rest.split_once('}')?;
            let fields = fields.split(';').map(|field| field.trim().to_owned()).filter(|field| !field.is_empty());
            Some((name.to_owned(), fields.collect()))
        });
        Self {
            functions: functions.map(str::to_owned).collect(),
            numbers: directives.iter().filter_map(|line| number(line)).collect(),
            structs: structs.collect(),
        }
    }

    /// What of this header is missing, or different, in another.
    fn missing_in(&self, other: &Self) -> Vec<String> {
        let functions = self.functions.difference(&other.functions).cloned();
        let numbers = self.numbers.iter().filter(|(name, value)| other.numbers.get(*name) != Some(value));
        let starts = |name: &String, fields: &Vec<String>| {
            other.structs.get(name).is_some_and(|others| others.starts_with(fields))
        };
        let structs = self.structs.iter().filter(|(name, fields)| !starts(name, fields));
        functions
            .chain(numbers.map(|(name, value)| format!("{name} {value}")))
            .chain(structs.map(|(name, fields)| format!("{name} {fields:?}")))
            .collect()
    }
}

fn without_comments(text: &str) -> String {
    let mut pieces = text.split("/*");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |all, piece| all + piece.split_once("*/").expect("a comment ends").1)
}

fn number(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix("#define ")?.trim().split_once(' ')?;
    // The minor number rises with every addition.
    let is_number = value.trim().starts_with(|c: char| c.is_ascii_digit()) && name != "LEMMY_ABI_MINOR";
    is_number.then(|| (name.to_owned(), value.trim().to_owned()))
}

#[test]
fn nothing_of_an_earlier_release_is_gone() {
    let today = Header::read(&Path::new(ROOT).join("include/lemmy.h"));
    assert!(today.functions.len() > 70 && today.numbers.len() > 60 && today.structs.len() > 12);
    let folders = std::fs::read_dir(Path::new(ROOT).join("lemmy-ffi/tests/abi")).unwrap();
    let headers: Vec<_> = folders.map(|entry| entry.unwrap().path().join("lemmy.h")).collect();
    assert!(!headers.is_empty());
    for path in headers {
        let released = Header::read(&path);
        assert!(released.functions.len() > 5 && released.numbers.len() > 15 && !released.structs.is_empty());
        assert_eq!(released.missing_in(&today), Vec::<String>::new(), "{} and include/lemmy.h", path.display());
    }
}

#[test]
fn a_change_would_be_noticed() {
    const OLD: &str = "#define LEMMY_A 1u /* one */\nLEMMY_API int f(int a,\n  int b);\n\
                       typedef struct S {\n  int x; /* an x */\n  int y;\n} S;\n";
    let old = Header::parse(OLD);
    assert!(old.missing_in(&Header::parse(&OLD.replace("int y;", "int y; int z;"))).is_empty());
    for (what, with) in [("1u", "2u"), ("int b", "long b"), ("int x;", ""), ("int y;", "long y;"), ("f(", "g(")] {
        assert_eq!(old.missing_in(&Header::parse(&OLD.replace(what, with))).len(), 1, "{what} -> {with}");
    }
}
