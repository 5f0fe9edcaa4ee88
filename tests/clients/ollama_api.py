"""Ollama's own Python client."""

import json

import ollama

import world
from check import SEES, URL, case, equal, holds, main, refused

client = ollama.Client(host=URL)
COLD = {"temperature": 0}


def ask(question=world.SUM, **more):
    messages = question if isinstance(question, list) else [{"role": "user", "content": question}]
    return client.chat(model="lemmy-nano", messages=messages, **{"options": COLD, **more})


@case
def the_model_is_listed():
    equal("list", [model.model.split(":")[0] for model in client.list().models], ["lemmy-nano"])
    shown = client.show("lemmy-nano")
    holds("capabilities", {"completion", "tools", "thinking"} <= set(shown.capabilities), shown.capabilities)
    equal("vision", "vision" in shown.capabilities, SEES)
    equal("format", shown.details.format, "gguf")
    holds("keys of the file", "general.architecture" in shown.modelinfo, list(shown.modelinfo)[:5])
    holds("running", len(client.ps().models) == 1, client.ps())


@case
def it_adds():
    answer = ask()
    equal("content", answer.message.content, world.SUM_ANSWER)
    equal("end", (answer.done, answer.done_reason), (True, "stop"))
    holds("counts", answer.prompt_eval_count > 0 and answer.eval_count > 0, answer)
    holds("durations", answer.total_duration > 0 and answer.eval_duration > 0, answer)


@case
def a_stream_says_the_same():
    pieces = list(ask(world.FACT, stream=True))
    equal("content", "".join(piece.message.content or "" for piece in pieces), world.FACT_ANSWER)
    holds("pieces", len(pieces) > 4, pieces)
    equal("done", [piece.done for piece in pieces], [False] * (len(pieces) - 1) + [True])


@case
def system_prompts_change_answers():
    turns = [{"role": "system", "content": world.LOUD}, {"role": "user", "content": world.FACT}]
    equal("chat", ask(turns).message.content, world.LOUD_ANSWER)
    answer = client.generate(model="lemmy-nano", prompt=world.FACT, system=world.LOUD, options=COLD)
    equal("generate", answer.response, world.LOUD_ANSWER)


@case
def texts_are_generated():
    answer = client.generate(model="lemmy-nano", prompt=world.SUM, options=COLD)
    equal("response", answer.response, world.SUM_ANSWER)
    pieces = client.generate(model="lemmy-nano", prompt=world.FACT, options=COLD, stream=True)
    equal("streamed", "".join(piece.response for piece in pieces), world.FACT_ANSWER)
    loaded = client.generate(model="lemmy-nano", prompt="")
    equal("without a prompt", (loaded.done, loaded.done_reason), (True, "load"))


@case
def tools_round_trip():
    turns = [{"role": "user", "content": world.BOTH_QUESTION}]
    first = ask(turns, tools=[world.WEATHER_TOOL])
    calls = [(call.function.name, dict(call.function.arguments)) for call in first.message.tool_calls]
    equal("calls", calls, [("get_weather", {"city": "Dublin"}), ("get_weather", {"city": "Seattle"})])
    turns.append(first.message)
    for name, arguments in calls:
        turns.append({"role": "tool", "tool_name": name, "content": world.get_weather(**arguments)})
    equal("answer", ask(turns, tools=[world.WEATHER_TOOL]).message.content, world.BOTH_ANSWER)
    streamed = [call for piece in ask(world.WEATHER_QUESTION, tools=[world.WEATHER_TOOL], stream=True)
                for call in piece.message.tool_calls or []]
    equal("streamed", [dict(call.function.arguments) for call in streamed], [{"city": "Lisbon"}])


@case
def thoughts_come_apart_from_the_answer():
    message = ask(world.THOUGHT_QUESTION, think=True).message
    equal("chat", (message.thinking.strip(), message.content), (world.THOUGHT, world.THOUGHT_ANSWER))
    answer = client.generate(model="lemmy-nano", prompt=world.THOUGHT_QUESTION, think=True, options=COLD)
    equal("generate", (answer.thinking.strip(), answer.response), (world.THOUGHT, world.THOUGHT_ANSWER))
    quiet = ask(world.THOUGHT_QUESTION, think=False).message
    holds("no thought", not quiet.thinking, quiet)


@case
def answers_fit_a_schema():
    question = f"Extract name, job and age as JSON: {world.PERSON}"
    equal("a schema", json.loads(ask(question, format=world.PERSON_SCHEMA).message.content), world.PERSON_ANSWER)
    found = json.loads(ask(question, format="json").message.content)
    holds("any JSON", isinstance(found, dict), found)


@case
def limits_and_stops():
    answer = ask(world.FACT, options={**COLD, "num_predict": 2})
    equal("a limit", (answer.done_reason, answer.eval_count), ("length", 2))
    answer = ask("Repeat: book boat wheel", options={**COLD, "stop": [" wheel"]})
    equal("a stop", answer.message.content, "book boat")


@case
def errors():
    error = refused("a temperature", ollama.ResponseError, lambda: ask(options={"temperature": -1}))
    equal("status", error.status_code, 400)
    error = refused("too long a context", ollama.ResponseError, lambda: ask(options={"num_ctx": 10_000_000}))
    equal("status", error.status_code, 400)
    error = refused("pulling", ollama.ResponseError, lambda: client.pull("lemmy-nano"))
    equal("status", error.status_code, 501)


@case
def pictures():
    messages = [{"role": "user", "content": world.PICTURE_QUESTION, "images": [world.red_square()]}]
    if SEES:
        equal("answer", ask(messages).message.content, world.PICTURE_ANSWER)
        return
    error = refused("a picture for a model that cannot see", ollama.ResponseError, lambda: ask(messages))
    equal("status", error.status_code, 400)


main()
