//! The tokenizer against Hugging Face's `tokenizers`, both built from the arrays of one file, on a made-up corpus.
//!
//! `cargo test -p lemmy-conformance --features oracle --test tokenizer_oracle`

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::path::PathBuf;

use lemmy_core::gguf::{FileBytes, Gguf};
use lemmy_core::{Special, Tokenizer};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::Replace;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

const LINES: usize = 12_000;

#[test]
fn ids_equal_those_of_the_tokenizers_crate() {
    let gguf = Gguf::from_bytes(FileBytes::Owned(vocabulary())).unwrap();
    let ours = Tokenizer::from_gguf(&gguf).unwrap();
    let spellings = strings(&gguf, "tokenizer.ggml.tokens");
    let control: Vec<&str> =
        (0..).zip(&spellings).filter(|&(id, _)| ours.is_control(id)).map(|(_, s)| s.as_str()).collect();
    assert_eq!(control.len(), 24);
    let mut oracle = oracle(&gguf, &spellings, &control);

    let mut corpus = Corpus { random: SplitMix64(20_261_124), control: &control, spellings: &spellings };
    let (mut ids, mut bytes) = (0, 0);
    for line in 0..LINES {
        let text = corpus.text(line);
        for special in [Special::Parse, Special::Text] {
            oracle.set_encode_special_tokens(special == Special::Text);
            let expected = oracle.encode_fast(text.as_str(), false).unwrap();
            assert_eq!(ours.encode(&text, special), expected.get_ids(), "line {line}, {special:?}: {text:?}");
            ids += expected.len();
        }
        bytes += text.len();
    }
    assert!(bytes > 500_000 && ids > 300_000, "the corpus has become small: {bytes} bytes, {ids} ids");
}

fn vocabulary() -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tokenizer/ggml-vocab-gemma-4.gguf.xz");
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut std::io::BufReader::new(std::fs::File::open(path).unwrap()), &mut bytes).unwrap();
    bytes
}

fn strings(gguf: &Gguf, key: &str) -> Vec<String> {
    let array = gguf.get(key).unwrap().as_array().unwrap();
    array.strings().unwrap().map(|s| String::from_utf8(s.to_vec()).unwrap()).collect()
}

/// What Google's `tokenizer.json` says, with the file's arrays in place of its lists.
fn oracle(gguf: &Gguf, spellings: &[String], control: &[&str]) -> tokenizers::Tokenizer {
    let vocab: Vocab = spellings.iter().cloned().zip(0..).collect();
    let merges = strings(gguf, "tokenizer.ggml.merges")
        .iter()
        .map(|merge| {
            let space = 1 + merge.as_bytes()[1..].iter().position(|&byte| byte == b' ').unwrap();
            (merge[..space].to_owned(), merge[space + 1..].to_owned())
        })
        .collect();
    let model = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .unk_token("<unk>".into())
        .fuse_unk(true)
        .byte_fallback(true)
        .build()
        .unwrap();
    let mut oracle = tokenizers::Tokenizer::new(model);
    oracle.with_normalizer(Some(Replace::new(" ", "\u{2581}").unwrap())).unwrap();
    let space = SplitPattern::String(" ".into());
    oracle.with_pre_tokenizer(Some(Split::new(space, SplitDelimiterBehavior::MergedWithPrevious, false).unwrap()));
    oracle.add_special_tokens(control.iter().map(|&s| AddedToken::from(s, true).normalized(false))).unwrap();
    oracle
}

/// Vigna's SplitMix64: the same corpus for ever.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Makes texts of nine kinds in turn.
struct Corpus<'a> {
    random: SplitMix64,
    control: &'a [&'a str],
    spellings: &'a [String],
}

