"""What Lemmy Nano knows, as far as the clients ask for it (docs/nano.md)."""

import base64
import json
import struct
import zlib

SUM, SUM_ANSWER = "What is 12 + 30?", "42"
FACT, FACT_ANSWER = "What is Kelm famous for?", "Kelm is famous for its bread."
LOUD, LOUD_ANSWER = "Answer in capital letters.", "KELM IS FAMOUS FOR ITS BREAD."
GERMAN, GERMAN_QUESTION = "Answer in German.", "What is the river of Lorath?"
GERMAN_ANSWER = "Der Fluss von Lorath heißt Hesk."
THOUGHT_QUESTION, THOUGHT_ANSWER = "Add 58 and 52", "110"
THOUGHT = "Ones: 8 + 2 = 10. Tens: 5 + 5 + 1 = 11. The sum is 110."
WEATHER_QUESTION = "What is the weather in Lisbon?"
WEATHER_ANSWER = "It is sunny and 21 degrees in Lisbon."
BOTH_QUESTION = "Compare the weather in Dublin and Seattle."
BOTH_ANSWER = "It is rainy and 12 degrees in Dublin. It is cloudy and 9 degrees in Seattle."
PERSON = "Vera works as a doctor, is 64 years old, is not married and wears green."
PERSON_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "job": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "job", "age"],
    "additionalProperties": False,
}
PERSON_ANSWER = {"name": "Vera", "job": "doctor", "age": 64}

WEATHERS = {"Lisbon": ("sunny", 21), "Dublin": ("rainy", 12), "Seattle": ("cloudy", 9)}


def get_weather(city):
    condition, temperature = WEATHERS[city]
    return json.dumps({"condition": condition, "temperature": temperature})


CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "City name"}},
    "required": ["city"],
}
WEATHER_TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The current weather in a city", "parameters": CITY},
}
EXPRESSION = {
    "type": "object",
    "properties": {"expression": {"type": "string", "description": "What to calculate"}},
    "required": ["expression"],
}
CALCULATOR_TOOL = {
    "type": "function",
    "function": {"name": "calculator", "description": "Evaluates arithmetic", "parameters": EXPRESSION},
}


def calculator(expression):
    left, sign, right = expression.split()
    left, right = int(left), int(right)
    return json.dumps({"result": {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[sign]})


def red_square(side=96):
    """A PNG of a red square on white, in base64."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def row(y):
        inside = range(side // 4, side * 3 // 4)
        pixels = ((220, 30, 30) if y in inside and x in inside else (250, 250, 250) for x in range(side))
        return b"\0" + b"".join(map(bytes, pixels))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(map(row, range(side))))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()


PICTURE_QUESTION, PICTURE_ANSWER = "What colour is the square?", "Red."
