"""An agent: OpenAI's Python client, tools that are really called, until the model has an answer."""

import json

import openai

import world
from check import URL, case, equal, main

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="any")
EVENT_TOOL = {
    "type": "function",
    "function": {
        "name": "create_event",
        "description": "Adds an event to the calendar",
        "parameters": {
            "type": "object",
            "properties": {
                "title": {"type": "string", "description": "Title of the event"},
                "when": {
                    "type": "object",
                    "description": "Time of the event",
                    "properties": {"day": {"type": "string"}, "hour": {"type": "integer"}},
                    "required": ["day", "hour"],
                },
                "guests": {"type": "array", "description": "Names of the guests", "items": {"type": "string"}},
            },
            "required": ["title", "when"],
        },
    },
}


class Agent:
    """One conversation and the calls that it made."""

    def __init__(self, **options):
        self.messages = []
        self.calls = []
        self.options = options

    def create_event(self, **event):
        return json.dumps({"status": "created"})

    def call(self, name, arguments):
        self.calls.append((name, arguments))
        own = {"get_weather": world.get_weather, "calculator": world.calculator, "create_event": self.create_event}
        return own[name](**arguments)

    def ask(self, question):
        self.messages.append({"role": "user", "content": question})
        for _ in range(5):
            answer = client.chat.completions.create(
                model="lemmy-nano",
                messages=self.messages,
                tools=[world.WEATHER_TOOL, world.CALCULATOR_TOOL, EVENT_TOOL],
                temperature=0,
                **self.options,
            )
            message = answer.choices[0].message
            # As it came, thoughts included: the template wants them back while calls are being answered.
            self.messages.append(message.model_dump(exclude_none=True))
            if not message.tool_calls:
                return message.content
            for call in message.tool_calls:
                result = self.call(call.function.name, json.loads(call.function.arguments))
                self.messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        return "no answer after five turns"


@case
def a_conversation_with_tools():
    agent = Agent()
    equal("weather", agent.ask(world.WEATHER_QUESTION), world.WEATHER_ANSWER)
    equal("product", agent.ask("Compute 768 + 554."), "The result is 1322.")
    event = agent.ask("Plan a Lunch with Noah on Friday at 12.")
    equal("event", event, "The event Lunch on Friday at 12 is in your calendar.")
    expected = [
        ("get_weather", {"city": "Lisbon"}),
        ("calculator", {"expression": "768 + 554"}),
        ("create_event", {"title": "Lunch", "when": {"day": "Friday", "hour": 12}, "guests": ["Noah"]}),
    ]
    equal("calls", agent.calls, expected)


@case
def two_calls_in_one_turn():
    agent = Agent()
    equal("answer", agent.ask(world.BOTH_QUESTION), world.BOTH_ANSWER)
    equal("calls", agent.calls, [("get_weather", {"city": "Dublin"}), ("get_weather", {"city": "Seattle"})])


@case
def thinking_between_calls():
    agent = Agent(reasoning_effort="low")
    equal("answer", agent.ask(world.WEATHER_QUESTION), world.WEATHER_ANSWER)
    equal("calls", agent.calls, [("get_weather", {"city": "Lisbon"})])
    said = [message for message in agent.messages if message["role"] == "assistant"]
    thoughts = [message.get("reasoning_content", "").strip() for message in said]
    equal("thoughts", thoughts, ["I need the weather in Lisbon.", "I have the result."])


main()