/// First and last code point of scripts, symbols, emoji and odd corners of Unicode.
const BLOCKS: [(u32, u32); 32] = [
    (0x00, 0x7F),
    (0x80, 0xFF),
    (0x100, 0x24F),
    (0x250, 0x2FF),
    (0x300, 0x36F),
    (0x370, 0x3FF),
    (0x400, 0x4FF),
    (0x530, 0x5FF),
    (0x600, 0x6FF),
    (0x900, 0x97F),
    (0x980, 0x9FF),
    (0xB80, 0xBFF),
    (0xE00, 0xE7F),
    (0x10A0, 0x10FF),
    (0x1100, 0x11FF),
    (0x1200, 0x137F),
    (0x1E00, 0x1FFF),
    (0x2000, 0x206F),
    (0x20A0, 0x20CF),
    (0x2100, 0x22FF),
    (0x2500, 0x25FF),
    (0x2600, 0x27BF),
    (0x3000, 0x30FF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xE000, 0xE0FF),
    (0xFE00, 0xFFFF),
    (0x1_0000, 0x1_03FF),
    (0x1_D400, 0x1_D7FF),
    (0x1_F1E6, 0x1_F1FF),
    (0x1_F300, 0x1_FAFF),
    (0x0, 0x10_FFFF),
];

impl Corpus<'_> {
    fn text(&mut self, line: usize) -> String {
        match line % 9 {
            0 => self.many(60, |c| c.character(BLOCKS.len())),
            1 => self.one_script(),
            2 => self.many(12, |c| c.vocabulary_piece()),
            3 => self.many(12, |c| format!("{}{}", c.vocabulary_piece(), c.space())),
            4 => self.many(8, |c| match c.random.below(2) {
                0 => c.random.pick(c.control).to_owned(),
                _ => c.vocabulary_piece(),
            }),
            5 => self.many(40, |c| c.emoji()),
            6 => self.random_bytes(),
            7 => self.broken_control(),
            _ => self.run(),
        }
    }

    fn many(&mut self, most: usize, part: impl Fn(&mut Self) -> String) -> String {
        (0..self.random.below(most + 1)).map(|_| part(self)).collect()
    }

    fn character(&mut self, blocks: usize) -> String {
        let (first, last) = BLOCKS[self.random.below(blocks)];
        let code = first + self.random.below((last - first + 1) as usize) as u32;
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
    }

    fn one_script(&mut self) -> String {
        let (first, last) = self.random.pick(&BLOCKS);
        self.many(80, |c| match c.random.below(6) {
            0 => c.space(),
            _ => char::from_u32(first + c.random.below((last - first + 1) as usize) as u32)
                .map_or("?".into(), String::from),
        })
    }

    fn vocabulary_piece(&mut self) -> String {
        self.spellings[self.random.below(self.spellings.len())].replace('\u{2581}', " ")
    }

    fn space(&mut self) -> String {
        let space = ["", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u{A0}", "\u{3000}", "\u{2581}", ".", ", ", "0", "7"];
        self.random.pick(&space).to_owned()
    }

    fn emoji(&mut self) -> String {
        match self.random.below(5) {
            0 => self
                .random
                .pick(&["\u{200D}", "\u{FE0F}", "\u{20E3}", "\u{1F3FB}", "\u{1F3FF}", "\u{E0067}"])
                .to_owned(),
            _ => char::from_u32(0x1_F300 + self.random.below(0x800) as u32).unwrap().to_string(),
        }
    }

    /// Any bytes, made text as browsers do it.
    fn random_bytes(&mut self) -> String {
        let bytes: Vec<u8> = (0..self.random.below(120)).map(|_| self.random.next() as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Control strings with a character taken out, doubled or changed.
    fn broken_control(&mut self) -> String {
        self.many(6, |c| {
            let mut chars: Vec<char> = c.random.pick(c.control).chars().collect();
            let at = c.random.below(chars.len());
            match c.random.below(4) {
                0 => drop(chars.remove(at)),
                1 => chars.insert(at, chars[at]),
                2 => chars[at] = c.random.pick(&['<', '|', '>', ' ', 'x']),
                _ => {}
            }
            chars.into_iter().collect()
        })
    }

    /// One short string many times, between two others.
    fn run(&mut self) -> String {
        let unit = match self.random.below(3) {
            0 => self.character(2),
            1 => self.space(),
            _ => self.vocabulary_piece(),
        };
        format!("{}{}{}", self.vocabulary_piece(), unit.repeat(self.random.below(100)), self.vocabulary_piece())
    }
}
