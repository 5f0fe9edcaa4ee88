"""Functions of this program that the model may call.

python tools.py MODEL.gguf "What is the weather in London?"
"""

import sys
from typing import Any

import lemmy


def get_weather(city: str) -> dict[str, Any]:
    """The current weather in a city"""
    return {"condition": "rainy", "temperature": 11} if city == "London" else {"condition": "sunny", "temperature": 22}


FUNCTIONS = {"get_weather": get_weather}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": get_weather.__doc__,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "City name"}},
                "required": ["city"],
            },
        },
    }
]


def main(path: str, question: str) -> None:
    session = lemmy.Model(path).session(tools=TOOLS)
    reply = session.send(question, temperature=0)
    while True:
        answers = []
        for event in reply:
            if event.kind == lemmy.EventKind.TEXT:
                print(event.text, end="", flush=True)
            elif event.tool_call is not None:
                call = event.tool_call
                print(f"-> {call.name} {call.arguments_json}")
                answer = FUNCTIONS[call.name](**call.arguments)
                answers.append({"role": "tool", "tool_call_id": call.id, "content": answer})
        if not answers:
            break
        session.add(answers)
        reply = session.generate(temperature=0)
    print()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
