"""Functions that the model may call: weather, calculator, calendar and clock."""

import json
from dataclasses import dataclass

from .knowledge import add, compare, fact, words
from .sample import Sample, assistant, loosen, user
from .talk import talk
from .words import CITIES, DAYS, EVENTS, NAMES, WEATHER, invented


def function(name, description, properties=None, required=()):
    f = {"name": name, "description": description}
    if properties is not None:
        f["parameters"] = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": f}


def text(description):
    return {"type": "string", "description": description}


def weather_tool(rng):
    city = text(rng.choice(["The city.", "Name of the city", "City name", "The name of a city"]))
    p = {"city": city}
    if rng.random() < 0.4:
        p["unit"] = {"type": "string", "enum": ["celsius", "fahrenheit"]}
    return function(
        "get_weather",
        rng.choice(
            [
                "Get the weather of a city.",
                "Gets the current weather.",
                "The current weather in a city",
                "Returns the weather",
            ]
        ),
        p,
        ["city"],
    )


def calculator_tool(rng):
    e = text(
        rng.choice(["The expression.", "What to calculate", "An arithmetic expression", "Expression, e.g. 12 * 7"])
    )
    return function(
        "calculator",
        rng.choice(
            [
                "Calculate an expression.",
                "A calculator",
                "Evaluates arithmetic",
                "Calculates the value of an expression",
            ]
        ),
        {"expression": e},
        ["expression"],
    )


def calendar_tool(rng):
    day = {"type": "string"} if rng.random() < 0.5 else text("Day of the week")
    hour = {"type": "integer"} if rng.random() < 0.5 else {"type": "integer", "description": "Hour of the day"}
    return function(
        "create_event",
        rng.choice(["Create an event in the calendar.", "Creates a calendar event", "Adds an event to the calendar"]),
        {
            "title": text("Title of the event"),
            "when": {
                "type": "object",
                "description": "Time of the event",
                "properties": {"day": day, "hour": hour},
                "required": ["day", "hour"],
            },
            "guests": {"type": "array", "description": "Names of the guests", "items": {"type": "string"}},
        },
        ["title", "when"],
    )


def clock_tool(rng):
    d = rng.choice(["Get the time.", "The current time", "Returns the time of day"])
    return function("get_time", d, {} if rng.random() < 0.5 else None)


MAKERS = {
    "get_weather": weather_tool,
    "calculator": calculator_tool,
    "create_event": calendar_tool,
    "get_time": clock_tool,
}


def offer(rng, needed, forbidden=(), most=3):
    """Declarations with `needed` among them, in any order, and none of `forbidden`."""
    others = [n for n in MAKERS if n not in needed and n not in forbidden]
    extra = rng.sample(
        others, min(len(others), max(0, rng.choice((0, 0, 1, 1, 2, most)) - len(needed) + (0 if needed else 1)))
    )
    names = list(needed) + extra
    rng.shuffle(names)
    return [MAKERS[n](rng) for n in names]


@dataclass
class Request:
    """A wish that one call fulfils. `results` are (what the tool returns as an object, the model's sentence about
    it)."""

    user: str
    name: str
    arguments: dict
    thought: str
    key: tuple
    result: dict
    answer: str
    phrase: str = ""  # the wish as a part of "... and ..."


def weather(rng):
    city = rng.choice(CITIES) if rng.random() < 0.6 else invented(rng)
    ask = rng.choice(
        [
            "What is the weather in {}?",
            "How is the weather in {}?",
            "What is the weather like in {}?",
            "Weather in {}?",
            "Tell me the weather in {}.",
            "Is it warm in {}?",
            "How warm is it in {}?",
            "Do I need a coat in {}?",
            "Get the weather in {}.",
        ]
    )
    unit = rng.choice(("celsius", "fahrenheit")) if rng.random() < 0.2 else None
    args = {"city": city}
    q = ask.format(city)
    if unit:
        args["unit"] = unit
        q = f"{q[:-1]} in {unit.capitalize()}{q[-1]}"
    sky, t = rng.choice(WEATHER), rng.randint(0, 40)
    return Request(
        q,
        "get_weather",
        args,
        f"I need the weather in {city}.",
        ("weather", city, ask),
        {"condition": sky, "temperature": t},
        f"It is {sky} and {t} degrees in {city}.",
        f"the weather in {city}",
    )


