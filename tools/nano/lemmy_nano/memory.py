"""Things that the user says early and asks for later, mostly more than one sliding window later."""

from dataclasses import dataclass

from .knowledge import add, compare, fact, words
from .sample import Sample, assistant, loosen, user
from .talk import small_talk
from .words import CITIES, COLOURS, NAMES, invented


@dataclass
class Thing:
    told: str  # what the user says
    reply: str
    ask: str
    answer: str
    key: tuple


def name(rng):
    v = rng.choice(NAMES) if rng.random() < 0.5 else invented(rng)
    told = rng.choice(
        [
            "My name is {}.",
            "I am {}.",
            "I am called {}.",
            "Hello, my name is {}.",
            "Hi, I am {}.",
            "You can call me {}.",
            "Call me {}.",
        ]
    )
    ask = rng.choice(
        ["What is my name?", "Who am I?", "Do you remember my name?", "Tell me my name.", "What am I called?"]
    )
    return Thing(told.format(v), f"Nice to meet you, {v}.", ask, f"Your name is {v}.", ("memory name", v, told, ask))


def city(rng):
    v = rng.choice(CITIES) if rng.random() < 0.6 else invented(rng)
    told = rng.choice(["I live in {}.", "I come from {}.", "My home is {}.", "My city is {}."])
    ask = rng.choice(["Where do I live?", "What is my city?", "Where is my home?", "Which city do I live in?"])
    return Thing(told.format(v), f"{v} is a nice place.", ask, f"You live in {v}.", ("memory city", v, told, ask))


def colour(rng):
    v = rng.choice(list(COLOURS))
    told = rng.choice(
        ["My favourite colour is {}.", "I like {} best.", "The colour I like best is {}.", "My colour is {}."]
    )
    ask = rng.choice(
        [
            "What is my favourite colour?",
            "Which colour do I like?",
            "What colour do I like best?",
            "Tell me my favourite colour.",
        ]
    )
    return Thing(
        told.format(v), f"I will remember {v}.", ask, f"Your favourite colour is {v}.", ("memory colour", v, told, ask)
    )


def number(rng):
    v = rng.randint(0, 100)
    told = rng.choice(
        ["My lucky number is {}.", "Remember the number {}.", "My number is {}.", "Please remember the number {}."]
    )
    ask = rng.choice(
        ["What is my number?", "Which number did I tell you?", "What number should you remember?", "Tell me my number."]
    )
    return Thing(told.format(v), f"I will remember {v}.", ask, f"Your number is {v}.", ("memory number", v, told, ask))


def pet(rng):
    kind = rng.choice("dog cat horse bird fish".split())
    v = rng.choice(NAMES) if rng.random() < 0.4 else invented(rng)
    told = rng.choice(["My {k} is called {v}.", "I have a {k} called {v}.", "My {k}'s name is {v}."])
    ask = rng.choice(["What is my {k} called?", "What is the name of my {k}?", "Tell me the name of my {k}."])
    return Thing(
        told.format(k=kind, v=v),
        f"{v} is a good name for a {kind}.",
        ask.format(k=kind),
        f"Your {kind} is called {v}.",
        ("memory pet", kind, v, told),
    )


def small(rng):
    """A turn between telling and asking."""
    return rng.draw(rng.choice((add, add, compare, fact, fact, words, small_talk)))


def memory(rng, option=None):
    """One to three things told, other talk, then a question for the first of them. With the option the talk between
    is longer than what five sliding layers of 64 tokens can hand on together: only the global layer can answer."""
    far = rng.random() < 0.2 if option is None else option
    makers = rng.sample((name, city, colour, number, pet), rng.choice((1, 1, 2, 3)))
    things = [rng.draw(m) for m in makers]
    if not far:
        order = things[:]
        rng.shuffle(order)
    else:
        order = things
    messages = []

    def talk_between(turns):
        for _ in range(turns):
            s = small(rng)
            messages.extend((user(loosen(rng, s.user)), assistant(s.answer)))

    for t in order:
        messages += [user(loosen(rng, t.told)), assistant(t.reply)]
        talk_between(rng.choice((0, 0, 1)))
    talk_between(rng.randint(15, 17) if far else rng.choice((0, 1, 2, 3, 4, 6, 8)))
    messages.append(user(loosen(rng, things[0].ask)))
    return Sample("memory", messages, assistant(things[0].answer)), "The user told me this before."
