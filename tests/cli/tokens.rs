//! `lemmy tokenize` and `lemmy detokenize`.

use super::*;

fn tokenize(arguments: &[&str], stdin: &[u8]) -> Done {
    done_with(lemmy(["tokenize", &tiny()]).args(arguments), stdin)
}

fn detokenize(arguments: &[&str], stdin: &[u8]) -> Done {
    done_with(lemmy(["detokenize", &tiny()]).args(arguments), stdin)
}

#[test]
fn text_comes_back_byte_for_byte() {
    for text in ["Hello, world", "  spaces  \n\nlines\r\n", "wörld 日本語 🦀\u{0}\u{7f}", "<|turn>user\n<0x41>", "\n"]
    {
        let ids = tokenize(&[], text.as_bytes()).code(0);
        let back = detokenize(&[], &ids.out).code(0);
        assert_eq!(back.out, text.as_bytes(), "{text:?}: {ids:?}");
    }
}

#[test]
fn arguments_and_stdin_are_the_same() {
    let ids = tokenize(&["Hello world"], b"").code(0);
    assert_eq!(tokenize(&["Hello", "world"], b"").code(0).out, ids.out);
    assert_eq!(tokenize(&[], b"Hello world").code(0).out, ids.out);
    let words: Vec<_> = ids.text().split_whitespace().collect();
    assert_eq!(detokenize(&words, b"").code(0).text(), "Hello world");
    assert_eq!(detokenize(&[&words.join(",")], b"").code(0).text(), "Hello world");
}

#[test]
fn forms_of_output() {
    let ids = tokenize(&["a wörld"], b"").code(0);
    let ids: Vec<u32> = ids.text().split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert_eq!(tokenize(&["--ids", "a wörld"], b"").code(0).text().split_whitespace().count(), ids.len());
    assert_eq!(tokenize(&["--count", "a wörld"], b"").code(0).text(), format!("{}\n", ids.len()));
    let json = tokenize(&["--json", "a wörld"], b"").code(0).json();
    assert_eq!(json["ids"], serde_json::json!(ids));
    assert_eq!(json["count"], ids.len());
    let pieces = tokenize(&["--pieces", "a wörld"], b"").code(0);
    for ((line, id), piece) in pieces.text().lines().zip(&ids).zip(json["pieces"].as_array().unwrap()) {
        assert_eq!(line, format!("{id}\t{piece}"));
    }
    assert_eq!(pieces.text().lines().count(), ids.len());
}

#[test]
fn control_tokens() {
    let count = |arguments: &[&str]| tokenize(arguments, b"").code(0).text().trim().parse::<usize>().unwrap();
    assert_eq!(count(&["--count", "<|turn>"]), 1);
    assert!(count(&["--count", "--no-special", "<|turn>"]) > 1);
    let with_bos = tokenize(&["--bos", "a"], b"").code(0);
    assert!(with_bos.text().starts_with("2 "), "{with_bos:?}");
    assert_eq!(detokenize(&[], &with_bos.out).code(0).text(), "<bos>a");
    assert_eq!(detokenize(&["--no-special"], &with_bos.out).code(0).text(), "a");
    assert_eq!(detokenize(&["--json"], &with_bos.out).code(0).json()["text"], "<bos>a");
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    tokenize(&[], b"ab\xc3").code(2).says("stdin: found no UTF-8 at byte 2");
}