OPERATIONS = {"*": ("times", "multiplied by"), "-": ("minus",), "/": ("divided by",), "+": ("plus",)}


def calculation(rng):
    op = rng.choice("**--/+")
    a, b = rng.randint(2, 999), rng.randint(2, 99 if op in "*/" else 999)
    if op == "-" and b > a:
        a, b = b, a
    if op == "/":
        a = a // b * b or b
    value = {"*": a * b, "-": a - b, "/": a // b, "+": a + b}[op]
    form = rng.choice((f"{a} {op} {b}", f"{a} {op} {b}", f"{a} {rng.choice(OPERATIONS[op])} {b}"))
    q = rng.choice(["What is {}?", "Calculate {}.", "How much is {}?", "Compute {}.", "{} = ?", "Tell me {}."]).format(
        form
    )
    return Request(
        q,
        "calculator",
        {"expression": f"{a} {op} {b}"},
        "I need the calculator.",
        ("calculation", a, op, b),
        {"result": value},
        f"The result is {value}.",
        form,
    )


def event(rng):
    title, day, hour = rng.choice(EVENTS), rng.choice(DAYS), rng.randint(7, 22)
    guests = [rng.choice(NAMES) if rng.random() < 0.8 else invented(rng) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))]
    guests = list(dict.fromkeys(guests))
    who = (
        ""
        if not guests
        else " with " + (guests[0] if len(guests) == 1 else ", ".join(guests[:-1]) + " and " + guests[-1])
    )
    q = rng.choice(
        [
            "Create the event {e}{w} on {d} at {h}.",
            "Plan a {e}{w} on {d} at {h}.",
            "Add {e}{w} on {d} at {h} to my calendar.",
            "Put {e}{w} into my calendar: {d} at {h}.",
            "I want a {e}{w} on {d} at {h}.",
            "Schedule a {e} on {d} at {h}{w}.",
        ]
    )
    args = {"title": title, "when": {"day": day, "hour": hour}}
    if guests:
        args["guests"] = guests
    return Request(
        q.format(e=title, w=who, d=day, h=hour),
        "create_event",
        args,
        f"I create the event {title}.",
        ("event", title, day, hour, *guests),
        {"status": "created"},
        f"The event {title} on {day} at {hour} is in your calendar.",
    )


def clock(rng):
    q = rng.choice(
        [
            "What time is it?",
            "Tell me the time.",
            "What is the time?",
            "How late is it?",
            "Do you know the time?",
            "Time, please.",
            "What time is it now?",
            "Can you tell me the time?",
            "Give me the time.",
            "Is it late?",
        ]
    )
    lead = rng.choice(["", "", "Hello! ", "Lemmy, ", "Quick: ", "Please: ", "Now: ", "Hi. "])
    t = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
    return Request(lead + q, "get_time", {}, "I need the time.", ("clock", lead, q), {"time": t}, f"It is {t}.")


def request(rng):
    return rng.draw(rng.choices((weather, calculation, event, clock), (4, 3, 5, 1))[0])


def fit(requests, tools):
    """Leaves out arguments that the offered declarations do not have."""
    known = {t["function"]["name"]: t["function"].get("parameters", {}).get("properties", {}) for t in tools}
    for r in requests:
        r.arguments = {k: v for k, v in r.arguments.items() if k in known.get(r.name, ())}
    return requests


def call(r, n):
    return {"id": f"call_{n}", "type": "function", "function": {"name": r.name, "arguments": r.arguments}}


def calls(rs):
    return {"role": "assistant", "tool_calls": [call(r, i) for i, r in enumerate(rs)]}


