"""LiteLLM, as a proxy or a program between would use it."""

import json
import os

# It would ask for a list of prices otherwise.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

import world
from check import LOCKED_URL, URL, case, equal, holds, main, refused


def ask(question=world.SUM, url=URL, key="any", **more):
    messages = question if isinstance(question, list) else [{"role": "user", "content": question}]
    return litellm.completion(
        model="openai/lemmy-nano", api_base=f"{url}/v1", api_key=key, messages=messages, num_retries=0,
        **{"temperature": 0, **more},
    )


@case
def it_adds():
    answer = ask()
    equal("content", answer.choices[0].message.content, world.SUM_ANSWER)
    holds("usage", answer.usage.completion_tokens > 0, answer.usage)


@case
def a_stream_says_the_same():
    pieces = [piece.choices[0].delta.content or "" for piece in ask(world.FACT, stream=True)]
    equal("content", "".join(pieces), world.FACT_ANSWER)


@case
def tools_round_trip():
    turns = [{"role": "user", "content": world.WEATHER_QUESTION}]
    message = ask(turns, tools=[world.WEATHER_TOOL]).choices[0].message
    (call,) = message.tool_calls
    equal("arguments", json.loads(call.function.arguments), {"city": "Lisbon"})
    turns += [message, {"role": "tool", "tool_call_id": call.id, "content": world.get_weather("Lisbon")}]
    equal("answer", ask(turns, tools=[world.WEATHER_TOOL]).choices[0].message.content, world.WEATHER_ANSWER)


@case
def thoughts_come_apart_from_the_answer():
    extra = {"chat_template_kwargs": {"enable_thinking": True}}
    message = ask(world.THOUGHT_QUESTION, extra_body=extra).choices[0].message
    equal("content", message.content, world.THOUGHT_ANSWER)
    equal("reasoning_content", message.reasoning_content.strip(), world.THOUGHT)


@case
def errors():
    refused("temperature", litellm.BadRequestError, lambda: ask(temperature=-1))
    refused("a wrong key", litellm.AuthenticationError, lambda: ask(url=LOCKED_URL, key="wrong"))


main()
