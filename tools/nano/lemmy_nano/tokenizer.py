"""The tokenizer: Gemma 4's algorithm and control tokens with a small vocabulary of our own.

Byte-pair merges over text whose spaces are U+2581, no splitting, byte tokens for what has no piece. Digits never
merge, so that numbers are read digit by digit."""

import json
import re
from collections import Counter
from math import isqrt

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

SPACE = "\u2581"
CONTROL = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<mask>",
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    '<|"|>',
    "<|think|>",
    "<|channel>",
    "<channel|>",
    "<|turn>",
    "<turn|>",
    "<|image>",
    "<|audio>",
    "<|image|>",
    "<|audio|>",
    "<image|>",
    "<audio|>",
    "<|video|>",
]
# visible in text for converters, so typed "user-defined" in GGUF files; the others are "control"
USER_DEFINED = {
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    '<|"|>',
    "<|channel>",
    "<channel|>",
}
BYTES = [f"<0x{b:02X}>" for b in range(256)]
CHARACTERS = ["\n", SPACE] + [chr(c) for c in range(33, 127)] + list("äöüÄÖÜß")

# A piece is a word, a run of marks, or one digit; a space may stand before a word or a mark, never inside.
_PIECE = re.compile(rf"\n|{SPACE}?[A-Za-zäöüÄÖÜß_]+|[0-9]|{SPACE}?[^\sA-Za-zäöüÄÖÜß_0-9{SPACE}]+|.")
_CONTROL = re.compile("|".join(re.escape(c) for c in CONTROL))


def train_merges(texts, size):
    """Merges in order of frequency. Each distinct piece counts by the square root of its number, so that the rare
    words of the world become whole pieces too."""
    counts = Counter()
    for text in texts:
        for part in _CONTROL.split(text):
            counts.update(_PIECE.findall(part.replace(" ", SPACE)))
    bpe = Tokenizer(models.BPE(unk_token=None))
    # each training line is one piece: nothing merges across pieces
    bpe.pre_tokenizer = pre_tokenizers.Split("\x00", "removed")
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(CONTROL) - len(BYTES),
        initial_alphabet=CHARACTERS,
        limit_alphabet=len(CHARACTERS),
        special_tokens=[],
        show_progress=False,
    )
    lines = [p for p in sorted(counts) if all(c in CHARACTERS for c in p) for _ in range(isqrt(counts[p]))]
    bpe.train_from_iterator(lines, trainer)
    merges = [tuple(m) for m in json.loads(bpe.to_str())["model"]["merges"]]
    pieces = CONTROL + BYTES + CHARACTERS
    known = set(pieces)
    kept = []
    for a, b in merges:
        if a + b not in known:
            pieces.append(a + b)
            known.add(a + b)
        kept.append((a, b))
    assert len(pieces) <= size, len(pieces)
    pieces += [f"<unused{i}>" for i in range(size - len(pieces))]
    return pieces, kept


def save(path, pieces, merges):
    """Writes a tokenizer.json of the same form as Gemma 4's."""
    added = [
        dict(id=i, content=s, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
        for i, s in enumerate(CONTROL)
    ]
    body = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {t: i for i, t in enumerate(pieces)},
            "merges": [list(m) for m in merges],
        },
    }
    with open(path, "w", encoding="utf-8") as f:
        json.dump(body, f, ensure_ascii=False, indent=0)


def load(path):
    return Tokenizer.from_file(str(path))
