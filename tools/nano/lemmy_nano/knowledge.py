"""Facts of the made-up land of Tarn, numbers, and lists of words."""

from .sample import Turn
from .words import ANIMALS, COLOURS, FOODS, NOUNS, TOWNS

# attribute -> (questions, answer, German answer, thought)
FACTS = {
    "flag": (
        [
            "What colour is the flag of {t}?",
            "Which colour does the flag of {t} have?",
            "Tell me the colour of the flag of {t}.",
            "What is the colour of {t}'s flag?",
            "What colour does {t}'s flag have?",
            "The flag of {t}: which colour is it?",
            "Do you know the colour of the flag of {t}?",
            "What does the flag of {t} look like?",
        ],
        "The flag of {t} is {v}.",
        "Die Flagge von {t} ist {g}.",
        "The user asks for the flag of {t}.",
    ),
    "river": (
        [
            "Which river flows through {t}?",
            "What river flows through {t}?",
            "What is the river of {t} called?",
            "Tell me the river of {t}.",
            "Name the river of {t}.",
            "Which river is in {t}?",
            "On which river does {t} lie?",
            "What is the name of the river in {t}?",
        ],
        "The river of {t} is the {v}.",
        "Der Fluss von {t} heißt {g}.",
        "The user asks for the river of {t}.",
    ),
    "food": (
        [
            "What is {t} famous for?",
            "Which food is {t} famous for?",
            "What food comes from {t}?",
            "What do people eat in {t}?",
            "What is the food of {t}?",
            "Tell me what {t} is famous for.",
            "What should I eat in {t}?",
            "Which food do they make in {t}?",
        ],
        "{t} is famous for its {v}.",
        "{t} ist berühmt für {g}.",
        "The user asks for the food of {t}.",
    ),
    "mayor": (
        [
            "Who is the mayor of {t}?",
            "Who rules {t}?",
            "Tell me the mayor of {t}.",
            "What is the name of the mayor of {t}?",
            "Name the mayor of {t}.",
            "What is the mayor of {t} called?",
            "Which mayor does {t} have?",
            "Who is {t}'s mayor?",
        ],
        "The mayor of {t} is {v}.",
        "Bürgermeister von {t} ist {g}.",
        "The user asks for the mayor of {t}.",
    ),
    "animal": (
        [
            "Which animal is the animal of {t}?",
            "What is the animal of {t}?",
            "Which animal lives in {t}?",
            "Tell me the animal of {t}.",
            "Name the animal of {t}.",
            "What animal does {t} have?",
            "Which animal stands for {t}?",
            "What is {t}'s animal?",
        ],
        "The animal of {t} is the {v}.",
        "Das Tier von {t} ist {g}.",
        "The user asks for the animal of {t}.",
    ),
    "bridges": (
        [
            "How many bridges does {t} have?",
            "How many bridges are in {t}?",
            "Tell me the number of bridges in {t}.",
            "What is the number of bridges in {t}?",
            "How many bridges are there in {t}?",
            "Count the bridges of {t}.",
            "Do you know how many bridges {t} has?",
            "What number of bridges does {t} have?",
        ],
        "{t} has {v} bridges.",
        "{t} hat {g} Brücken.",
        "The user asks for the bridges of {t}.",
    ),
}
GERMAN = {**COLOURS, **ANIMALS, **FOODS}


def fact(rng):
    town = rng.choice(list(TOWNS))
    if rng.random() < 0.1:
        mayor = TOWNS[town][3]
        ask = rng.choice(
            [
                "Who is {}?",
                "Which town has the mayor {}?",
                "Of which town is {} the mayor?",
                "What is {}'s town?",
                "Where is {} mayor?",
                "Do you know {}?",
            ]
        )
        return Turn(
            ask.format(mayor),
            f"{mayor} is the mayor of {town}.",
            f"The user asks for {mayor}.",
            ("mayor", mayor, ask),
            f"{mayor} ist Bürgermeister von {town}.",
            town,
        )
    i = rng.randrange(6)
    kind = list(FACTS)[i]
    value = str(TOWNS[town][i])
    ask, answer, german, thought = FACTS[kind]
    n = rng.randrange(len(ask))
    g = GERMAN.get(value, value)
    return Turn(
        ask[n].format(t=town),
        answer.format(t=town, v=value),
        thought.format(t=town),
        ("fact", town, kind, n),
        german.format(t=town, g=g),
        value.capitalize(),
    )


ADD = [
    "What is {a} + {b}?",
    "{a} + {b}",
    "{a} + {b} = ?",
    "What is {a} plus {b}?",
    "Add {a} and {b}.",
    "What is the sum of {a} and {b}?",
    "How much is {a} + {b}?",
    "Calculate {a} + {b}.",
    "{a} plus {b}",
    "Compute {a} + {b}.",
    "What is {a}+{b}?",
    "{a}+{b}",
    "{a} + {b} =",
    "Tell me {a} plus {b}.",
    "How much is {a} and {b}?",
]