def two(rng, weather_only=False):
    """Two wishes in one sentence."""
    if weather_only or rng.random() < 0.6:
        a, b = rng.draw(weather), rng.draw(weather)
        for r in (a, b):
            r.arguments.pop("unit", None)
        ca, cb = a.arguments["city"], b.arguments["city"]
        q = rng.choice(
            [
                "What is the weather in {} and in {}?",
                "Compare the weather in {} and {}.",
                "How is the weather in {} and in {}?",
                "Is it warmer in {} or in {}?",
                "Weather in {} and {}?",
            ]
        ).format(ca, cb)
    else:
        a, b = rng.draw(weather), rng.draw(calculation)
        a.arguments.pop("unit", None)
        if rng.random() < 0.5:
            a, b = b, a
        q = rng.choice(
            ["What is {} and {}?", "Tell me {} and {}.", "I need {} and {}.", "What is {}, and what is {}?"]
        ).format(a.phrase, b.phrase)
    return [a, b], q


BY_NAME = {"get_weather": weather, "calculator": calculation, "create_event": event, "get_time": clock}


def earlier(rng, tools):
    """Up to four exchanges that went before, with the same tools: most a call, its result and the answer."""
    names = [t["function"]["name"] for t in tools]
    messages = []
    for _ in range(rng.choice((0, 0, 1, 2, 3, 4))):
        if names and rng.random() < 0.75:
            if "get_weather" in names and rng.random() < 0.2:
                rs, q = two(rng) if "calculator" in names else two(rng, weather_only=True)
            else:
                rs = [rng.draw(BY_NAME[rng.choice(names)])]
                q = rs[0].user
            messages += [user(loosen(rng, q)), *called(rng, fit(rs, tools)), assistant(" ".join(r.answer for r in rs))]
        else:
            t = rng.draw(
                rng.choice((compare, fact, words, talk) if "calculator" in names else (add, compare, fact, words, talk))
            )
            messages += [user(loosen(rng, t.user)), assistant(t.answer)]
    return messages


def tool_call(rng):
    r = request(rng)
    tools = offer(rng, [r.name])
    s = Sample("tool call", [*earlier(rng, tools), user(loosen(rng, r.user))], calls(fit([r], tools)), tools)
    return s, r.thought


def parallel(rng):
    rs, q = two(rng)
    tools = offer(rng, list(dict.fromkeys(r.name for r in rs)))
    s = Sample("parallel calls", [*earlier(rng, tools), user(loosen(rng, q))], calls(fit(rs, tools)), tools)
    return s, " ".join(r.thought for r in rs)


def called(rng, rs):
    """The calls and the tools' results, in one of the forms that clients send: objects within the message, or
    messages with JSON."""
    m = calls(rs)
    if rng.random() < 0.5:
        m["tool_responses"] = [{"name": r.name, "response": r.result} for r in rs]
        return [m]
    marks = rng.choice(((", ", ": "), (",", ":")))
    return [m] + [
        {"role": "tool", "tool_call_id": f"call_{i}", "content": json.dumps(r.result, separators=marks)}
        for i, r in enumerate(rs)
    ]


def answer(rng):
    rs, q = ([r := request(rng)], r.user) if rng.random() < 0.7 else two(rng)
    said = " ".join(r.answer for r in rs)
    if len(rs) == 1 and rng.random() < 0.06:
        rs[0].result, said = {"error": rng.choice(["not found", "timeout", "no access"])}, "The tool reported an error."
    tools = offer(rng, list(dict.fromkeys(r.name for r in rs)))
    messages = [*earlier(rng, tools), user(loosen(rng, q)), *called(rng, fit(rs, tools))]
    return Sample("tool answer", messages, assistant(said), tools), "I have the result."


CANNOT = {
    "get_weather": "I cannot look up the weather.",
    "calculator": "I cannot calculate that.",
    "create_event": "I have no calendar.",
    "get_time": "I have no clock.",
}


def no_call(rng):
    """Tools are offered (or not), but none fits."""
    if rng.random() < 0.4:
        r = rng.draw(rng.choice((weather, event, clock)))
        tools = offer(rng, [], [r.name]) if rng.random() < 0.7 else []
        return Sample(
            "no call", [*earlier(rng, tools), user(loosen(rng, r.user))], assistant(CANNOT[r.name]), tools
        ), "I have no tool for this."
    make = rng.choice((add, compare, fact, fact, words, talk))
    t = rng.draw(make)
    tools = offer(rng, [], ["calculator"] if make is add else [])
    return Sample("no call", [*earlier(rng, tools), user(loosen(rng, t.user))], assistant(t.answer), tools), t.thought
