"""JSON to a given schema, from a sentence that holds the values and more."""

import json

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
        "likes": ({"type": "array", "items": text}, likes, "likes " + (likes[0] if len(likes) == 1 else ", ".join(likes[:-1]) + " and " + likes[-1])),
    }


def schema_of(fields):
    return {"type": "object", "properties": {k: s for k, (s, _, _) in fields.items()}, "required": list(fields)}


def person(rng):
    who, pool = field_pool(rng)
    said = rng.sample([k for k in pool if k != "name"], rng.choice((1, 2, 2, 3, 4)))
    parts = [pool[k][2] for k in said]
    sentence = f"{who} " + (parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]) + "."
    wanted = rng.sample(said, rng.randint(1, len(said)))
    if rng.random() < 0.75:
        wanted.insert(0 if rng.random() < 0.7 else rng.randint(0, len(wanted)), "name")
    fields = {k: pool[k] for k in wanted}
    value = {k: v for k, (_, v, _) in fields.items()}
    schema = schema_of(fields)
    if "city" in wanted and len(wanted) > 1 and rng.random() < 0.15:
        schema["properties"]["city"] = schema_of({"name": ({"type": "string"}, "", "")})
        value["city"] = {"name": value["city"]}
    return sentence, schema, value, ("json", who, *said, *wanted)


SYSTEM = ["Answer with JSON that follows this schema: {s}", "Answer in JSON. Schema: {s}", "Reply only with a JSON object of this schema: {s}",
          "Use this JSON schema for the answer: {s}"]
USER = ["{t} Answer as JSON with this schema: {s}", "Give me JSON with this schema: {s} {t}", "Extract JSON from this text: {t} Schema: {s}",
        "{t}\nJSON schema: {s}", "JSON schema: {s}\nText: {t}"]


def structured(rng):
    while True:
        sentence, schema, value, key = person(rng)
        if rng.wanted(key):
            break
    s = json.dumps(schema) if rng.random() < 0.6 else json.dumps(schema, separators=(",", ":"))
    if rng.random() < 0.45:
        messages = [system(rng.choice(SYSTEM).format(s=s)), user(sentence)]
    else:
        messages = [user(rng.choice(USER).format(s=s, t=sentence))]
    return Sample("json", messages, assistant(json.dumps(value, ensure_ascii=False))), "I fill in the schema."