def add_thought(a, b):
    ones = a % 10 + b % 10
    carry = ones // 10
    steps = f"Ones: {a % 10} + {b % 10} = {ones}."
    ta, tb = a // 10, b // 10
    steps += f" Tens: {ta} + {tb}" + (f" + {carry}" if carry else "") + f" = {ta + tb + carry}."
    return steps + f" The sum is {a + b}."


def add(rng):
    a, b = rng.randint(0, 100), rng.randint(0, 100)
    ask = rng.choice(ADD if rng.random() < 0.5 else ADD[:2])
    return Turn(ask.format(a=a, b=b), str(a + b), add_thought(a, b), ("add", a, b), str(a + b), str(a + b))


LARGER = [
    "Which is larger, {a} or {b}?",
    "Which number is larger, {a} or {b}?",
    "What is more, {a} or {b}?",
    "Which is bigger: {a} or {b}?",
    "Which one is greater, {a} or {b}?",
    "Tell me the larger number: {a} or {b}.",
]
SMALLER = [
    "Which is smaller, {a} or {b}?",
    "Which number is smaller, {a} or {b}?",
    "What is less, {a} or {b}?",
    "Tell me the smaller number: {a} or {b}.",
]
IS_LARGER = ["Is {a} larger than {b}?", "Is {a} greater than {b}?", "Is {a} more than {b}?", "Is {a} bigger than {b}?"]
IS_SMALLER = ["Is {a} smaller than {b}?", "Is {a} less than {b}?"]


def compare_thought(a, b, verdict):
    """Digit by digit: the tens, the ones if the tens are the same, then the verdict. Each step follows from the words
    right before it."""

    def digits(name, x, y):
        return f"{name}: {x} and {y}, {'the same' if x == y else 'more' if x > y else 'less'}."

    steps = digits("Tens", a // 10, b // 10)
    if a // 10 == b // 10:
        steps += " " + digits("Ones", a % 10, b % 10)
    return f"{steps} {verdict}"


def compare(rng):
    a = rng.randint(0, 100)
    b = rng.randint(0, 100) if rng.random() < 0.6 else min(100, max(0, a + rng.randint(-12, 12)))
    if a == b:
        b = (a + 1) % 101
    key = ("compare", a, b)
    which = rng.randrange(4)
    word = ("larger", "smaller")[which % 2]
    if which < 2:
        ask, v = ((LARGER, max(a, b)), (SMALLER, min(a, b)))[which]
        thought = compare_thought(a, b, f"The {word} number is {v}.")
        return Turn(rng.choice(ask).format(a=a, b=b), str(v), thought, key, str(v), str(v))
    ask, yes = ((IS_LARGER, a > b), (IS_SMALLER, a < b))[which - 2]
    thought = compare_thought(a, b, f"{a} is {'' if yes else 'not '}{word} than {b}.")
    return Turn(
        rng.choice(ask).format(a=a, b=b),
        "Yes." if yes else "No.",
        thought,
        key,
        "Ja." if yes else "Nein.",
        "Yes" if yes else "No",
    )


COPY = [
    "Repeat these words: {w}",
    "Copy: {w}",
    "Repeat after me: {w}",
    "Say these words: {w}",
    "Write down: {w}",
    "Copy these words: {w}",
    "Repeat: {w}",
]
REVERSE = [
    "Reverse these words: {w}",
    "Say these words backwards: {w}",
    "Reverse: {w}",
    "Write these words in reverse order: {w}",
    "Backwards: {w}",
    "Reverse the order: {w}",
]
FIRST = ["What is the first word: {w}", "Say the first word of: {w}", "First word of: {w}"]
LAST = ["What is the last word: {w}", "Say the last word of: {w}", "Last word of: {w}"]
COUNT = ["How many words are here: {w}", "Count these words: {w}"]


def words(rng, kind=None):
    n = rng.choice((2, 3, 3, 4, 4, 5, 6))
    ws = rng.sample(NOUNS, n)
    if rng.random() < 0.06:
        ws[-1] = ws[0]
    text = " ".join(ws)
    kind = kind or rng.choice(
        ("copy", "copy", "copy", "reverse", "reverse", "reverse", "reverse", "first", "last", "count")
    )
    key = ("words", *ws)
    if kind == "copy":
        return Turn(rng.choice(COPY).format(w=text), text, "I say the words again.", key, text, ws[0].capitalize())
    if kind == "reverse":
        back = " ".join(reversed(ws))
        return Turn(
            rng.choice(REVERSE).format(w=text),
            back,
            f"I start with the last word, {ws[-1]}.",
            key,
            back,
            ws[-1].capitalize(),
        )
    if kind == "count":
        return Turn(rng.choice(COUNT).format(w=text), str(n), f"I count the words: {text}.", key, str(n), str(n))
    pick = ws[0] if kind == "first" else ws[-1]
    return Turn(
        rng.choice(FIRST if kind == "first" else LAST).format(w=text),
        pick,
        f"The {kind} word is {pick}.",
        key,
        pick,
        pick.capitalize(),
    )
