"""What a training or test case is, and the rule that keeps the two apart."""

import hashlib
import random
from dataclasses import dataclass, field


@dataclass
class Turn:
    """One question and its one right answer. `thought` is what the model writes first when thinking is on."""

    user: str
    answer: str
    thought: str
    key: tuple  # the values that make the case: decides training or test
    german: str | None = None
    one_word: str | None = None


@dataclass
class Sample:
    group: str
    messages: list  # the prompt, in the form of the chat template
    answer: dict  # the assistant message that must follow: content or tool_calls, and reasoning if thinking
    tools: list = field(default_factory=list)
    thinking: bool = False


def held_out(key):
    """True for the tenth of all cases that training never sees. Depends on the values alone, never on chance."""
    return hashlib.blake2b(repr(key).encode(), digest_size=4).digest()[0] < 26


class Chooser(random.Random):
    """A random source that belongs to one side of the split."""

    def __init__(self, seed, test=False):
        super().__init__(seed)
        self.test = test

    def wanted(self, key):
        return held_out(key) == self.test

    def draw(self, make):
        """Calls `make(self)` until its result's key belongs to this side."""
        while True:
            made = make(self)
            if self.wanted(made.key):
                return made


def user(text):
    return {"role": "user", "content": text}


def system(text):
    return {"role": "system", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def loosen(rng, text):
    """The ways in which people type: a small first letter, no last mark, a "please"."""
    if rng.random() < 0.12 and not text.startswith("I "):
        text = text[0].lower() + text[1:]
    if rng.random() < 0.12 and text[-1] in ".?!":
        text = text[:-1]
    if rng.random() < 0.04:
        text = "Please: " + text if rng.random() < 0.5 else text + " please" if text[-1] not in ".?!" else text
    return text
