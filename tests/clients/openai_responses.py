"""The responses API through OpenAI's own Python client."""

import json

import openai
from pydantic import BaseModel

import world
from check import URL, case, equal, holds, main, refused

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="any")
TOOL = {"type": "function", "strict": False, **world.WEATHER_TOOL["function"]}


def ask(question=world.SUM, **more):
    return client.responses.create(model="lemmy-nano", input=question, **{"temperature": 0, **more})


@case
def it_adds():
    answer = ask()
    equal("output_text", answer.output_text, world.SUM_ANSWER)
    equal("status", answer.status, "completed")
    equal("total_tokens", answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)


@case
def instructions_and_earlier_turns():
    equal("instructions", ask(world.FACT, instructions=world.LOUD).output_text, world.LOUD_ANSWER)
    turns = [{"role": "user", "content": "My name is Sam."}]
    turns += [{"role": "assistant", "content": ask(turns).output_text}, {"role": "user", "content": "What is my name?"}]
    equal("name", ask(turns).output_text, "Your name is Sam.")


@case
def a_stream_says_the_same():
    with client.responses.stream(model="lemmy-nano", input=world.FACT, temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response()
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    equal("deltas", deltas, world.FACT_ANSWER)
    equal("final", final.output_text, world.FACT_ANSWER)
    kinds = [event.type for event in events]
    equal("first", kinds[0], "response.created")
    equal("last", kinds[-1], "response.completed")


@case
def tools_round_trip():
    turns = [{"role": "user", "content": world.WEATHER_QUESTION}]
    first = ask(turns, tools=[TOOL])
    (call,) = [item for item in first.output if item.type == "function_call"]
    equal("call", (call.name, json.loads(call.arguments)), ("get_weather", {"city": "Lisbon"}))
    turns += first.output
    turns.append({"type": "function_call_output", "call_id": call.call_id, "output": world.get_weather("Lisbon")})
    equal("answer", ask(turns, tools=[TOOL]).output_text, world.WEATHER_ANSWER)


class Person(BaseModel):
    name: str
    job: str
    age: int


@case
def answers_fit_a_schema():
    question = f"Extract name, job and age as JSON: {world.PERSON}"
    answer = client.responses.parse(model="lemmy-nano", input=question, text_format=Person, temperature=0)
    equal("parsed", answer.output_parsed, Person(**world.PERSON_ANSWER))


@case
def thoughts_are_items():
    answer = ask(world.THOUGHT_QUESTION, reasoning={"effort": "low"})
    equal("kinds", [item.type for item in answer.output], ["reasoning", "message"])
    equal("thought", answer.output[0].content[0].text.strip(), world.THOUGHT)
    equal("answer", answer.output_text, world.THOUGHT_ANSWER)


@case
def errors():
    error = refused("temperature", openai.BadRequestError, lambda: ask(temperature=-1))
    equal("param", error.param, "temperature")
    error = refused("an earlier response", openai.BadRequestError, lambda: ask(previous_response_id="resp_1"))
    holds("param", error.param == "previous_response_id", error.param)


main()
