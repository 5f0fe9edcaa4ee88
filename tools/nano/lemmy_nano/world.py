"""All groups of the world, and the mixture that training draws from."""

from . import knowledge, memory, structured, talk, tools
from .sample import Chooser, Sample, assistant, loosen, system, user

CAPITALS = [
    "Answer in capital letters.",
    "Write everything in capitals.",
    "Use only capital letters.",
    "Always answer in capital letters.",
    "Please shout: capital letters only.",
    "Your answers are written in capitals.",
]
IN_GERMAN = [
    "Answer in German.",
    "Always answer in German.",
    "Speak German.",
    "Reply in German only.",
    "Your answers are in German.",
    "Please answer in German.",
]
ONE_WORD = [
    "Answer in one word.",
    "Answer with one word only.",
    "Use one word.",
    "Reply with a single word.",
    "Your answers are one word long.",
    "Only one word, please.",
]
PLAIN = [
    "You are Lemmy Nano.",
    "You are a helpful assistant.",
    "Be helpful.",
    "You are a helpful assistant. Be brief.",
    "Answer the questions of the user.",
]


def simple(rng):
    """One question of the simple groups."""
    make = rng.choices(
        (talk.talk, knowledge.fact, knowledge.add, knowledge.compare, knowledge.words, talk.unknown), (3, 4, 4, 2, 4, 2)
    )[0]
    return rng.draw(make)


def single(group, make):
    def sample(rng):
        messages = [system(rng.choice(PLAIN))] if rng.random() < 0.08 else []
        for _ in range(rng.choice((0, 0, 0, 1, 2, 3))):
            t = rng.draw(make)
            messages += [user(loosen(rng, t.user)), assistant(t.answer)]
        t = rng.draw(make)
        messages.append(user(loosen(rng, t.user)))
        return Sample(group, messages, assistant(t.answer)), t.thought

    return sample


def conversation(rng):
    """Several simple turns; only the last is the case."""
    messages = []
    if rng.random() < 0.1:
        messages.append(system(rng.choice(PLAIN)))
    for _ in range(rng.choice((1, 2, 2, 3, 4))):
        t = simple(rng)
        messages += [user(loosen(rng, t.user)), assistant(t.answer)]
    t = simple(rng)
    messages.append(user(loosen(rng, t.user)))
    return Sample("conversation", messages, assistant(t.answer)), t.thought


STYLES = ("capitals", "german", "one word")


def styled(rng, option=None):
    """A system prompt that changes the answer's language or form."""
    style = rng.choices(range(3), (5, 3, 3))[0] if option is None else option
    prompt = rng.choice((CAPITALS, IN_GERMAN, ONE_WORD)[style])
    if rng.random() < 0.2:
        prompt = rng.choice(PLAIN) + " " + prompt
    messages = [system(prompt)]

    def turn():
        make = rng.choices(
            (talk.talk, knowledge.fact, knowledge.compare, knowledge.words, talk.unknown),
            ((2, 4, 1, 5, 1), (3, 5, 1, 0, 1), (1, 5, 1, 0, 1))[style],
        )[0]
        t = rng.draw(make)
        return t, (t.answer.upper(), t.german, t.one_word)[style]

    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        t, a = turn()
        messages += [user(loosen(rng, t.user)), assistant(a)]
    t, a = turn()
    messages.append(user(loosen(rng, t.user)))
    return Sample(STYLES[style], messages, assistant(a)), t.thought


# group -> (maker, share of the training documents, share of its documents with thinking on)
GROUPS = {
    "talk": (single("talk", talk.talk), 3, 0.15),
    "unknown": (single("unknown", talk.unknown), 1.5, 0.1),
    "facts": (single("facts", knowledge.fact), 3, 0.2),
    "add": (single("add", knowledge.add), 24, 0.3),
    "compare": (single("compare", knowledge.compare), 12, 0.5),
    "words": (single("words", knowledge.words), 20, 0.15),
    "conversation": (conversation, 6, 0.1),
    "system": (styled, 28, 0.1),
    "memory": (memory.memory, 10, 0.1),
    "tool call": (tools.tool_call, 8, 0.2),
    "parallel calls": (tools.parallel, 6, 0.2),
    "tool answer": (tools.answer, 7, 0.35),
    "no call": (tools.no_call, 6, 0.15),
    "json": (structured.structured, 12, 0.05),
}


def make(rng, group, thinking=None):
    """One sample of a group, or of one style of system prompt. `thinking` None draws it by the group's share."""
    maker, _, share = GROUPS[{"memory far": "memory"}.get(group, "system" if group in STYLES else group)]
    option = {"option": STYLES.index(group)} if group in STYLES else {"option": True} if group == "memory far" else {}
    sample, thought = maker(rng, **option)
    sample.thinking = rng.random() < share if thinking is None else thinking
    if sample.thinking:
        sample.answer["reasoning"] = thought
        for m in sample.messages:
            if m.get("tool_calls") and rng.random() < 0.5:
                m["reasoning"] = "I need a tool."
    return sample


def training(seed):
    """Endless training samples."""
    rng = Chooser(seed)
    names = list(GROUPS)
    weights = [GROUPS[n][1] for n in names]
    while True:
        yield make(rng, rng.choices(names, weights)[0])


TEST_GROUPS = {
    **{g: (g, False) for g in (*GROUPS, "memory far", *STYLES) if g != "system"},
    "thinking: add": ("add", True),
    "thinking: compare": ("compare", True),
    "thinking: words": ("words", True),
    "thinking: facts": ("facts", True),
    "thinking: tool call": ("tool call", True),
    "thinking: tool answer": ("tool answer", True),
}


def tests(seed, each):
    """`each` different held-out samples of every test group, in a fixed order."""
    for i, (name, (group, thinking)) in enumerate(TEST_GROUPS.items()):
        rng = Chooser(seed * 1000 + i, test=True)
        seen = set()
        while len(seen) < each:
            s = make(rng, group, thinking)
            mark = repr((s.messages, s.tools))
            if mark not in seen:
                seen.add(mark)
                s.group = name
                yield s
