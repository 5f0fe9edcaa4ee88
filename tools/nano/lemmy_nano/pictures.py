"""Questions and answers about pictures of one or two figures (the drawing is in `vision.py`)."""

from .words import COLOURS, SHAPES

PALETTE = {
    "red": (220, 30, 30),
    "blue": (30, 60, 220),
    "green": (30, 160, 50),
    "yellow": (240, 215, 30),
    "black": (15, 15, 15),
    "white": (250, 250, 250),
    "orange": (250, 130, 20),
    "purple": (140, 40, 170),
}
assert set(PALETTE) == set(COLOURS)
DESCRIBE = [
    "What is in the picture?",
    "What do you see?",
    "Describe the picture.",
    "What is in this image?",
    "What does the image show?",
    "Which figures are in the picture?",
    "Describe this image.",
    "Tell me what you see.",
]
ONE_OF_TWO = [
    ["What is in the first picture?", "Describe the first picture.", "What does the first image show?"],
    ["What is in the second picture?", "Describe the second picture.", "What does the second image show?"],
]
HOW_MANY = ["How many figures are there?", "How many figures do you see?", "Count the figures."]


def article(colour):
    return "an" if colour[0] in "aeiou" else "a"


def figure(f):
    return f"{article(f[0])} {f[0]} {f[1]}"


def described(figures):
    text = " and ".join(figure(f) for f in figures) + "."
    return text[0].upper() + text[1:]


def question(rng, figures):
    """(question, answer) about figures = [(colour, shape), ...], from left to right."""
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(DESCRIBE), described(figures)
    if kind < 0.68:
        return rng.choice(HOW_MANY), ("One.", "Two.")[len(figures) - 1]
    colour, shape = rng.choice(figures)
    if kind < 0.84 and sum(s == shape for _, s in figures) == 1:
        return rng.choice(
            [f"What colour is the {shape}?", f"Which colour does the {shape} have?"]
        ), colour.capitalize() + "."
    if kind >= 0.84 and sum(c == colour for c, _ in figures) == 1:
        return rng.choice([f"Which figure is {colour}?", f"What shape is the {colour} figure?"]), f"The {shape}."
    return rng.choice(DESCRIBE), described(figures)


def all_texts(rng):
    """Texts of this group for the tokenizer's vocabulary."""
    for colour in COLOURS:
        for shape in SHAPES:
            for _ in range(4):
                yield " ".join(
                    question(
                        rng, [(colour, shape)] + [(rng.choice(list(COLOURS)), rng.choice(SHAPES))] * rng.randint(0, 1)
                    )
                )
