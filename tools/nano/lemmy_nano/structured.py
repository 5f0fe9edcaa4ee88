"""JSON to a given schema, from a sentence that holds the values and more."""

import json
from dataclasses import dataclass

from .sample import Sample, assistant, system, user
from .words import ANIMALS, CITIES, COLOURS, JOBS, NAMES, NOUNS, invented


def field_pool(rng):
    """name -> (schema, value, part of the sentence)."""
    who = rng.choice(NAMES) if rng.random() < 0.7 else invented(rng)
    age, n = rng.randint(1, 99), rng.randint(0, 100)
    where = rng.choice(CITIES) if rng.random() < 0.7 else invented(rng)
    job, colour, animal = rng.choice(JOBS), rng.choice(list(COLOURS)), rng.choice(list(ANIMALS))
    married = rng.random() < 0.5
    likes = rng.sample(NOUNS, rng.choice((1, 2, 2, 3)))
    text, integer = {"type": "string"}, {"type": "integer"}
    return who, {
        "name": (text, who, ""),
        "age": (integer, age, f"is {age} years old"),
        "city": (text, where, f"lives in {where}"),
        "job": (text, job, f"works as a {job}"),
        "colour": (text, colour, f"wears {colour}"),
        "pet": (text, animal, f"has a pet {animal}"),
        "coins": (integer, n, f"owns {n} coins"),
        "married": ({"type": "boolean"}, married, "is married" if married else "is not married"),
        "likes": (
            {"type": "array", "items": text},
            likes,
            "likes " + (likes[0] if len(likes) == 1 else ", ".join(likes[:-1]) + " and " + likes[-1]),
        ),
    }


def schema_of(fields):
    return {"type": "object", "properties": {k: s for k, (s, _, _) in fields.items()}, "required": list(fields)}


@dataclass
class Person:
    sentence: str
    wanted: list  # the schema's fields, in order
    schema: dict
    value: dict
    key: tuple


def person(rng, wanted=None):
    """`wanted` asks for these fields, in this order; "home" holds the city in an object of its own."""
    who, pool = field_pool(rng)
    pool["home"] = (schema_of({"city": ({"type": "string"}, "", "")}), {"city": pool["city"][1]}, pool["city"][2])
    others = [k for k in pool if k not in ("name", "city" if rng.random() < 0.15 else "home")]
    if wanted is None:
        said = rng.sample(others, rng.choice((1, 2, 2, 3, 4)))
        wanted = rng.sample(said, rng.randint(1, len(said)))
        if rng.random() < 0.75:
            wanted.insert(0 if rng.random() < 0.7 else rng.randint(0, len(wanted)), "name")
    else:
        said = [k for k in wanted if k != "name"]
        said += [
            k for k in rng.sample(others, rng.choice((0, 1, 2))) if k not in said and not {k, *said} >= {"home", "city"}
        ]
        rng.shuffle(said)
    parts = [pool[k][2] for k in said]
    sentence = f"{who} " + (parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]) + "."
    fields = {k: pool[k] for k in wanted}
    return Person(
        sentence, wanted, schema_of(fields), {k: v for k, (_, v, _) in fields.items()}, ("json", who, *said, *wanted)
    )


SYSTEM = [
    "Answer with JSON that follows this schema: {s}",
    "Answer in JSON. Schema: {s}",
    "Reply only with a JSON object of this schema: {s}",
    "Use this JSON schema for the answer: {s}",
]
USER = [
    "{t} Answer as JSON with this schema: {s}",
    "Give me JSON with this schema: {s} {t}",
    "Extract JSON from this text: {t} Schema: {s}",
    "{t}\nJSON schema: {s}",
    "JSON schema: {s}\nText: {t}",
]
KEYS = [
    "{t} Answer as JSON with the keys {k}.",
    "Give me JSON with the keys {k}: {t}",
    "Extract {k} as JSON: {t}",
    "JSON with {k}, please: {t}",
]


def ask(rng, p):
    """A question for p in one message: mostly with the schema, now and then with the names of its fields."""
    if rng.random() < 0.2:
        k = p.wanted[0] if len(p.wanted) == 1 else ", ".join(p.wanted[:-1]) + " and " + p.wanted[-1]
        return rng.choice(KEYS).format(t=p.sentence, k=k)
    return rng.choice(USER).format(s=json.dumps(p.schema, separators=rng.choice((None, (",", ":")))), t=p.sentence)


def structured(rng):
    p = rng.draw(person)
    messages = []
    if rng.random() < 0.45:
        s = json.dumps(p.schema, separators=rng.choice((None, (",", ":"))))
        messages.append(system(rng.choice(SYSTEM).format(s=s)))
        for _ in range(rng.choice((0, 0, 1, 2))):
            before = rng.draw(lambda r: person(r, p.wanted))
            messages += [user(before.sentence), assistant(json.dumps(before.value))]
        messages.append(user(p.sentence))
    else:
        for q in ([rng.draw(person)] if rng.random() < 0.3 else []) + [p]:
            messages += [user(ask(rng, q)), assistant(json.dumps(q.value))]
        messages.pop()
    return Sample("json", messages, assistant(json.dumps(p.value))), "I fill in the schema."
