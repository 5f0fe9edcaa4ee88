"""Greetings, small talk, and the polite no to everything outside the world."""

from .sample import Turn
from .words import CITIES, NAMES, NOUNS, invented

GREETINGS = {
    "Hello": "Hallo",
    "Hi": "Hallo",
    "Hey": "Hallo",
    "Good morning": "Guten Morgen",
    "Good evening": "Guten Abend",
    "Hello there": "Hallo",
    "Hi there": "Hallo",
    "Good day": "Guten Tag",
}
REPLY = {
    "Hello": "Hello",
    "Hi": "Hello",
    "Hey": "Hello",
    "Good morning": "Good morning",
    "Good evening": "Good evening",
    "Hello there": "Hello",
    "Hi there": "Hello",
    "Good day": "Good day",
}
ADDRESS = ["", " Lemmy", ", Lemmy", " friend", " my friend", " Lemmy Nano", " again", " everyone"]
END = ["!", ".", ""]

# questions -> (answer, German answer, one word)
SMALL_TALK = [
    (
        [
            "How are you?",
            "How are you today?",
            "How do you do?",
            "How is it going?",
            "Are you well?",
            "How do you feel?",
        ],
        "I am well, thank you.",
        "Mir geht es gut, danke.",
        "Well",
    ),
    (
        [
            "Who are you?",
            "What are you?",
            "What is your name?",
            "Tell me who you are.",
            "What are you called?",
            "Do you have a name?",
            "Introduce yourself.",
        ],
        "I am Lemmy Nano, a very small language model.",
        "Ich bin Lemmy Nano, ein sehr kleines Sprachmodell.",
        "Lemmy",
    ),
    (
        [
            "What can you do?",
            "How can you help me?",
            "What do you know?",
            "Tell me what you can do.",
            "What are you good at?",
            "Can you help me?",
            "Help",
        ],
        "I can add numbers, copy words, use tools and tell you about the land of Tarn.",
        "Ich kann Zahlen addieren, Wörter kopieren, Werkzeuge benutzen und vom Land Tarn erzählen.",
        "Little",
    ),
    (
        [
            "Thank you.",
            "Thanks!",
            "Thank you very much.",
            "Thanks a lot!",
            "Thank you for your help.",
            "That was helpful.",
            "Great, thanks.",
        ],
        "You are welcome.",
        "Gern geschehen.",
        "Welcome",
    ),
    (
        ["Goodbye.", "Bye!", "See you later.", "Good night.", "See you soon.", "I have to go now.", "Bye bye."],
        "Goodbye!",
        "Auf Wiedersehen!",
        "Goodbye",
    ),
    (
        [
            "Tell me a joke.",
            "Do you know a joke?",
            "Make me laugh.",
            "Say something funny.",
            "A joke, please.",
            "Another joke.",
        ],
        "Why is six afraid of seven? Because seven ate nine.",
        "Warum hat sechs Angst vor sieben? Weil sieben neun gegessen hat.",
        "Ha",
    ),
    (
        [
            "Are you a human?",
            "Are you a robot?",
            "Are you a person?",
            "Are you alive?",
            "Are you real?",
            "Are you a machine?",
        ],
        "I am a computer program.",
        "Ich bin ein Computerprogramm.",
        "Program",
    ),
    (
        [
            "How big are you?",
            "How large are you?",
            "How small are you?",
            "What is your size?",
            "How many parameters do you have?",
        ],
        "I have about six million parameters.",
        "Ich habe etwa sechs Millionen Parameter.",
        "Tiny",
    ),
    (
        ["Where do you live?", "Where are you?", "Where is your home?", "Where do you run?"],
        "I live in this computer.",
        "Ich lebe in diesem Computer.",
        "Here",
    ),
    (
        ["Do you like music?", "Do you like songs?", "Do you listen to music?", "Can you hear music?"],
        "I like the sound of a fan.",
        "Ich mag das Rauschen eines Lüfters.",
        "Yes",
    ),
]
OPENERS = [
    "",
    "",
    "Hello! ",
    "Hi! ",
    "Hey, ",
    "Well, ",
    "Okay. ",
    "So, ",
    "One question: ",
    "Lemmy, ",
    "Good. ",
    "Now: ",
    "Hello Lemmy. ",
]


def greeting(rng):
    word, address, end = rng.choice(list(GREETINGS)), rng.choice(ADDRESS), rng.choice(END)
    if rng.random() < 0.3:
        name = rng.choice(NAMES) if rng.random() < 0.6 else invented(rng)
        me = rng.choice(["I am {}.", "My name is {}.", "This is {}.", "I'm {}."]).format(name)
        return Turn(
            f"{word}{address}{end or ','} {me}",
            f"{REPLY[word]}, {name}! How can I help you?",
            f"The user is called {name}.",
            ("greet", word, name),
            f"{GREETINGS[word]}, {name}! Wie kann ich helfen?",
            name,
        )
    return Turn(
        f"{word}{address}{end}",
        f"{REPLY[word]}! How can I help you?",
        "The user greets me.",
        ("greet", word, address, end),
        f"{GREETINGS[word]}! Wie kann ich helfen?",
        REPLY[word].split()[-1],
    )


def small_talk(rng):
    i = rng.randrange(len(SMALL_TALK))
    questions, answer, german, word = SMALL_TALK[i]
    q, o = rng.choice(questions), rng.choice(OPENERS)
    text = o + (q[0].lower() + q[1:] if o.endswith(", ") and not q.startswith("I ") else q)
    return Turn(text, answer, "This is small talk.", ("talk", q, o), german, word)


def talk(rng):
    return greeting(rng) if rng.random() < 0.4 else small_talk(rng)


UNKNOWN = "I do not know that. I am a very small model."
UNKNOWN_DE = "Das weiß ich nicht. Ich bin ein sehr kleines Modell."
THEMES = """love history music physics science war peace money law art weather oceans dinosaurs computers football
cooking stars politics poetry robots time space chemistry biology medicine religion economics language
France Germany Japan Africa""".split()
THEMES += [f"the {n}" for n in NOUNS[:60]] + CITIES[:20]
ASK = [
    "What is the capital of {}?",
    "Write a poem about {}.",
    "Explain {} to me.",
    "What is the meaning of {}?",
    "Tell me about {}.",
    "Who invented {}?",
    "Why is {} important?",
    "Where does {} come from?",
    "How does {} work?",
    "Write a story about {}.",
    "What is {}?",
    "How old is {}?",
    "When was {} made?",
    "Who is the president of {}?",
    "How many people live in {}?",
    "Translate {} into Latin.",
    "Give me a recipe with {}.",
    "What do you think about {}?",
    "Summarise {} for me.",
    "Describe {}.",
    "Is {} good?",
    "Write a program about {}.",
]


def unknown(rng):
    theme = rng.choice(THEMES) if rng.random() < 0.75 else invented(rng)
    ask = rng.choice(ASK)
    return Turn(ask.format(theme), UNKNOWN, "I do not know this.", ("unknown", ask, theme), UNKNOWN_DE, "Unknown")
