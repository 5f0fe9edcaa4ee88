//! The score-based SentencePiece kind, against llama.cpp's ids on a real Gemma 3 file.
//!
//! `LEMMY_TEST_GEMMA3` names the file (any size of Gemma 3: all have this vocabulary); without it there is nothing to check.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::ops::ControlFlow;

use lemmy_core::gguf::{Gguf, LoadMode};
use lemmy_core::{CancelToken, Special, TokenId, Tokenizer};

/// Text, ids with control tokens parsed, ids as plain text where different.
type Row = (&'static str, &'static [TokenId], Option<&'static [TokenId]>);

/// llama.cpp (as in llama-cpp-python 0.3.36), `llama_tokenize` without BOS.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("", &[], None),
    ("The capital of France is", &[818, 5279, 529, 7001, 563], None),
    ("def fibonacci(n):", &[2063, 10779, 78113, 236769, 236749, 1473], None),
    ("Once upon a time, in a small village", &[14946, 3324, 496, 990, 236764, 528, 496, 1944, 9744], None),
    ("Hello  world", &[9259, 138, 12392], None),
    ("a   b", &[236746, 139, 236763], None),
    ("line\n\n\tline", &[1257, 108, 255968, 1257], None),
    // User-defined tokens are whole wherever they stand.
    ("<table><tr><td>1</td></tr></table>", &[168, 173, 175, 236770, 183, 181, 176], None),
    ("                                   ", &[167, 140], None),
    ("<start_of_turn>user\nHi<end_of_turn>\n", &[105, 2364, 107, 10979, 106, 107],
        Some(&[236820, 3041, 236779, 1340, 236779, 887, 236813, 2364, 107, 10979, 236820, 643, 236779, 1340, 236779, 887, 236813, 107])),
    ("<unused7>x", &[13, 236781], Some(&[236820, 63634, 236832, 236813, 236781])),
    ("naïve café — 東京 🦀", &[1789, 238527, 560, 33443, 2192, 86459, 236743, 248714], None),
    // Byte fallback: U+0378 and U+E0041 have no token.
    ("🧑\u{200D}🚀\u{378}\u{E0041}", &[247027, 237243, 242015, 443, 422, 481, 398, 367, 367], None),
    ("<0x41>", &[236820, 236771, 236781, 236812, 236770, 236813], None),
    (" leading", &[5830], None),
    ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", &[130987, 130987, 130987, 130987, 130987], None),
];

#[test]
fn ids_equal_those_of_llama_cpp() {
    let Some(path) = std::env::var_os("LEMMY_TEST_GEMMA3") else { return };
    let gguf = Gguf::open(path.as_ref(), LoadMode::Mmap, &CancelToken::new(), &mut |_, _| ControlFlow::Continue(()));
    let tokenizer = Tokenizer::from_gguf(&gguf.unwrap()).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.adds_bos()), (Some(2), true));
    // <eos> and <end_of_turn>.
    assert_eq!(tokenizer.end_of_generation(), [1, 106]);
    for &(text, parsed, plain) in ROWS {
        assert_eq!(tokenizer.encode(text, Special::Parse), parsed, "{text:?} with control tokens");
        let ids = tokenizer.encode(text, Special::Text);
        assert_eq!(ids, plain.unwrap_or(parsed), "{text:?} as plain text");
        assert_eq!(tokenizer.decode(&ids), text);
    }
}
